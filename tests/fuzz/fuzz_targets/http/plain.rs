//! An input as a request, written as people write one: `METHOD target`, lines of `name: value`, an empty line, the body.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

/// More headers than this, and the HTTP library refuses before this system sees anything.
const HEADERS: usize = 100;

#[derive(Clone, Debug)]
pub struct Plain {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Plain {
    /// `None` for what the HTTP library would have refused.
    pub fn read(input: &[u8]) -> Option<Self> {
        let (head, body) = match input.windows(2).position(|pair| pair == b"\n\n") {
            Some(at) => (&input[..at], &input[at + 2..]),
            None => (input, &b""[..]),
        };
        let mut lines = head.split(|byte| *byte == b'\n');
        let (method, target) = cut(lines.next()?, b' ')?;
        let (method, uri) = (Method::from_bytes(method).ok()?, Uri::try_from(target).ok()?);
        let mut headers = HeaderMap::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = cut(line, b':')?;
            let (name, value) = (HeaderName::from_bytes(name).ok()?, value.trim_ascii());
            headers.append(name, HeaderValue::from_bytes(value).ok()?);
        }
        (headers.len() <= HEADERS).then(|| Self { method, uri, headers, body: body.to_vec() })
    }

    /// The same with one header set.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, HeaderValue::from_str(value).expect("a header"));
        self
    }
}

fn cut(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == at)?;
    Some((&text[..at], &text[at + 1..]))
}
