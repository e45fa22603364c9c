//! Whether a browser's call comes from a page of ours. A page elsewhere can have a browser call this node, cookies and
//! all; what it cannot do is change the `Origin` that the browser puts on it.

use std::sync::Arc;

use axum::http::{
    HeaderMap,
    header::{HOST, ORIGIN},
};
use shared::command::Code;

use super::{backend::Failure, input};

/// Origins that count as ours beside the node's own host; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    listed: Arc<[String]>,
    /// The node's own pages come over TLS alone.
    secure: bool,
}

impl Origins {
    /// Reads `origins`: `https://chat.example.com, http://localhost:5173`; empty: none.
    pub fn parse(text: &str) -> Option<Self> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let origins: Option<Vec<String>> = entries
            .map(|entry| {
                let (_, host) = parts(entry)?;
                let plain = !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ', '*']);
                plain.then(|| entry.to_ascii_lowercase())
            })
            .collect();
        Some(Self { listed: origins?.into(), secure: false })
    }

    /// With pages of this node over TLS alone, if it has it: who stands between could serve one without.
    #[must_use]
    pub fn over(mut self, tls: bool) -> Self {
        self.secure = tls;
        self
    }

    /// Lets through what has no `Origin` (no browser's, or its own page's reading), one of this request's own host, and
    /// one of the list.
    ///
    /// # Errors
    /// 403 with `code = "forbidden"`.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let mut found = headers.get_all(ORIGIN).iter();
        let Some(origin) = found.next() else { return Ok(()) };
        let origin = String::from_utf8_lossy(origin.as_bytes()).to_ascii_lowercase();
        let host =
            headers.get(HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).to_ascii_lowercase());
        let own = parts(&origin).zip(host.as_deref()).is_some_and(|((port, authority), host)| {
            let plain = |authority: &str| authority.strip_suffix(port).unwrap_or(authority).to_owned();
            plain(authority) == plain(host) && (!self.secure || port == ":443")
        });
        if found.next().is_none() && (own || self.listed.contains(&origin)) {
            return Ok(());
        }
        Err(Failure::new(
            Code::Forbidden,
            format!(
                "expected the Origin of this host ({}) or one of [edge] origins, found {}",
                input::shown(host.as_deref().unwrap_or("which has no name in this request")),
                input::shown(&origin)
            ),
        ))
    }
}

/// The port that goes without saying, with its colon, and host and port as they stand.
fn parts(origin: &str) -> Option<(&'static str, &str)> {
    let http = origin.strip_prefix("http://").map(|host| (":80", host));
    http.or_else(|| origin.strip_prefix("https://").map(|host| (":443", host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(list: &str, host: &str, origins: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        if !host.is_empty() {
            headers.insert(HOST, host.parse().unwrap());
        }
        for origin in origins {
            headers.append(ORIGIN, origin.parse().unwrap());
        }
        Origins::parse(list).unwrap().check(&headers).is_ok()
    }

    #[test]
    fn only_the_own_host_and_the_list_are_ours() {
        for (list, host, origins, expected) in [
            ("", "chat.example.com", &[][..], true),
            ("", "127.0.0.1:8080", &["http://127.0.0.1:8080"], true),
            ("", "Chat.example.com", &["https://chat.EXAMPLE.com"], true),
            ("", "chat.example.com:443", &["https://chat.example.com"], true),
            ("", "chat.example.com", &["http://chat.example.com:80"], true),
            ("", "[::1]:8080", &["http://[::1]:8080"], true),
            ("", "127.0.0.1:8080", &["http://127.0.0.1:8081"], false),
            ("", "127.0.0.1", &["http://127.0.0.1:8080"], false),
            ("", "chat.example.com", &["https://chat.example.com.evil.net"], false),
            ("", "chat.example.com", &["https://evil.net"], false),
            ("", "chat.example.com", &["null"], false),
            ("", "chat.example.com", &["ftp://chat.example.com"], false),
            ("", "chat.example.com", &["https://chat.example.com", "https://chat.example.com"], false),
            ("", "", &["https://chat.example.com"], false),
            ("http://localhost:5173, https://a.b", "127.0.0.1:8080", &["http://localhost:5173"], true),
            ("http://localhost:5173,https://A.b", "127.0.0.1:8080", &["https://a.b"], true),
            ("http://localhost:5173", "127.0.0.1:8080", &["http://localhost:5174"], false),
        ] {
            assert_eq!(ours(list, host, origins), expected, "{list} {host} {origins:?}");
        }
    }

    #[test]
    fn a_node_with_tls_has_no_pages_without() {
        let check = |tls: bool, origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "chat.example.com:8443".parse().unwrap());
            headers.insert(ORIGIN, origin.parse().unwrap());
            Origins::default().over(tls).check(&headers).is_ok()
        };
        assert!(check(true, "https://chat.example.com:8443"));
        assert!(!check(true, "http://chat.example.com:8443"));
        assert!(check(false, "http://chat.example.com:8443"));
    }

    #[test]
    fn what_is_no_origin_is_no_setting() {
        for text in ["*", "localhost", "https://", "https://a/b", "https://a https://b"] {
            assert!(Origins::parse(text).is_none(), "{text}");
        }
    }
}
