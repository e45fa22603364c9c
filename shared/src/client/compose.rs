//! The frames a client writes, in the layout that servers read fastest.

use super::event::{Delivery, DeliveryKind};
use crate::{
    command::RequestName,
    frame::{self, Form},
    ids::{Conversation, Device, MessageId, Seq, UserId},
    message::{
        Ask, Target, WantedAck,
        write::{number, own_keys, text},
    },
};

/// The counted frame around entries.
pub fn counted(entries: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() + 8);
    frame::write(Form::Counted, entries, &mut out);
    out
}

/// `[[r]] t = "login"` or `"reconnect"`.
pub fn login(name: RequestName, id: &str, user: UserId, device: &Device, token: &str) -> Vec<u8> {
    let mut out = b"[[r]]\n".to_vec();
    text("id", id, &mut out);
    text("t", name.as_str(), &mut out);
    out.extend_from_slice(b"[r.user]\n");
    number("id", user.0, &mut out);
    text("device", device.as_str(), &mut out);
    text("token", token, &mut out);
    out
}

/// `[[m]]` or `[[gm]]`.
pub fn message(id: &MessageId, to: Target, content: &str, ack: WantedAck) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 96);
    out.extend_from_slice(if matches!(to, Target::User(_)) { b"[[m]]\n" } else { b"[[gm]]\n" });
    text("id", id.as_str(), &mut out);
    text("c", content, &mut out);
    match to {
        Target::User(user) => number("to", user.0, &mut out),
        Target::Group(group) => number("group", group.0, &mut out),
    }
    if ack != WantedAck::Stored {
        text("ack", ack.as_str(), &mut out);
    }
    out
}

/// `[[r]]`.
pub fn request(id: &MessageId, ask: &Ask) -> Vec<u8> {
    let mut out = b"[[r]]\n".to_vec();
    text("id", id.as_str(), &mut out);
    text("t", ask.name().as_str(), &mut out);
    own_keys(ask, &mut out);
    out
}

/// `[[a]]` for exactly this delivery.
pub fn ack(delivery: &Delivery, me: UserId, out: &mut Vec<u8>) {
    out.extend_from_slice(b"[[a]]\n");
    text("id", delivery.id.as_str(), out);
    number("seq", delivery.seq.0, out);
    place(&delivery.conversation, delivery.from, me, out);
}

/// `[[a]] lvl = "read"`: everything up to `seq` is read.
pub fn read(conversation: &Conversation, seq: Seq, me: UserId) -> Vec<u8> {
    let mut out = b"[[a]]\nlvl = \"read\"\n".to_vec();
    number("seq", seq.0, &mut out);
    place(conversation, conversation.peer(me).unwrap_or(me), me, &mut out);
    out
}

/// Names the conversation: its group, or who sent the delivery and, where that was me, to whom.
fn place(conversation: &Conversation, from: UserId, me: UserId, out: &mut Vec<u8>) {
    match (conversation, conversation.peer(me)) {
        (Conversation::Group(group), _) => number("group", group.0, out),
        (_, peer) => {
            out.extend_from_slice(b"[a.from]\n");
            number("id", from.0, out);
            if let Some(peer) = peer.filter(|_| from == me) {
                out.extend_from_slice(b"[a.to]\n");
                number("id", peer.0, out);
            }
        }
    }
}

impl DeliveryKind {
    /// The header's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "m",
            Self::GroupMessage => "gm",
            Self::Request => "r",
        }
    }
}
