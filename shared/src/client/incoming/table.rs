//! Any server frame, by the `toml` crate.

use bytes::Bytes;
use toml::{Table, Value};

use super::Incoming;
use crate::{
    client::{
        event::{Content, Delivery, DeliveryKind, Level, Receipt},
        handle::Refused,
    },
    command::{Code, RequestName},
    ids::{Conversation, Device, GroupId, MessageId, Seq, UserId},
    message::write::Success,
};

/// Reads every entry of a frame.
pub fn parse(frame: &Bytes) -> Vec<Incoming> {
    let unknown = || vec![Incoming::Unknown(String::from_utf8_lossy(frame).into_owned())];
    let Some(document) = std::str::from_utf8(frame).ok().and_then(|text| text.parse::<Table>().ok()) else {
        return unknown();
    };
    let entries: Option<Vec<Incoming>> =
        entries(&document).map(|(kind, table)| entry(kind, table, frame)).collect();
    entries.filter(|entries| !entries.is_empty()).unwrap_or_else(unknown)
}

/// The deliveries among a document's entries, as an HTTP body has them; others are left out.
pub fn deliveries(document: &Table) -> Vec<Delivery> {
    entries(document).filter_map(|(kind, table)| delivery(kind, table, &Bytes::new())).collect()
}

fn entries(document: &Table) -> impl Iterator<Item = (&str, &Table)> {
    document.iter().flat_map(|(kind, value)| {
        let rows = value.as_array().map(Vec::as_slice).unwrap_or_default();
        rows.iter().filter_map(move |row| Some((kind.as_str(), row.as_table()?)))
    })
}

fn entry(kind: &str, table: &Table, raw: &Bytes) -> Option<Incoming> {
    match kind {
        "m" | "gm" | "r" => delivery(kind, table, raw).map(Incoming::Delivery),
        "a" => ack(table),
        "rr" => answer(table),
        "n" => notice(table),
        _ => None,
    }
}

fn delivery(kind: &str, table: &Table, raw: &Bytes) -> Option<Delivery> {
    let kind = match kind {
        "m" => DeliveryKind::Message,
        "gm" => DeliveryKind::GroupMessage,
        "r" => DeliveryKind::Request,
        _ => return None,
    };
    let sender = table.get("from")?.as_table()?;
    let from = UserId(whole(sender, "id")?);
    let group = whole(table, "group").or_else(|| whole(table, "group_id"));
    let conversation = match group {
        Some(group) => Conversation::Group(GroupId(group)),
        None => Conversation::direct(from, UserId(user(table, "to")?)),
    };
    let content = match kind {
        DeliveryKind::Request => {
            Content::Request { name: RequestName::parse(text(table, "t")?)?, table: table.clone() }
        }
        _ => Content::Text(text(table, "c")?.to_owned()),
    };
    Some(Delivery {
        kind,
        conversation,
        seq: Seq(whole(table, "seq")?),
        from,
        device: text(sender, "device").and_then(|device| Device::new(device).ok()),
        id: MessageId::new(text(table, "id")?).ok()?,
        ts: table.get("ts")?.as_integer()?,
        content,
        raw: raw.clone(),
    })
}

fn ack(table: &Table) -> Option<Incoming> {
    let id = MessageId::new(text(table, "id")?).ok()?;
    let seq = whole(table, "seq").map(Seq);
    let level = match text(table, "lvl")? {
        "stored" => return Some(Incoming::Stored { id, seq: seq?, ts: table.get("ts")?.as_integer()? }),
        "queued" => Level::Queued,
        "delivered" => Level::Delivered,
        "read" => Level::Read,
        _ => return None,
    };
    let from = table.get("from").and_then(Value::as_table);
    Some(Incoming::Receipt(Receipt {
        id,
        level,
        seq,
        group: whole(table, "group").map(GroupId),
        by: from.and_then(|from| whole(from, "id")).map(UserId),
        device: from.and_then(|from| text(from, "device")).and_then(|device| Device::new(device).ok()),
    }))
}

fn answer(table: &Table) -> Option<Incoming> {
    let id = text(table, "id")?.to_owned();
    match table.get("s")?.as_integer()? {
        0 => {
            let success = Success {
                seq: whole(table, "seq").map(Seq),
                contact_version: table.get("contact_version").and_then(Value::as_integer),
                group_id: whole(table, "group_id").map(GroupId),
            };
            Some(Incoming::Success { id, success })
        }
        _ => Some(Incoming::Refused(Refused {
            code: text(table, "code").and_then(Code::parse),
            reason: text(table, "r").unwrap_or_default().to_owned(),
            id,
            t: text(table, "t").and_then(RequestName::parse),
        })),
    }
}

fn notice(table: &Table) -> Option<Incoming> {
    match text(table, "t")? {
        "replaced" => Some(Incoming::Replaced),
        "move" => Some(Incoming::Move {
            server: match (text(table, "server"), whole(table, "port")) {
                (Some(server), Some(port)) => Some(format!("{server}:{port}")),
                (None, None) => None,
                _ => return None,
            },
            after: u64::try_from(table.get("after")?.as_integer()?).ok()?,
        }),
        _ => None,
    }
}

fn text<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    table.get(key)?.as_str()
}

/// A whole number of 1 or more, as every id and place is.
fn whole(table: &Table, key: &str) -> Option<i64> {
    table.get(key)?.as_integer().filter(|number| *number >= 1)
}

/// A user as `to = 3` or `[m.to] id = 3`.
fn user(table: &Table, key: &str) -> Option<i64> {
    match table.get(key)? {
        Value::Table(inner) => whole(inner, "id"),
        _ => whole(table, key),
    }
}
