//! The web page: every file below `edge/web/dist`, embedded when this crate is built, as it is and gzipped.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{
            ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
            IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
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
    plain: Form,
    /// For those who take it; none where it would be no smaller.
    gzip: Option<Form>,
    kind: &'static str,
    /// Its name changes with its content.
    immutable: bool,
}

/// One of the forms in which a file is sent, each with a tag of its own.
struct Form {
    bytes: &'static [u8],
    tag: HeaderValue,
}

/// A route for each file, and `/` for `index.html`.
pub fn routes() -> Router {
    FILES.iter().fold(Router::new(), |router, &(path, plain, gzip)| {
        let page = Arc::new(Page::new(path, plain, gzip));
        let handler = move |headers: HeaderMap| {
            let answer = page.answer(&headers);
            async move { answer }
        };
        let router = if path == "index.html" { router.route("/", get(handler.clone())) } else { router };
        router.route(&format!("/{path}"), get(handler))
    })
}

impl Page {
    fn new(path: &str, plain: &'static [u8], gzip: &'static [u8]) -> Self {
        let smaller = gzip.len() < plain.len();
        Self {
            plain: Form::new(plain),
            gzip: smaller.then(|| Form::new(gzip)),
            kind: kind(path),
            immutable: path.starts_with("assets/"),
        }
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let gzip = self.gzip.as_ref().filter(|_| takes_gzip(asked));
        let form = gzip.unwrap_or(&self.plain);
        let (status, body) = match form.is_known(asked) {
            true => (StatusCode::NOT_MODIFIED, Body::empty()),
            false => (StatusCode::OK, Body::from(form.bytes)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let cache = if self.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
        let headers = response.headers_mut();
        headers.insert(ETAG, form.tag.clone());
        if gzip.is_some() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        for (name, value) in [
            (CONTENT_TYPE, self.kind),
            (CACHE_CONTROL, cache),
            (CONTENT_SECURITY_POLICY, POLICY),
            (REFERRER_POLICY, "no-referrer"),
            (VARY, "accept-encoding"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl Form {
    fn new(bytes: &'static [u8]) -> Self {
        let digest = blake3::hash(bytes).to_hex();
        // Hex digits in quotes are a header's value.
        let tag = HeaderValue::from_str(&format!("\"{}\"", &digest[..32]));
        Self { bytes, tag: tag.unwrap_or(HeaderValue::from_static("\"\"")) }
    }

    fn is_known(&self, asked: &HeaderMap) -> bool {
        let known = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let own = self.tag.to_str().unwrap_or_default();
        known.flat_map(|list| list.split(',')).any(|tag| tag.trim().trim_start_matches("W/") == own)
    }
}

/// Whether `Accept-Encoding` names gzip, or everything, and not with a weight of 0.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let weight = |name: &str| {
        let of = |one: &str| {
            let (coding, weight) = one.split_once(';').unwrap_or((one, "q=1"));
            let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
            coding.trim().eq_ignore_ascii_case(name).then_some(weight.unwrap_or(0.0))
        };
        let lists = asked.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        lists.flat_map(|list| list.split(',')).find_map(of)
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight| weight > 0.0)
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
        let page = Page::new("index.html", b"<!doctype html>", b"larger than it was");
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
        let other = Page::new("assets/app-1a2b.js", b"1", b"1").answer(&HeaderMap::new());
        assert!(other.headers()[CACHE_CONTROL].to_str().unwrap().ends_with("immutable"));
        assert_ne!(other.headers()[ETAG], first.headers()[ETAG]);
    }

    #[test]
    fn who_takes_gzip_gets_it_where_it_is_smaller() {
        let page = Page::new("app.js", b"long and plain", b"short");
        let answer = |encoding: &'static str, tag: &str| {
            let mut asked = HeaderMap::from_iter([(IF_NONE_MATCH, tag.parse().unwrap())]);
            asked.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
            page.answer(&asked)
        };
        for (encoding, gzip) in [
            ("gzip", true),
            ("br, GZIP ; q=0.5", true),
            ("identity, *", true),
            ("", false),
            ("identity", false),
            ("gzip;q=0, *", false),
            ("gzip;q=much", false),
        ] {
            let got = answer(encoding, "\"x\"");
            assert_eq!(got.headers().get(CONTENT_ENCODING).is_some(), gzip, "{encoding:?}");
            assert_eq!(got.headers()[VARY], "accept-encoding");
            let tag = got.headers()[ETAG].to_str().unwrap();
            assert_eq!(answer(encoding, tag).status(), StatusCode::NOT_MODIFIED);
            let other = if gzip { "identity" } else { "gzip" };
            assert_eq!(answer(other, tag).status(), StatusCode::OK, "another form, another tag");
        }
        assert!(page.answer(&HeaderMap::new()).headers().get(CONTENT_ENCODING).is_none());
    }

    #[test]
    fn the_page_is_there_and_every_file_has_a_known_type() {
        assert!(FILES.iter().any(|(path, ..)| *path == "index.html"));
        for (path, ..) in FILES {
            assert_ne!(kind(path), "application/octet-stream", "{path}");
        }
    }
}
