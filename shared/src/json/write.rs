//! The server's tables as JSON.

use toml::{Table, Value};

use super::EXACT;

/// Writes a table as an object. Whole numbers beyond [`EXACT`] become strings of their digits.
pub fn table(table: &Table, out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, (key, value)) in table.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        text(key, out);
        out.push(b':');
        any(value, out);
    }
    out.push(b'}');
}

fn any(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(found) => text(found, out),
        Value::Integer(number) => digits(&number.to_string(), number.unsigned_abs() > EXACT, out),
        Value::Float(number) if number.is_finite() => out.extend_from_slice(format!("{number:?}").as_bytes()),
        Value::Float(_) => out.extend_from_slice(b"null"),
        Value::Boolean(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Datetime(time) => text(&time.to_string(), out),
        Value::Table(sub) => table(sub, out),
        Value::Array(list) => {
            out.push(b'[');
            for (at, one) in list.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                any(one, out);
            }
            out.push(b']');
        }
    }
}

/// What TOML's basic strings escape, JSON's do the same way.
fn text(text: &str, out: &mut Vec<u8>) {
    crate::message::write::quoted(text, out);
}

fn digits(number: &str, quoted: bool, out: &mut Vec<u8>) {
    let quote: &[u8] = if quoted { b"\"" } else { b"" };
    for part in [quote, number.as_bytes(), quote] {
        out.extend_from_slice(part);
    }
}

/// A frame in the layout in which the server writes: one pair a line, basic strings. `None`: something else stands there.
pub(super) fn lines(frame: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(frame.len() + 16);
    let mut kind = None;
    let (mut first, mut sub) = (true, false);
    for line in frame.lines() {
        if let Some(header) = line.strip_prefix("[[") {
            let header = bare(header.strip_suffix("]]")?)?;
            if sub {
                out.push(b'}');
            }
            match kind {
                None => out.extend_from_slice(format!("{{\"{header}\":[{{").as_bytes()),
                Some(kind) if kind == header => out.extend_from_slice(b"},{"),
                Some(_) => return None,
            }
            (kind, first, sub) = (Some(header), true, false);
        } else if let Some(header) = line.strip_prefix('[') {
            let name = bare(header.strip_suffix(']')?.strip_prefix(kind?)?.strip_prefix('.')?)?;
            if sub {
                out.push(b'}');
            }
            if sub || !first {
                out.push(b',');
            }
            out.extend_from_slice(format!("\"{name}\":{{").as_bytes());
            (first, sub) = (true, true);
        } else {
            let (key, value) = line.split_once(" = ")?;
            let key = bare(key)?;
            kind?;
            if !first {
                out.push(b',');
            }
            out.push(b'"');
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b"\":");
            plain(value, &mut out)?;
            first = false;
        }
    }
    kind?;
    out.extend_from_slice(if sub { b"}}]}" } else { b"}]}" });
    Some(out)
}

fn bare(key: &str) -> Option<&str> {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    bare.then_some(key)
}

fn plain(value: &str, out: &mut Vec<u8>) -> Option<()> {
    if value.starts_with('"') {
        return is_json_string(value).then(|| out.extend_from_slice(value.as_bytes()));
    }
    let Some(list) = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return number(value, out);
    };
    out.push(b'[');
    for (at, one) in list.split(", ").filter(|one| !one.is_empty()).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        number(one, out)?;
    }
    out.push(b']');
    Some(())
}

fn number(value: &str, out: &mut Vec<u8>) -> Option<()> {
    let whole = value.strip_prefix('-').unwrap_or(value);
    let plain = whole.bytes().all(|byte| byte.is_ascii_digit()) && (whole == "0" || !whole.starts_with('0'));
    let size: u64 = whole.parse().ok().filter(|_| plain)?;
    // TOML's -0 is the whole number 0, JSON's a float of its own.
    digits(if size == 0 { "0" } else { value }, size > EXACT, out);
    Some(())
}

/// Whether a basic string of TOML is a string of JSON as it stands.
fn is_json_string(value: &str) -> bool {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let mut bytes = inner.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'\\' => bytes.next().is_some_and(|next| b"\"\\bfnrtu".contains(&next)),
            b'"' | 0..0x20 => false,
            _ => true,
        };
        if !fits {
            return false;
        }
    }
    true
}
