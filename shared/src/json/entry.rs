//! A client's frame, from JSON's tree to standard TOML: plain pairs of an entry first, then its sub-tables.

use super::tree::Tree;
use crate::{
    message::write::quoted,
    numbers::{is_digits, is_number, is_number_in},
};

/// Writes a frame. The error is a whole reason, for people.
pub(super) fn frame(tree: &Tree) -> Result<Vec<u8>, String> {
    let Tree::Object(kinds) = tree else {
        return Err(format!("expected an object such as {{\"m\":[{{…}}]}}; found {}", tree.kind()));
    };
    let mut out = Vec::with_capacity(256);
    let (plain, tables): (Vec<_>, Vec<_>) = kinds.iter().partition(|(_, value)| !is_entries(value));
    for (kind, value) in plain {
        pair(kind, value, false, &mut out)?;
    }
    for (kind, value) in tables {
        let mut header = Vec::new();
        key(kind, &mut header);
        match value {
            Tree::List(entries) => {
                for one in entries {
                    enclosed(b"[[", &header, b"]]\n", &mut out);
                    entry(&header, one, &mut out)?;
                }
            }
            value => {
                enclosed(b"[", &header, b"]\n", &mut out);
                entry(&header, value, &mut out)?;
            }
        }
    }
    Ok(out)
}

/// Whether it stands under a header of its own: an object, or a list of nothing but objects.
fn is_entries(value: &Tree) -> bool {
    match value {
        Tree::Object(_) => true,
        Tree::List(list) => !list.is_empty() && list.iter().all(|one| matches!(one, Tree::Object(_))),
        _ => false,
    }
}

fn entry(header: &[u8], value: &Tree, out: &mut Vec<u8>) -> Result<(), String> {
    let Tree::Object(pairs) = value else { return Ok(()) };
    for (name, value) in pairs.iter().filter(|(_, value)| !matches!(value, Tree::Object(_))) {
        pair(name, value, is_number(name), out)?;
    }
    for (name, value) in pairs {
        let Tree::Object(sub) = value else { continue };
        let mut path = header.to_vec();
        path.push(b'.');
        key(name, &mut path);
        enclosed(b"[", &path, b"]\n", out);
        for (key, value) in sub {
            pair(key, value, is_number_in(name, key), out)?;
        }
    }
    Ok(())
}

fn enclosed(before: &[u8], header: &[u8], after: &[u8], out: &mut Vec<u8>) {
    for part in [before, header, after] {
        out.extend_from_slice(part);
    }
}

/// `key = value` on one line; nothing for a null.
fn pair(name: &str, value: &Tree, number: bool, out: &mut Vec<u8>) -> Result<(), String> {
    if *value == Tree::Null {
        return Ok(());
    }
    key(name, out);
    out.extend_from_slice(b" = ");
    inline(value, number, out)?;
    out.push(b'\n');
    Ok(())
}

/// A value within its line. `number`: a string of digits is the number.
fn inline(value: &Tree, number: bool, out: &mut Vec<u8>) -> Result<(), String> {
    match value {
        Tree::Null => return Err("expected no null in a list, found one".to_owned()),
        Tree::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Tree::Number(digits) => out.extend_from_slice(digits.as_bytes()),
        Tree::Text(digits) if number && is_digits(digits) => out.extend_from_slice(digits.as_bytes()),
        Tree::Text(text) => quoted(text, out),
        Tree::List(list) => {
            out.push(b'[');
            for (at, one) in list.iter().enumerate() {
                if at > 0 {
                    out.extend_from_slice(b", ");
                }
                inline(one, number, out)?;
            }
            out.push(b']');
        }
        Tree::Object(pairs) => {
            out.push(b'{');
            let present = pairs.iter().filter(|(_, value)| *value != Tree::Null);
            for (at, (name, value)) in present.enumerate() {
                out.extend_from_slice(if at > 0 { b", " } else { b" " });
                key(name, out);
                out.extend_from_slice(b" = ");
                inline(value, false, out)?;
            }
            out.extend_from_slice(b" }");
        }
    }
    Ok(())
}

fn key(name: &str, out: &mut Vec<u8>) {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !name.is_empty() && name.bytes().all(bare) {
        out.extend_from_slice(name.as_bytes());
    } else {
        quoted(name, out);
    }
}
