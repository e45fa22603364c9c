//! The frequent shapes read by hand: `[[m]]`, `[[gm]]` and `[[a]]` with one pair a line. `None` for everything else.
//!
//! What this accepts, the `toml` crate's way reads exactly the same: the tests hold both against each other.

use super::{
    super::{
        Ack, Entry, Message, Target, WantedAck,
        canonical::{Lines, unquoted, whole},
    },
    Limits, entry,
};
use crate::ids::{GroupId, MessageId, Seq, UserId};

/// Reads a frame of one or more such entries.
pub(super) fn read(text: &str, limits: &Limits) -> Option<Vec<Entry>> {
    let mut lines = Lines::of(text);
    let header = lines.peek()?;
    let mut entries = Vec::with_capacity(1);
    while let Some(line) = lines.peek() {
        if line != header || entries.len() == limits.entries {
            return None;
        }
        lines.skip();
        entries.push(match header {
            "[[m]]" => Entry::Message(message(&mut lines, limits, false)?),
            "[[gm]]" => Entry::Message(message(&mut lines, limits, true)?),
            "[[a]]" => Entry::Ack(ack(&mut lines)?),
            _ => return None,
        });
    }
    Some(entries)
}

fn message(lines: &mut Lines<'_>, limits: &Limits, group: bool) -> Option<Message> {
    let (mut id, mut to, mut content, mut ack) = (None, None, None, None);
    while let Some((key, value)) = lines.pair() {
        match key {
            "id" => once(&mut id, message_id(value)?)?,
            "c" => {
                once(&mut content, unquoted(value).filter(|text| text.len() <= limits.text)?.into_owned())?
            }
            "to" if !group => once(&mut to, Target::User(UserId(whole(value)?)))?,
            "group" if group => once(&mut to, Target::Group(GroupId(whole(value)?)))?,
            "ack" => once(&mut ack, WantedAck::parse(&unquoted(value)?)?)?,
            _ => return None,
        }
    }
    if !group && lines.peek() == Some("[m.to]") {
        once(&mut to, Target::User(sub_id(lines)?))?;
    }
    Some(Message { id: id?, to: to?, content: content?, ack: ack.unwrap_or_default() })
}

fn ack(lines: &mut Lines<'_>) -> Option<Ack> {
    let (mut id, mut seq, mut group, mut read, mut from, mut to) = (None, None, None, None, None, None);
    while let Some((key, value)) = lines.pair() {
        match key {
            "id" => once(&mut id, message_id(value)?)?,
            "seq" => once(&mut seq, Seq(whole(value)?))?,
            "group" => once(&mut group, Target::Group(GroupId(whole(value)?)))?,
            "lvl" => once(
                &mut read,
                match value {
                    "\"delivered\"" => false,
                    "\"read\"" => true,
                    _ => return None,
                },
            )?,
            _ => return None,
        }
    }
    loop {
        match lines.peek() {
            Some("[a.from]") => once(&mut from, Target::User(sub_id(lines)?))?,
            Some("[a.to]") => once(&mut to, sub_id(lines)?)?,
            _ => break,
        }
    }
    let ack = Ack { id, seq, from: group.or(from), to, read: read.unwrap_or_default() };
    entry::ack_lacks(&ack).is_none().then_some(ack)
}

/// A key that stands twice is the `toml` crate's to refuse.
fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

fn message_id(value: &str) -> Option<MessageId> {
    MessageId::new(&unquoted(value)?).ok()
}

/// The header at hand and `id = n` below it, with nothing else.
fn sub_id(lines: &mut Lines<'_>) -> Option<UserId> {
    lines.skip();
    let (key, value) = lines.pair()?;
    (key == "id").then(|| whole(value).map(UserId))?
}
