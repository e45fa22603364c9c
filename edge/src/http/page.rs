//! The web page: every file below `edge/web/dist`, embedded when this crate is built.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::Response,
    routing::get,
};

include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// Scripts, styles, pictures and connections of this node alone; nothing inline, no frames, and no text that becomes
/// markup.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
     object-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// One file, ready to be served.
struct Page {
    bytes: &'static [u8],
    kind: &'static str,
    tag: HeaderValue,
    /// Its name changes with its content.
    immutable: bool,
}

/// A route for each file, and `/` for `index.html`.
pub fn routes() -> Router {
    FILES.iter().fold(Router::new(), |router, &(path, bytes)| {
        let page = Arc::new(Page::new(path, bytes));
        let handler = move |headers: HeaderMap| {
            let answer = page.answer(&headers);
            async move { answer }
        };
        let router = if path == "index.html" { router.route("/", get(handler.clone())) } else { router };
        router.route(&format!("/{path}"), get(handler))
    })
}

impl Page {
    fn new(path: &str, bytes: &'static [u8]) -> Self {
        let digest = blake3::hash(bytes).to_hex();
        // Hex digits in quotes are a header's value.
        let tag = HeaderValue::from_str(&format!("\"{}\"", &digest[..32]));
        Self {
            bytes,
            kind: kind(path),
            tag: tag.unwrap_or(HeaderValue::from_static("\"\"")),
            immutable: path.starts_with("assets/"),
        }
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let known = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let own = self.tag.to_str().unwrap_or_default();
        let has = known.flat_map(|list| list.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
        let (status, body) = match has.into_iter().any(|tag| tag == own) {
            true => (StatusCode::NOT_MODIFIED, Body::empty()),
            false => (StatusCode::OK, Body::from(self.bytes)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let cache = if self.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
        let headers = response.headers_mut();
        headers.insert(ETAG, self.tag.clone());
        for (name, value) in [
            (CONTENT_TYPE, self.kind),
            (CACHE_CONTROL, cache),
            (CONTENT_SECURITY_POLICY, POLICY),
            (REFERRER_POLICY, "no-referrer"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_served_once_and_then_only_when_it_has_changed() {
        let page = Page::new("index.html", b"<!doctype html>");
        let first = page.answer(&HeaderMap::new());
        assert_eq!(first.status(), StatusCode::OK);
        for (name, value) in [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CACHE_CONTROL, "no-cache"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            assert_eq!(first.headers()[&name], value);
        }
        assert!(
            first.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'self';")
        );
        let tag = first.headers()[ETAG].to_str().unwrap();
        for (asked, status) in [
            (tag.to_owned(), StatusCode::NOT_MODIFIED),
            (format!("\"x\", W/{tag}"), StatusCode::NOT_MODIFIED),
            ("\"x\"".to_owned(), StatusCode::OK),
        ] {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, asked.parse().unwrap())]);
            assert_eq!(page.answer(&headers).status(), status, "{asked}");
        }
        let other = Page::new("assets/app-1a2b.js", b"1").answer(&HeaderMap::new());
        assert!(other.headers()[CACHE_CONTROL].to_str().unwrap().ends_with("immutable"));
        assert_ne!(other.headers()[ETAG], first.headers()[ETAG]);
    }

    #[test]
    fn the_page_is_there_and_every_file_has_a_known_type() {
        assert!(FILES.iter().any(|(path, _)| *path == "index.html"));
        for (path, _) in FILES {
            assert_ne!(kind(path), "application/octet-stream", "{path}");
        }
    }
}
