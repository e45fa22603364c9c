//! For the original clients: tables of strings, whole numbers and lists of those, and nothing that they would stumble over.

use toml::{Table, Value};

/// The keys of a kind of entry, in order; what is not there is not shown.
fn order(kind: &str, entry: &Table) -> &'static [&'static str] {
    let name = entry.get("t").and_then(Value::as_str).unwrap_or_default();
    let refused = entry.get("s").and_then(Value::as_integer) == Some(1);
    match (kind, name, refused) {
        ("rr", "login", true) => &["id", "s", "t", "r"],
        ("rr", "reconnect", true) => &["id", "t", "r", "s"],
        ("rr", "login" | "reconnect", false) => &["id", "t", "s"],
        ("rr", _, true) => &["id", "r", "s"],
        ("rr", ..) => &["id", "s", "contact_version", "group_id"],
        ("a", ..) => &["id"],
        ("m" | "gm", ..) => &["c", "id", "ts", "group", "to", "from"],
        ("r", ..) => &[
            "id",
            "t",
            "to",
            "message",
            "name",
            "members",
            "group_id",
            "member_id",
            "contact_version",
            "ts",
            "from",
        ],
        _ => &["t", "server", "port", "after"],
    }
}

/// The keys of a sub-table, in order.
const SUB: [&str; 2] = ["device", "id"];

/// One of the server's frames as they read it; `None` if it is not TOML. It may be empty: they know nothing of receipts.
pub fn from_toml(frame: &[u8]) -> Option<Vec<u8>> {
    let frame: Table = toml::from_slice(frame).ok()?;
    let mut out = Vec::with_capacity(128);
    for (kind, entries) in &frame {
        for entry in entries.as_array()?.iter().filter_map(Value::as_table) {
            if kind == "a" && entry.get("lvl").and_then(Value::as_str) != Some("stored") {
                continue;
            }
            out.extend_from_slice(format!("[[{kind}]]\n").as_bytes());
            let keys = order(kind, entry);
            let shown = || keys.iter().filter_map(|key| Some((*key, entry.get(*key)?)));
            for (key, value) in shown().filter(|(_, value)| !value.is_table()) {
                pair(key, value, &mut out);
            }
            for (key, sub) in shown().filter_map(|(key, value)| Some((key, value.as_table()?))) {
                out.extend_from_slice(format!("[{kind}.{key}]\n").as_bytes());
                for (key, value) in SUB.iter().filter_map(|key| Some((key, sub.get(*key)?))) {
                    pair(key, value, &mut out);
                }
            }
        }
    }
    Some(out)
}

fn pair(key: &str, value: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b" = ");
    plain(value, out);
    out.push(b'\n');
}

fn plain(value: &Value, out: &mut Vec<u8>) {
    match value {
        // They have no escapes, and so no way to hold a quote.
        Value::String(text) => {
            out.push(b'"');
            out.extend(text.bytes().map(|byte| if byte == b'"' { b'\'' } else { byte }));
            out.push(b'"');
        }
        Value::Array(list) => {
            out.push(b'[');
            for (at, one) in list.iter().enumerate() {
                if at > 0 {
                    out.extend_from_slice(b", ");
                }
                plain(one, out);
            }
            out.push(b']');
        }
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
}
