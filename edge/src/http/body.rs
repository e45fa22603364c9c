//! Answers, as standard TOML (one pair a line, as simple_im shows them) or as JSON with the same tables.

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
    },
    response::Response,
};
use shared::rpc::HttpReply;
use toml::{Table, Value};

use super::backend::Failure;

/// What an answer is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The default.
    Toml,
    /// When the caller accepts JSON and does not prefer TOML.
    Json,
}

impl Format {
    /// What the `Accept` header asks for.
    pub fn of(headers: &HeaderMap) -> Self {
        let (mut json, mut toml) = (0.0, 0.0);
        for header in headers.get_all(ACCEPT) {
            let text = String::from_utf8_lossy(header.as_bytes()).to_ascii_lowercase();
            for range in text.split(',') {
                let mut parts = range.split(';').map(str::trim);
                let slot = match parts.next() {
                    Some("application/json") => &mut json,
                    Some("application/toml") => &mut toml,
                    _ => continue,
                };
                let weight =
                    parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
                *slot = weight.unwrap_or(0.0);
            }
        }
        if json > 0.0 && json >= toml { Self::Json } else { Self::Toml }
    }
}

/// A worker's answer.
pub fn reply(format: Format, reply: HttpReply) -> Response {
    let Ok(status) = StatusCode::from_u16(reply.status) else {
        return failure(format, &Failure::unavailable("expected an HTTP status from a worker, found none"));
    };
    let mut body = reply.body;
    port_as_text(&mut body);
    respond(format, status, reply.retry_after, &body)
}

/// An answer that no worker gave.
pub fn failure(format: Format, failure: &Failure) -> Response {
    let response = Table::from_iter([
        ("status".to_owned(), Value::Integer(1)),
        ("r".to_owned(), Value::String(failure.reason.clone())),
        ("code".to_owned(), Value::String(failure.code.as_str().to_owned())),
    ]);
    respond(format, failure.status, failure.retry_after, &enclose(response))
}

/// Nothing but `status = 0`.
pub fn done(format: Format) -> Response {
    let response = Table::from_iter([("status".to_owned(), Value::Integer(0))]);
    respond(format, StatusCode::OK, None, &enclose(response))
}

fn enclose(response: Table) -> Table {
    Table::from_iter([("response".to_owned(), Value::Array(vec![Value::Table(response)]))])
}

/// simple_im's clients read `port` as a string; a worker may have it as a number.
fn port_as_text(body: &mut Table) {
    let Some(Value::Array(responses)) = body.get_mut("response") else { return };
    for response in responses.iter_mut().filter_map(Value::as_table_mut) {
        if let Some(port @ Value::Integer(_)) = response.get_mut("port") {
            *port = Value::String(port.to_string());
        }
    }
}

fn respond(format: Format, status: StatusCode, retry_after: Option<u64>, body: &Table) -> Response {
    let (kind, text) = match format {
        Format::Toml => ("application/toml; charset=utf-8", to_toml(body).into_bytes()),
        Format::Json => {
            let mut text = Vec::new();
            shared::json::table(body, &mut text);
            ("application/json", text)
        }
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // Answers hold tokens and change with every message: no cache may keep them.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Standard TOML, one pair a line, no blank lines, `[[response]]` first. (The `toml` crate's own writer puts blank
/// lines between tables and picks other kinds of strings, which simple_im's clients do not read.)
pub fn to_toml(body: &Table) -> String {
    let mut out = String::new();
    let first = body.get_key_value("response");
    let rest = body.iter().filter(|(key, _)| *key != "response");
    pairs(body, &mut out);
    for (key, value) in first.into_iter().chain(rest) {
        tables(&quoted_key(key), value, &mut out);
    }
    out
}

/// The plain pairs of a table: in TOML they come before its sub-tables.
fn pairs(table: &Table, out: &mut String) {
    for (key, value) in table.iter().filter(|(_, value)| !is_tables(value)) {
        out.push_str(&quoted_key(key));
        out.push_str(" = ");
        inline(value, out);
        out.push('\n');
    }
}

fn tables(path: &str, value: &Value, out: &mut String) {
    match value {
        Value::Table(table) => block(&format!("[{path}]"), path, table, out),
        Value::Array(entries) if is_tables(value) => {
            for table in entries.iter().filter_map(Value::as_table) {
                block(&format!("[[{path}]]"), path, table, out);
            }
        }
        _ => {}
    }
}

fn block(header: &str, path: &str, table: &Table, out: &mut String) {
    out.push_str(header);
    out.push('\n');
    pairs(table, out);
    for (key, value) in table {
        tables(&format!("{path}.{}", quoted_key(key)), value, out);
    }
}

/// Whether a value is written under a header: a table, or a list of nothing but tables.
fn is_tables(value: &Value) -> bool {
    match value {
        Value::Table(_) => true,
        Value::Array(entries) => !entries.is_empty() && entries.iter().all(Value::is_table),
        _ => false,
    }
}

fn inline(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => quoted(text, out),
        Value::Array(entries) => {
            out.push('[');
            for (n, entry) in entries.iter().enumerate() {
                if n > 0 {
                    out.push_str(", ");
                }
                inline(entry, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn quoted(text: &str, out: &mut String) {
    let mut bytes = Vec::with_capacity(text.len() + 2);
    shared::message::write::quoted(text, &mut bytes);
    out.push_str(&String::from_utf8_lossy(&bytes));
}

fn quoted_key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if bare {
        return key.to_owned();
    }
    let mut out = String::new();
    quoted(key, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_is_laid_out_as_simple_im_shows_it_and_reads_back() {
        let text = "[[response]]\nstatus = 0\nserver = \"192.168.3.5\"\nport = \"1987\"\n[response.user]\nid = 1\n\
                    token = \"ry+/=\"\n[[user]]\nid = 2\nname = \"a \\\"b\\\" \\\\\"\n[[user]]\nid = 3\nmembers = [1, 2]\n";
        let body: Table = toml::from_str(text).unwrap();
        assert_eq!(to_toml(&body), text);
        let mut turned: Table = Table::from_iter([("user".to_owned(), body["user"].clone())]);
        turned.insert("response".to_owned(), body["response"].clone());
        assert_eq!(to_toml(&turned), text, "[[response]] comes first whatever the worker's order");
    }

    #[test]
    fn any_text_stays_on_its_line_and_reads_back() {
        for text in ["", "a\nb\r\tc", "'''\"\"\"\\", "\u{7f}\u{1}\u{2028}", "大傻 👍"] {
            let body = enclose(Table::from_iter([("r".to_owned(), Value::String(text.to_owned()))]));
            let written = to_toml(&body);
            assert_eq!(written.lines().count(), 2, "{written}");
            assert_eq!(toml::from_str::<Table>(&written).unwrap(), body);
        }
    }

    #[test]
    fn odd_keys_empty_lists_and_nested_tables_read_back() {
        let text = "[[a]]\nlist = []\n\"odd key\" = 1.5\nyes = true\n[a.\"b c\"]\nx = 1\n[a.\"b c\".d]\ny = [[1], []]\n";
        let body: Table = toml::from_str(text).unwrap();
        assert_eq!(toml::from_str::<Table>(&to_toml(&body)).unwrap(), body);
    }

    #[test]
    fn json_is_written_for_who_asks_for_it() {
        for (accept, format) in [
            ("application/json", Format::Json),
            ("text/html, application/json;q=0.9, */*;q=0.1", Format::Json),
            ("application/toml, application/json;q=0.5", Format::Toml),
            ("application/json;q=0", Format::Toml),
            ("*/*", Format::Toml),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(Format::of(&headers), format, "{accept}");
        }
        assert_eq!(Format::of(&HeaderMap::new()), Format::Toml);
    }
}
