//! Bodies and percent-encoding, read strictly: what cannot be read is refused, never guessed at.

use std::fmt;

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, header::CONTENT_TYPE},
};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use shared::command::Code;

use super::{backend::Failure, limits::Limits};

/// Names and values in the order in which they stood, repetitions included.
pub type Pairs = Vec<(String, String)>;

/// More names than any call knows; further ones need not be kept to be refused.
const NAMES: usize = 64;

/// Reads a request's body by its content type.
///
/// # Errors
/// [`Failure`]: 413 over the limit, 400 for everything that cannot be read.
pub async fn body(request: Request, limits: &Limits) -> Result<Pairs, Failure> {
    let kind = content_type(request.headers())?;
    let bytes = collect(request.into_body(), limits).await?;
    if bytes.is_empty() {
        return Ok(Pairs::new());
    }
    match kind {
        Kind::Form => form(&bytes, "body"),
        Kind::Toml => toml_pairs(&bytes),
        Kind::Json => json_pairs(&bytes),
    }
}

enum Kind {
    Form,
    Toml,
    Json,
}

fn content_type(headers: &HeaderMap) -> Result<Kind, Failure> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Kind::Form) };
    let text = String::from_utf8_lossy(value.as_bytes());
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-www-form-urlencoded" => Ok(Kind::Form),
        "application/toml" => Ok(Kind::Toml),
        "application/json" => Ok(Kind::Json),
        _ => Err(Failure::malformed(format!(
            "expected the content type application/x-www-form-urlencoded, application/toml or application/json, \
             found {}",
            shown(&essence)
        ))),
    }
}

async fn collect(body: Body, limits: &Limits) -> Result<Bytes, Failure> {
    let read = axum::body::to_bytes(body, limits.body_bytes);
    match tokio::time::timeout(limits.body_time, read).await {
        Ok(Ok(bytes)) => Ok(bytes),
        // Too long is the only error whose sender still listens.
        Ok(Err(_)) => Err(Failure::new(
            Code::TooLong,
            format!(
                "expected a body of at most {} bytes, found more, or one that broke off",
                limits.body_bytes
            ),
        )),
        Err(_) => Err(Failure::malformed(format!(
            "expected the whole body within {} s, found only a part",
            limits.body_time.as_secs_f64()
        ))),
    }
}

/// `name=value&…`, with `+` for a space.
///
/// # Errors
/// [`Failure`] with 400, saying where.
pub fn form(text: &[u8], place: &str) -> Result<Pairs, Failure> {
    let mut pairs = Pairs::new();
    for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        };
        let name = percent(name, true, &format!("name of an argument in the {place}"))?;
        let value = percent(value, true, &name)?;
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// Percent-decoding; a `%` without two hex digits and bytes that are not UTF-8 are refused.
///
/// # Errors
/// [`Failure`] with 400; `place` is told, the text is not, as it may be a password.
pub fn percent(text: &[u8], plus_is_space: bool, place: &str) -> Result<String, Failure> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let digits = after.get(..2).and_then(|pair| Some((hex(pair[0])?, hex(pair[1])?)));
                let Some((high, low)) = digits else {
                    return Err(Failure::malformed(format!(
                        "expected two hex digits after each % in {}, found something else (a plain % is %25)",
                        shown(place)
                    )));
                };
                out.push(high << 4 | low);
                rest = &after[2..];
            }
            b'+' if plus_is_space => out.push(b' '),
            _ => out.push(byte),
        }
    }
    String::from_utf8(out)
        .map_err(|_| Failure::malformed(format!("expected UTF-8 in {}, found other bytes", shown(place))))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn toml_pairs(bytes: &[u8]) -> Result<Pairs, Failure> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Failure::malformed(format!("expected UTF-8 in the body, found other bytes: {error}"))
    })?;
    // Only the parser's message goes out: its full report quotes the line, which may hold a password.
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        Failure::malformed(format!("expected TOML in the body, found: {}", error.message()))
    })?;
    let mut pairs = Pairs::new();
    for (name, value) in table {
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            other => return Err(neither(&name, other.type_str())),
        };
        pairs.push((name, text));
    }
    Ok(pairs)
}

fn json_pairs(bytes: &[u8]) -> Result<Pairs, Failure> {
    // Where and not what: the parser's own message quotes values, and a value may be a password.
    let JsonPairs(found) = serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Failure::malformed(format!(
            "expected a JSON object of at most {NAMES} names in the body, found something else at line {line} \
             column {column}"
        ))
    })?;
    let mut pairs = Pairs::new();
    for (name, value) in found {
        let text = match value {
            serde_json::Value::String(text) => text,
            serde_json::Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
            serde_json::Value::Number(_) => return Err(neither(&name, "fraction")),
            serde_json::Value::Null => return Err(neither(&name, "null")),
            serde_json::Value::Bool(_) => return Err(neither(&name, "boolean")),
            serde_json::Value::Array(_) => return Err(neither(&name, "array")),
            serde_json::Value::Object(_) => return Err(neither(&name, "object")),
        };
        pairs.push((name, text));
    }
    Ok(pairs)
}

fn neither(name: &str, found: &str) -> Failure {
    Failure::invalid(format!(
        "expected a string or a whole number in {}, found a value of type {found}",
        shown(name)
    ))
}

/// A JSON object that keeps repeated names, so that they can be refused; `serde_json::Map` would keep the last.
struct JsonPairs(Vec<(String, serde_json::Value)>);

impl<'de> Deserialize<'de> for JsonPairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairwise;
        impl<'de> Visitor<'de> for Pairwise {
            type Value = JsonPairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonPairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    if pairs.len() == NAMES {
                        return Err(A::Error::custom("too many names"));
                    }
                    pairs.push(pair);
                }
                Ok(JsonPairs(pairs))
            }
        }
        deserializer.deserialize_map(Pairwise)
    }
}

/// A name or path as it may stand in a reason: cut, and without control characters.
pub fn shown(text: &str) -> String {
    let mut out: String =
        text.chars().take(48).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(48).is_some() {
        out.push('…');
    }
    out
}
