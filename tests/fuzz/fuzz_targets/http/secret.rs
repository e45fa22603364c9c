//! A password or token never comes back in an answer, however broken what stands around it is.

use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, COOKIE},
};

use crate::{api::Api, plain::Plain};

const SECRET: &[u8] = b"s3cR3t";

pub fn check(api: &Api, request: &Plain) {
    let around = &request.body;
    // The fuzzer may have learnt it, and puts it where it is no value any more.
    if around.windows(SECRET.len()).any(|part| part == SECRET) {
        return;
    }
    let quote: &[u8] = [&b"\""[..], b"'", b"\"\"\"", b""][around.len() % 4];
    for (kind, body) in [
        ("application/x-www-form-urlencoded", form(around)),
        ("application/json", json(around, quote)),
        ("application/toml", toml(around, quote)),
    ] {
        let uri = Uri::from_static("/server/login");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        is_kept(api, Plain { method: Method::POST, uri, headers, body });
    }
    for (name, before) in [(AUTHORIZATION, "Bearer "), (AUTHORIZATION, ""), (COOKIE, "token=")] {
        if let Some(headers) = header(name, before, around) {
            let uri = Uri::from_static("/group/x%");
            is_kept(api, Plain { method: Method::GET, uri, headers, body: Vec::new() });
        }
    }
}

fn is_kept(api: &Api, request: Plain) {
    let seen = api.ask(&request);
    // The fake answers with what it was asked, a worker does not.
    let told = seen.asked.is_none() && seen.body.windows(SECRET.len()).any(|part| part == SECRET);
    assert!(
        !told,
        "{:?} of {:?}",
        String::from_utf8_lossy(&seen.body),
        String::from_utf8_lossy(&request.body)
    );
}

fn form(around: &[u8]) -> Vec<u8> {
    [b"phone=1&password=", &without(around, b"&")[..], SECRET, b"&", around].concat()
}

/// JSON has no quote but one; without it the value is no string.
fn json(around: &[u8], quote: &[u8]) -> Vec<u8> {
    let quote = if quote.is_empty() { quote } else { b"\"" };
    [b"{\"phone\":1,\"password\":", quote, &without(around, b"\"")[..], SECRET, quote, around].concat()
}

/// On one line, or else the next line's beginning would be a name.
fn toml(around: &[u8], quote: &[u8]) -> Vec<u8> {
    let inside = without(around, &[b"\r\n", quote].concat());
    [b"phone = 1\npassword = ", quote, &inside[..], SECRET, quote, around].concat()
}

fn header(name: HeaderName, before: &str, around: &[u8]) -> Option<HeaderMap> {
    let inside = without(around, b";\r\n");
    let value = [before.as_bytes(), &inside[..], SECRET].concat();
    Some(HeaderMap::from_iter([(name, HeaderValue::from_bytes(&value).ok()?)]))
}

fn without(text: &[u8], bytes: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|byte| !bytes.contains(byte)).collect()
}
