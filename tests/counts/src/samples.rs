//! The traffic that is counted: 100 pairs, 10 messages each, bodies of 64 bytes, ids as the client library makes them.

use std::sync::Arc;

use shared::{
    frame::{self, Form},
    ids::{Conversation, Device, GroupId, MessageId, NodeId, Seq, SessionNo, UserId},
    message::{Accepted, Body, Message, Sender, Target, WantedAck},
};

/// Pairs of users: 1 writes to 2, 3 to 4, and so on.
pub const PAIRS: i64 = 100;
/// Messages of each.
pub const EACH: i64 = 10;
/// All of them.
pub const ALL: usize = (PAIRS * EACH) as usize;
/// A moment, in Unix seconds.
pub const TS: i64 = 1_700_000_000;

/// The messages in the order in which many senders' come: sender, recipient, place in their conversation.
pub fn traffic() -> impl Iterator<Item = (UserId, UserId, Seq)> {
    (1..=EACH).flat_map(|seq| (1..=PAIRS).map(move |pair| (UserId(2 * pair - 1), UserId(2 * pair), Seq(seq))))
}

/// The id of a sender's message.
pub fn id(from: UserId, seq: Seq) -> MessageId {
    let start = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(from.0.unsigned_abs());
    MessageId::new(&format!("{start:016x}-{seq}")).expect("a short text without control characters")
}

/// 64 bytes.
pub fn content(seq: Seq) -> String {
    format!("message {:03}, as long as what people write to each other is today.", seq.0)
        .chars()
        .take(64)
        .collect()
}

/// The device that everybody has.
pub fn device() -> Device {
    Device::new("android").expect("a device's name")
}

/// One of two nodes: even users are at the second.
pub fn node(user: UserId) -> NodeId {
    NodeId::new(if user.0 % 2 == 0 { "e2-7c1d0b55" } else { "e1-5f3a9c02" }).expect("a node's id")
}

/// A user's session.
pub fn who(user: UserId) -> Sender {
    Sender { user, device: device(), session: SessionNo(4_000_000 + user.0), node: node(user) }
}

/// A user's session, as sessions share it.
pub fn shared_who(user: UserId) -> Arc<Sender> {
    Arc::new(who(user))
}

/// A message from its sender.
pub fn message(from: UserId, to: Target, seq: Seq) -> Message {
    Message { id: id(from, seq), to, content: content(seq), ack: WantedAck::Stored }
}

/// As the edge stamps it.
pub fn accepted(from: UserId, to: Target, seq: Seq) -> Accepted {
    Accepted { from: who(from), ts: TS, nonce: None, what: Body::Message(message(from, to, seq)) }
}

/// All of the traffic, stamped.
pub fn all_accepted() -> Vec<Accepted> {
    traffic().map(|(from, to, seq)| accepted(from, Target::User(to), seq)).collect()
}

/// The frame that a client writes for a message, without count line or blank line.
pub fn client_message(from: UserId, to: UserId, seq: Seq) -> String {
    format!("[[m]]\nid = \"{}\"\nc = \"{}\"\nto = {to}\n", id(from, seq), content(seq))
}

/// A client's acknowledgement of that message.
pub fn client_ack(from: UserId, seq: Seq) -> String {
    format!("[[a]]\nid = \"{}\"\nseq = {seq}\n[a.from]\nid = {from}\n", id(from, seq))
}

/// A group's conversation.
pub const GROUP: Conversation = Conversation::Group(GroupId(77));

/// Counted frames back to back.
pub fn counted<F: AsRef<[u8]>>(frames: impl IntoIterator<Item = F>) -> Vec<u8> {
    let mut out = Vec::new();
    frames.into_iter().for_each(|frame| frame::write(Form::Counted, frame.as_ref(), &mut out));
    out
}
