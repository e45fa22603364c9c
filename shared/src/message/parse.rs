//! Client bytes to typed entries, with refusals that say what was expected and what was found.
//!
//! A frame is taken whole or refused whole. Keys that nobody knows are ignored, so that clients can be newer than
//! servers. `message` of `add_contact`, `members` of `create_group` and `member_id` of `delete_group_member` may be
//! absent; `lvl = "read"` needs `seq` and whose it is, a delivery's bare `id` is enough for everything else.
//!
//! The shapes that every client sends most are read by hand; the `toml` crate decides the rest, and would read those
//! no differently.

pub(super) mod entry;
mod fast;

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::{
    Entry, Refusal,
    keys::{Keys, entries, found},
};
use crate::{command::Code, ids::MessageId};

/// What a frame may hold; all in bytes or entries.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest text (`c`, `message`), in bytes. A group's name is shorter: [`super::GROUP_NAME_BYTES`].
    pub text: usize,
    /// The most entries in one frame.
    pub entries: usize,
    /// The most members named in `create_group`.
    pub members: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { text: 32 * 1024, entries: 256, members: 500 }
    }
}

/// Parses one frame of standard TOML (the one-line form goes through [`crate::dialect`] first).
///
/// # Errors
/// A [`Refusal`] for the frame as a whole, with the entry's id and `t` where they could be read.
pub fn parse(frame: &[u8], limits: &Limits) -> Result<Vec<Entry>, Refusal> {
    let text = std::str::from_utf8(frame).map_err(|error| not_utf8(frame, error.valid_up_to()))?;
    match fast::read(text, limits) {
        Some(entries) => Ok(entries),
        None => document(text, limits),
    }
}

/// The kinds a client sends.
const KINDS: &str = "[[m]], [[gm]], [[r]] or [[a]]";

/// Any TOML, by the `toml` crate.
fn document(text: &str, limits: &Limits) -> Result<Vec<Entry>, Refusal> {
    let document = DeTable::parse(text).map_err(|error| not_toml(text, error.message(), error.span()))?;
    let mut kinds = entries(document.get_ref());
    let Some((kind, value)) = kinds.next() else {
        return Err(malformed(format!("expected one or more of {KINDS}; found none")));
    };
    known(kind, value)?;
    if let Some((other, value)) = kinds.next() {
        known(other, value)?;
        return Err(malformed(format!(
            "expected one kind of entry in a frame; found [[{kind}]] and [[{other}]]"
        )));
    }
    let tables = tables(kind, value)?;
    if tables.len() > limits.entries {
        let reason =
            format!("expected at most {} entries in a frame; found {}", limits.entries, tables.len());
        return Err(Refusal::new(Code::TooLong, reason));
    }
    let several = tables.len() > 1;
    let read = |(at, table)| {
        entry::read(kind, table, limits).map_err(|mut refusal| {
            if several {
                refusal.reason = format!("entry {}: {}", at + 1, refusal.reason);
            }
            refusal
        })
    };
    tables.into_iter().enumerate().map(read).collect()
}

/// Refuses what is no kind of entry.
fn known(kind: &str, value: &DeValue<'_>) -> Result<(), Refusal> {
    if matches!(kind, "m" | "gm" | "r" | "a") {
        return Ok(());
    }
    let short: String = kind.chars().take(32).collect();
    match value {
        DeValue::Array(_) => Err(Refusal::new(Code::Unknown, format!("expected {KINDS}; found [[{short}]]"))),
        DeValue::Table(_) => Err(Refusal::new(Code::Unknown, format!("expected {KINDS}; found [{short}]"))),
        _ => Err(malformed(format!("expected {KINDS} first; found the key {short:?} outside of them"))),
    }
}

/// The tables of `[[kind]]`.
fn tables<'t>(kind: &str, value: &'t DeValue<'t>) -> Result<Vec<&'t DeTable<'t>>, Refusal> {
    let wrong =
        |value| malformed(format!("expected [[{kind}]] to begin an entry; found {}", found(Some(value))));
    let DeValue::Array(array) = value else { return Err(wrong(value)) };
    if array.is_empty() {
        return Err(malformed(format!("expected one or more of {KINDS}; found none")));
    }
    array.iter().map(|entry| entry.get_ref().as_table().ok_or_else(|| wrong(entry.get_ref()))).collect()
}

fn malformed(reason: String) -> Refusal {
    Refusal::new(Code::Malformed, reason)
}

/// Bytes that are no text at all.
pub(crate) fn not_utf8(frame: &[u8], at: usize) -> Refusal {
    let line = 1 + frame[..at].iter().filter(|&&byte| byte == b'\n').count();
    malformed(format!("expected UTF-8; found the byte 0x{:02x} in line {line}", frame[at]))
}

/// The parser's own words with line and column, and the entry's id if there is one entry whose id stands all the same.
fn not_toml(text: &str, message: &str, span: Option<Range<usize>>) -> Refusal {
    let mut reason = format!("not TOML: {}", message.replace('\n', ", "));
    if let Some(before) = span.and_then(|span| text.get(..span.start)) {
        let line = 1 + before.matches('\n').count();
        let column = 1 + before.chars().rev().take_while(|&char| char != '\n').count();
        reason = format!("{reason} in line {line}, column {column}");
    }
    let mut refusal = malformed(reason);
    refusal.id = only_id(text);
    refusal
}

fn only_id(text: &str) -> Option<MessageId> {
    let (document, _) = DeTable::parse_recoverable(text);
    let mut kinds = entries(document.get_ref());
    let (kind, value) = kinds.next()?;
    if kinds.next().is_some() || known(kind, value).is_err() {
        return None;
    }
    match tables(kind, value).ok()?.as_slice() {
        [table] => Keys::of(table).maybe_id().ok()?,
        _ => None,
    }
}

#[cfg(test)]
mod tests;
