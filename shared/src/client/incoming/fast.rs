//! `[[m]]`, `[[gm]]` and `[[a]] lvl = "stored"` in the layout servers write. `None` for everything else: what this
//! accepts, [`super::table`] reads the same, and the tests hold both against each other.

use bytes::Bytes;

use super::Incoming;
use crate::{
    client::event::{Content, Delivery, DeliveryKind},
    ids::{Conversation, Device, GroupId, MessageId, Seq, UserId},
    message::canonical::{Lines, unquoted, whole},
};

/// Reads a frame of one such entry.
pub fn parse(frame: &Bytes) -> Option<Incoming> {
    let text = std::str::from_utf8(frame).ok()?;
    let mut lines = Lines::of(text);
    let header = lines.peek()?;
    lines.skip();
    let entry = match header {
        "[[a]]" => stored(&mut lines)?,
        "[[m]]" => message(&mut lines, frame)?,
        "[[gm]]" => group_message(&mut lines, frame)?,
        _ => return None,
    };
    lines.peek().is_none().then_some(entry)
}

fn stored(lines: &mut Lines<'_>) -> Option<Incoming> {
    let id = id(lines)?;
    if lines.value("lvl")? != "\"stored\"" {
        return None;
    }
    let (ts, seq) = place(lines)?;
    Some(Incoming::Stored { id, seq, ts })
}

fn message(lines: &mut Lines<'_>, raw: &Bytes) -> Option<Incoming> {
    text(lines, raw, DeliveryKind::Message, |lines| {
        header(lines, "[m.to]")?;
        let to = UserId(whole(lines.value("id")?)?);
        header(lines, "[m.from]")?;
        let (from, device) = sender(lines)?;
        Some((Conversation::direct(from, to), from, device))
    })
}

fn group_message(lines: &mut Lines<'_>, raw: &Bytes) -> Option<Incoming> {
    text(lines, raw, DeliveryKind::GroupMessage, |lines| {
        let conversation = Conversation::Group(GroupId(whole(lines.value("group")?)?));
        header(lines, "[gm.from]")?;
        let (from, device) = sender(lines)?;
        Some((conversation, from, device))
    })
}

/// A message of either kind; `parties` reads what follows `seq`.
fn text<'a>(
    lines: &mut Lines<'a>,
    raw: &Bytes,
    kind: DeliveryKind,
    parties: impl FnOnce(&mut Lines<'a>) -> Option<(Conversation, UserId, Device)>,
) -> Option<Incoming> {
    let (id, content) = (id(lines)?, Content::Text(unquoted(lines.value("c")?)?.into_owned()));
    let (ts, seq) = place(lines)?;
    let (conversation, from, device) = parties(lines)?;
    let (device, raw) = (Some(device), raw.clone());
    Some(Incoming::Delivery(Delivery { kind, conversation, seq, from, device, id, ts, content, raw }))
}

fn id(lines: &mut Lines<'_>) -> Option<MessageId> {
    MessageId::new(&unquoted(lines.value("id")?)?).ok()
}

fn place(lines: &mut Lines<'_>) -> Option<(i64, Seq)> {
    Some((whole(lines.value("ts")?)?, Seq(whole(lines.value("seq")?)?)))
}

fn sender(lines: &mut Lines<'_>) -> Option<(UserId, Device)> {
    let id = UserId(whole(lines.value("id")?)?);
    Some((id, Device::new(&unquoted(lines.value("device")?)?).ok()?))
}

fn header(lines: &mut Lines<'_>, header: &str) -> Option<()> {
    (lines.peek()? == header).then(|| lines.skip())
}
