//! Reads deliveries: the canonical header by hand and in order, bodies as slices of the batch.

use bytes::Bytes;

use super::{Delivery, NotADelivery, Push, ReceiptKey};
use crate::{
    frame,
    ids::{Conversation, Device, GroupId, InvalidId, MessageId, Seq, SessionNo, UserId},
    message::canonical::{Lines, unquoted, whole},
};

/// Reads a batch (counted frames back to back). Bodies share the batch's memory.
///
/// # Errors
/// [`NotADelivery`], for the batch as a whole.
pub fn decode(batch: &Bytes) -> Result<Vec<Delivery>, NotADelivery> {
    let frames = frame::split_counted(batch)
        .map_err(|error| wrong("counted frames back to back", &error.to_string()))?;
    frames.iter().map(one).collect()
}

pub(super) fn one(frame: &Bytes) -> Result<Delivery, NotADelivery> {
    let end = header_end(frame);
    let header = std::str::from_utf8(&frame[..end]).map_err(|_| wrong("UTF-8", "other bytes"))?;
    if !header.ends_with('\n') {
        return Err(wrong("a newline after the header's last line", header));
    }
    let mut keys = Keys { lines: Lines::of(header) };
    let body = || {
        if end < frame.len() { Ok(frame.slice(end..)) } else { Err(wrong("a frame from [[ on", "nothing")) }
    };
    let delivery = match keys.next("d")? {
        "\"push\"" => Delivery::Push(Push {
            to: keys.users()?,
            conversation: keys.conversation()?,
            seq: keys.id("seq", Seq::new)?,
            from: keys.id("from", UserId::new)?,
            id: keys.text_id("id", MessageId::new)?,
            skip: keys.maybe("skip").map(|value| id_of("skip", value, SessionNo::new)).transpose()?,
            receipt: match keys.maybe("want") {
                None => false,
                Some("\"delivered\"") => true,
                Some(other) => return Err(wrong("want = \"delivered\"", other)),
            },
            again: match keys.maybe("again") {
                None => false,
                Some("true") => true,
                Some(other) => return Err(wrong("again = true", other)),
            },
            body: body()?,
        }),
        "\"answer\"" => Delivery::Answer {
            user: keys.id("user", UserId::new)?,
            session: keys.id("session", SessionNo::new)?,
            place: match keys.maybe("conv") {
                None => None,
                Some(value) => Some((conversation_of(value)?, keys.id("seq", Seq::new)?)),
            },
            body: body()?,
        },
        "\"receipt\"" => Delivery::Receipt {
            user: keys.id("user", UserId::new)?,
            device: keys.text_id("device", Device::new)?,
            key: ReceiptKey {
                conversation: keys.conversation()?,
                seq: keys.id("seq", Seq::new)?,
                by: keys.id("by", UserId::new)?,
                read: match keys.next("read")? {
                    "true" => true,
                    "false" => false,
                    other => return Err(wrong("read = true or false", other)),
                },
            },
            body: body()?,
        },
        "\"replaced\"" => Delivery::Replaced {
            user: keys.id("user", UserId::new)?,
            device: keys.text_id("device", Device::new)?,
            below: keys.id("below", SessionNo::new)?,
        },
        "\"revoked\"" => Delivery::Revoked {
            user: keys.id("user", UserId::new)?,
            device: keys.maybe("device").map(|value| text_id_of("device", value, Device::new)).transpose()?,
            below: keys.maybe("below").map(|value| id_of("below", value, SessionNo::new)).transpose()?,
        },
        "\"resync\"" => Delivery::Resync,
        other => return Err(wrong("d = push, answer, receipt, replaced, revoked or resync", other)),
    };
    let has_body = matches!(delivery, Delivery::Push(_) | Delivery::Answer { .. } | Delivery::Receipt { .. });
    match keys.lines.peek() {
        Some(line) => Err(wrong("the header's end", line)),
        None if !has_body && end < frame.len() => Err(wrong("no frame after this header", "[[")),
        None => Ok(delivery),
    }
}

/// Where the first line that starts with `[[` begins.
fn header_end(frame: &[u8]) -> usize {
    let mut at = 0;
    while at < frame.len() && !frame[at..].starts_with(b"[[") {
        match frame[at..].iter().position(|&byte| byte == b'\n') {
            Some(length) => at += length + 1,
            None => return frame.len(),
        }
    }
    at
}

/// The header's pairs, each expected by name and in order.
struct Keys<'a> {
    lines: Lines<'a>,
}

impl<'a> Keys<'a> {
    fn next(&mut self, key: &'static str) -> Result<&'a str, NotADelivery> {
        self.maybe(key).ok_or_else(|| wrong(&format!("`{key} = …`"), self.lines.peek().unwrap_or("nothing")))
    }

    fn maybe(&mut self, key: &str) -> Option<&'a str> {
        self.lines.value(key)
    }

    fn id<T>(&mut self, key: &'static str, new: fn(i64) -> Result<T, InvalidId>) -> Result<T, NotADelivery> {
        id_of(key, self.next(key)?, new)
    }

    fn text_id<T>(
        &mut self,
        key: &'static str,
        new: fn(&str) -> Result<T, InvalidId>,
    ) -> Result<T, NotADelivery> {
        text_id_of(key, self.next(key)?, new)
    }

    fn conversation(&mut self) -> Result<Conversation, NotADelivery> {
        conversation_of(self.next("conv")?)
    }

    fn users(&mut self) -> Result<Vec<UserId>, NotADelivery> {
        let value = self.next("to")?;
        let list = value.strip_prefix('[').and_then(|list| list.strip_suffix(']'));
        let list = list.ok_or_else(|| wrong("to = [users]", value))?;
        if list.is_empty() {
            return Ok(Vec::new());
        }
        list.split(", ").map(|user| id_of("to", user, UserId::new)).collect()
    }
}

fn id_of<T>(key: &str, value: &str, new: fn(i64) -> Result<T, InvalidId>) -> Result<T, NotADelivery> {
    let number = whole(value).and_then(|number| new(number).ok());
    number.ok_or_else(|| wrong(&format!("`{key}` as a whole number of 1 or more"), value))
}

fn text_id_of<T>(key: &str, value: &str, new: fn(&str) -> Result<T, InvalidId>) -> Result<T, NotADelivery> {
    let text = unquoted(value).ok_or_else(|| wrong(&format!("`{key}` as a text"), value))?;
    new(&text).map_err(|invalid| wrong(&format!("`{key}` as {}", invalid.expected), value))
}

fn conversation_of(value: &str) -> Result<Conversation, NotADelivery> {
    let read = || {
        let text = value.strip_prefix('"')?.strip_suffix('"')?;
        if let Some(group) = text.strip_prefix("g:") {
            return GroupId::new(whole(group)?).ok().map(Conversation::Group);
        }
        let (low, high) = text.strip_prefix("dm:")?.split_once(':')?;
        let (low, high) = (UserId::new(whole(low)?).ok()?, UserId::new(whole(high)?).ok()?);
        (low <= high).then_some(Conversation::Direct(low, high))
    };
    read().ok_or_else(|| wrong("`conv` as \"dm:<user>:<user>\", the lower first, or \"g:<group>\"", value))
}

pub(super) fn wrong(expected: &str, found: &str) -> NotADelivery {
    NotADelivery {
        expected: expected.to_owned(),
        found: format!("{:?}", found.chars().take(64).collect::<String>()),
    }
}
