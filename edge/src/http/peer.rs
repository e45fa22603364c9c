//! Whose call it is, for the limits by address: the socket's other end, or, where that is a proxy of one's own, whom the
//! proxy says it speaks for.
//!
//! `X-Forwarded-For` is read only from `[edge] trusted_proxies`, and only its last entry: what stands before it was
//! written by whoever called the proxy.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// The proxies whose word is taken; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Proxies(std::sync::Arc<[IpNet]>);

impl Proxies {
    /// Reads `trusted_proxies`: addresses and networks (`10.0.0.7, 172.16.0.0/12`), separated by commas; empty: none.
    pub fn parse(text: &str) -> Option<Self> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let nets: Option<Vec<IpNet>> = entries
            .map(|entry| entry.parse().ok().or_else(|| entry.parse::<IpAddr>().ok().map(IpNet::from)))
            .collect();
        Some(Self(nets?.into()))
    }

    /// Whether it is one of them that calls.
    fn is_one(&self, socket: SocketAddr) -> bool {
        let near = socket.ip().to_canonical();
        self.0.iter().any(|net| net.contains(&near))
    }

    /// Whether a proxy says that its caller came over TLS (`X-Forwarded-Proto: https`).
    pub fn says_secure(&self, socket: SocketAddr, headers: &HeaderMap) -> bool {
        let last = headers.get_all("x-forwarded-proto").iter().next_back();
        let told = last.and_then(|value| value.to_str().ok()?.rsplit(',').next());
        told.is_some_and(|told| told.trim().eq_ignore_ascii_case("https")) && self.is_one(socket)
    }

    /// Who calls.
    pub fn caller(&self, socket: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let near = socket.ip().to_canonical();
        if !self.is_one(socket) {
            return near;
        }
        let last = headers.get_all("x-forwarded-for").iter().next_back();
        let told =
            last.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse::<IpAddr>().ok());
        told.map_or(near, |far| far.to_canonical())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(trusted: &str, socket: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let proxies = Proxies::parse(trusted).unwrap();
        proxies.caller(SocketAddr::new(socket.parse().unwrap(), 1), &headers).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_its_own_word() {
        assert_eq!(caller("", "10.0.0.7", &["1.2.3.4"]), "10.0.0.7");
        assert_eq!(caller("10.0.0.8", "10.0.0.7", &["1.2.3.4"]), "10.0.0.7");
        assert_eq!(caller("10.0.0.7", "10.0.0.7", &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(caller("172.16.0.0/12, 10.0.0.0/8", "10.0.0.7", &["6.6.6.6, 1.2.3.4"]), "1.2.3.4");
        assert_eq!(caller("10.0.0.0/8", "::ffff:10.0.0.7", &["6.6.6.6", "1.2.3.4"]), "1.2.3.4");
        assert_eq!(caller("10.0.0.0/8", "10.0.0.7", &["nobody"]), "10.0.0.7");
        assert_eq!(caller("10.0.0.0/8", "10.0.0.7", &[]), "10.0.0.7");
    }

    #[test]
    fn tls_in_front_is_believed_of_a_trusted_proxy_alone() {
        let proxies = Proxies::parse("10.0.0.7").unwrap();
        for (socket, told, expected) in [
            ("10.0.0.7", "https", true),
            ("10.0.0.7", "http, HTTPS", true),
            ("10.0.0.7", "https, http", false),
            ("10.0.0.8", "https", false),
        ] {
            let headers =
                HeaderMap::from_iter([("x-forwarded-proto".parse().unwrap(), told.parse().unwrap())]);
            let socket = SocketAddr::new(socket.parse().unwrap(), 1);
            assert_eq!(proxies.says_secure(socket, &headers), expected, "{socket} {told}");
        }
    }

    #[test]
    fn what_is_no_address_is_no_setting() {
        for text in ["x", "10.0.0.0/33", "10.0.0.1 10.0.0.2"] {
            assert!(Proxies::parse(text).is_none(), "{text}");
        }
    }
}
