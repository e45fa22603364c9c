//! Frames for clients, written by hand in the layout of the specification (no blank line inside a frame).

use super::{Ask, Refusal, Stored, StoredBody};
use crate::{
    command::RequestName,
    frame::write_number,
    ids::{Conversation, Device, GroupId, MessageId, Seq, UserId},
};

/// `[[m]]`, `[[gm]]` or `[[r]]` as every recipient gets it.
pub fn stored(row: &Stored, out: &mut Vec<u8>) {
    let from: &[u8] = match &row.what {
        StoredBody::Text { content, .. } => {
            let group = matches!(row.conversation, Conversation::Group(_));
            out.extend_from_slice(if group { b"[[gm]]\n" } else { b"[[m]]\n" });
            text("id", row.id.as_str(), out);
            text("c", content, out);
            place(row.ts, row.seq, out);
            match row.conversation {
                Conversation::Group(group) => {
                    number("group", group.0, out);
                    b"[gm.from]\n"
                }
                Conversation::Direct(low, high) => {
                    out.extend_from_slice(b"[m.to]\n");
                    number("id", if row.sender == low { high.0 } else { low.0 }, out);
                    b"[m.from]\n"
                }
            }
        }
        StoredBody::Request { what, group, contact_version } => {
            out.extend_from_slice(b"[[r]]\n");
            text("id", row.id.as_str(), out);
            text("t", what.name().as_str(), out);
            own_keys(what, out);
            if let (Ask::CreateGroup { .. }, Some(group)) = (what, group) {
                number("group_id", group.0, out);
            }
            if let Some(version) = contact_version {
                number("contact_version", *version, out);
            }
            place(row.ts, row.seq, out);
            b"[r.from]\n"
        }
    };
    out.extend_from_slice(from);
    number("id", row.sender.0, out);
    text("device", row.device.as_str(), out);
}

/// A request's own keys, as clients write them.
pub(crate) fn own_keys(what: &Ask, out: &mut Vec<u8>) {
    match what {
        Ask::AddContact { to, message } => {
            number("to", to.0, out);
            text("message", message, out);
        }
        Ask::AcceptContact { to }
        | Ask::DeclineContact { to }
        | Ask::DeleteContact { to }
        | Ask::Block { to }
        | Ask::Unblock { to } => number("to", to.0, out),
        Ask::CreateGroup { name, members } => {
            text("name", name, out);
            out.extend_from_slice(b"members = [");
            for (at, member) in members.iter().enumerate() {
                if at > 0 {
                    out.extend_from_slice(b", ");
                }
                signed(member.0, out);
            }
            out.extend_from_slice(b"]\n");
        }
        Ask::CreateGroupMember { group, member } => {
            number("group_id", group.0, out);
            number("member_id", member.0, out);
        }
        Ask::DeleteGroupMember { group, member } => {
            number("group_id", group.0, out);
            if let Some(member) = member {
                number("member_id", member.0, out);
            }
        }
        Ask::DeleteGroup { group } => number("group_id", group.0, out),
    }
}

/// `[[a]] lvl = "stored"`.
pub fn ack_stored(id: &MessageId, ts: i64, seq: Seq, out: &mut Vec<u8>) {
    ack(id, "stored", out);
    place(ts, seq, out);
}

/// `[[a]] lvl = "queued"`.
pub fn ack_queued(id: &MessageId, out: &mut Vec<u8>) {
    ack(id, "queued", out);
}

/// A receipt: `[[a]] lvl = "delivered"` or `"read"`, with `seq`, `group` for a group's message, and `[a.from]` the user
/// (and device, where known) who acknowledged.
pub fn receipt(
    id: &MessageId,
    read: bool,
    conversation: &Conversation,
    seq: Seq,
    by: UserId,
    device: Option<&Device>,
    out: &mut Vec<u8>,
) {
    ack(id, if read { "read" } else { "delivered" }, out);
    number("seq", seq.0, out);
    if let Conversation::Group(group) = conversation {
        number("group", group.0, out);
    }
    out.extend_from_slice(b"[a.from]\n");
    number("id", by.0, out);
    if let Some(device) = device {
        text("device", device.as_str(), out);
    }
}

fn ack(id: &MessageId, lvl: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"[[a]]\n");
    text("id", id.as_str(), out);
    text("lvl", lvl, out);
}

/// What a successful answer carries besides `id`, `t` and `s = 0`.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "the frame's own keys")]
pub struct Success {
    pub seq: Option<Seq>,
    pub contact_version: Option<i64>,
    pub group_id: Option<GroupId>,
}

/// `[[rr]] s = 0`.
pub fn success(id: &MessageId, t: RequestName, success: &Success, out: &mut Vec<u8>) {
    answer(id.as_str(), t.as_str(), 0, out);
    let keys = [
        ("seq", success.seq.map(|seq| seq.0)),
        ("contact_version", success.contact_version),
        ("group_id", success.group_id.map(|group| group.0)),
    ];
    for (key, value) in keys {
        if let Some(value) = value {
            number(key, value, out);
        }
    }
}

/// `[[rr]] s = 1`: `id` and `t` are empty strings where they could not be read.
pub fn refusal(refusal: &Refusal, out: &mut Vec<u8>) {
    let id = refusal.id.as_ref().map_or("", MessageId::as_str);
    answer(id, refusal.t.map_or("", RequestName::as_str), 1, out);
    text("r", &refusal.reason, out);
    text("code", refusal.code.as_str(), out);
}

fn answer(id: &str, t: &str, s: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"[[rr]]\n");
    text("id", id, out);
    text("t", t, out);
    number("s", s, out);
}

/// `[[n]] t = "replaced"`.
pub fn replaced(out: &mut Vec<u8>) {
    out.extend_from_slice(b"[[n]]\nt = \"replaced\"\n");
}

/// `[[n]] t = "move"`: where to go, if there is another node, and after how many milliseconds.
pub fn moved(to: Option<(&str, u16)>, after_ms: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"[[n]]\nt = \"move\"\n");
    if let Some((server, port)) = to {
        text("server", server, out);
        number("port", i64::from(port), out);
    }
    number("after", i64::try_from(after_ms).unwrap_or(i64::MAX), out);
}

/// A TOML basic string with its quotes. Every control character is escaped, so that it stays on its line.
pub fn quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\t' => b't',
            b'\r' => b'r',
            0x08 => b'b',
            0x0c => b'f',
            0..0x20 | 0x7f => b'u',
            _ => continue,
        };
        out.extend_from_slice(&bytes[plain..at]);
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(&[b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        plain = at + 1;
    }
    out.extend_from_slice(&bytes[plain..]);
    out.push(b'"');
}

/// `key = "text"` and a newline.
pub(crate) fn text(key: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b" = ");
    quoted(value, out);
    out.push(b'\n');
}

/// `key = number` and a newline.
pub(crate) fn number(key: &str, value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b" = ");
    signed(value, out);
    out.push(b'\n');
}

/// A number that may be below zero.
pub(crate) fn signed(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    write_number(value.unsigned_abs(), out);
}

fn place(ts: i64, seq: Seq, out: &mut Vec<u8>) {
    number("ts", ts, out);
    number("seq", seq.0, out);
}

#[cfg(test)]
mod tests;
