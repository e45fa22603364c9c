//! Frames for clients, written by hand in the layout of the specification (no blank line inside a frame).

use super::{Refusal, Stored};
use crate::{
    command::RequestName,
    ids::{Conversation, Device, GroupId, MessageId, Seq, UserId},
};

/// `[[m]]`, `[[gm]]` or `[[r]]` as every recipient gets it.
pub fn stored(_row: &Stored, _out: &mut Vec<u8>) {
    unimplemented!()
}

/// `[[a]] lvl = "stored"`.
pub fn ack_stored(_id: &MessageId, _ts: i64, _seq: Seq, _out: &mut Vec<u8>) {
    unimplemented!()
}

/// `[[a]] lvl = "queued"`.
pub fn ack_queued(_id: &MessageId, _out: &mut Vec<u8>) {
    unimplemented!()
}

/// A receipt: `[[a]] lvl = "delivered"` or `"read"`, with `seq`, `group` for a group's message, and `[a.from]` the user
/// (and device, where known) who acknowledged.
pub fn receipt(_id: &MessageId, _read: bool, _conversation: &Conversation, _seq: Seq, _by: UserId, _device: Option<&Device>, _out: &mut Vec<u8>) {
    unimplemented!()
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
pub fn success(_id: &MessageId, _t: RequestName, _success: &Success, _out: &mut Vec<u8>) {
    unimplemented!()
}

/// `[[rr]] s = 1`: `id` and `t` are empty strings where they could not be read.
pub fn refusal(_refusal: &Refusal, _out: &mut Vec<u8>) {
    unimplemented!()
}

/// `[[n]] t = "replaced"`.
pub fn replaced(_out: &mut Vec<u8>) {
    unimplemented!()
}

/// `[[n]] t = "move"`: where to go, and after how many milliseconds.
pub fn moved(_server: &str, _port: u16, _after_ms: u64, _out: &mut Vec<u8>) {
    unimplemented!()
}

/// A TOML basic string with its quotes.
pub fn quoted(_text: &str, _out: &mut Vec<u8>) {
    unimplemented!()
}
