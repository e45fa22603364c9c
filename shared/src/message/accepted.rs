//! The accepted frame on the broker: readable TOML in one canonical layout, so that it can be read without a document.
//!
//! ```toml
//! [[m]]
//! id = "a_02"
//! c = "hello"
//! to = 3
//! ack = "delivered"
//! ts = 1444719450
//! [m.from]
//! id = 1
//! device = "android"
//! session = 17
//! node = "e1-5f3a"
//! ```
//!
//! `ack` stands only where it is more than `stored`, `nonce` (before `ts`) only where there is one. A group's message
//! is `[[gm]]` with `group` in place of `to`; a request is `[[r]]` with `t` and its own keys.

mod fast;

use toml::de::{DeTable, DeValue};

use super::{
    Accepted, Body, Request, Sender, Target, WantedAck,
    keys::{Keys, Wrong, entries, found},
    parse::{Limits, entry},
    write::{number, own_keys, text},
};
use crate::ids::{NodeId, SessionNo, UserId};

/// A frame on the broker that is not an accepted frame.
#[derive(Debug, thiserror::Error)]
#[error("not an accepted frame: expected {expected}, found {found}")]
pub struct NotAccepted {
    /// What would have been valid.
    pub expected: String,
    /// What stood there.
    pub found: String,
}

/// Appends the frame in its canonical layout, without the count line.
pub fn encode(frame: &Accepted, out: &mut Vec<u8>) {
    let from: &[u8] = match &frame.what {
        Body::Message(message) => {
            let (header, from, key, to): (&[u8], &[u8], _, _) = match message.to {
                Target::User(user) => (b"[[m]]\n", b"[m.from]\n", "to", user.0),
                Target::Group(group) => (b"[[gm]]\n", b"[gm.from]\n", "group", group.0),
            };
            out.extend_from_slice(header);
            text("id", message.id.as_str(), out);
            text("c", &message.content, out);
            number(key, to, out);
            if message.ack != WantedAck::Stored {
                text("ack", message.ack.as_str(), out);
            }
            from
        }
        Body::Request(request) => {
            out.extend_from_slice(b"[[r]]\n");
            text("id", request.id.as_str(), out);
            text("t", request.what.name().as_str(), out);
            own_keys(&request.what, out);
            b"[r.from]\n"
        }
    };
    if let Some(nonce) = frame.nonce {
        // TOML's integers are signed: the upper half of the range is written below zero.
        number("nonce", nonce as i64, out);
    }
    number("ts", frame.ts, out);
    out.extend_from_slice(from);
    number("id", frame.from.user.0, out);
    text("device", frame.from.device.as_str(), out);
    number("session", frame.from.session.0, out);
    text("node", frame.from.node.as_str(), out);
}

/// Reads what [`encode`] wrote, and any other TOML that means the same (by the `toml` crate).
///
/// # Errors
/// [`NotAccepted`], naming the key.
pub fn decode(frame: &[u8]) -> Result<Accepted, NotAccepted> {
    let text = std::str::from_utf8(frame).map_err(|error| NotAccepted {
        expected: "UTF-8".to_owned(),
        found: format!("another byte at {}", error.valid_up_to()),
    })?;
    if let Some(accepted) = fast::read(text) {
        return Ok(accepted);
    }
    document(text).map_err(|wrong| NotAccepted { expected: wrong.expected, found: wrong.found })
}

/// What the edge let pass is not measured again.
const UNLIMITED: Limits = Limits { text: usize::MAX, entries: 1, members: usize::MAX };

/// Any TOML, by the `toml` crate.
fn document(text: &str) -> Result<Accepted, Wrong> {
    let document = DeTable::parse(text).map_err(|error| Wrong::invalid("TOML", error.message()))?;
    let all: Vec<_> = entries(document.get_ref()).collect();
    let [(kind @ ("m" | "gm" | "r"), DeValue::Array(array))] = all[..] else {
        let kinds: Vec<_> = all.iter().map(|(kind, _)| *kind).collect();
        return Err(Wrong::invalid("one of [[m]], [[gm]] and [[r]]", format!("{:?}", kinds.join(", "))));
    };
    let [one] = &array[..] else {
        return Err(Wrong::invalid("one entry", array.len().to_string()));
    };
    let DeValue::Table(table) = one.get_ref() else {
        return Err(Wrong::invalid("an entry", found(Some(one.get_ref()))));
    };
    let keys = Keys::of(table);
    let what = match kind {
        "r" => {
            let name = entry::request_name(keys)?;
            Body::Request(Request { id: keys.id()?, what: entry::ask(name, keys, &UNLIMITED)? })
        }
        _ => Body::Message(entry::message(kind, keys, UNLIMITED.text)?),
    };
    Ok(Accepted {
        from: sender(keys)?,
        ts: keys.maybe_number("ts")?.ok_or_else(|| Wrong::invalid("`ts` as a whole number", "nothing"))?,
        nonce: keys.maybe_number("nonce")?.map(|nonce| nonce as u64),
        what,
    })
}

fn sender(keys: Keys<'_>) -> Result<Sender, Wrong> {
    let from = keys.table("from", "the sender's table from")?;
    let from = from.ok_or_else(|| Wrong::invalid("the sender's table `from`", "nothing"))?;
    let node = from.named_id("node", NodeId::new)?;
    Ok(Sender {
        user: from.whole("id", UserId::new)?,
        device: from.device()?,
        session: from.whole("session", SessionNo::new)?,
        node: node.ok_or_else(|| Wrong::invalid("`node` as a text", "nothing"))?,
    })
}

#[cfg(test)]
mod tests;
