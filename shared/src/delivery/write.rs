//! Writes deliveries.

use super::{Delivery, Push, ReceiptKey};
use crate::{
    frame,
    ids::{Conversation, Device, Seq, UserId},
    message::write::{number, signed, text},
};

/// Appends one delivery as a counted frame. A body begins with `[[`, as every frame of
/// [`write`](crate::message::write) does.
pub fn encode(delivery: &Delivery, out: &mut Vec<u8>) {
    let mut header = Vec::with_capacity(192);
    let body: &[u8] = match delivery {
        Delivery::Push(push) => {
            kind("push", &mut header);
            header_of_push(push, &mut header);
            &push.body
        }
        Delivery::Answer { user, session, place, body } => {
            kind("answer", &mut header);
            number("user", user.0, &mut header);
            number("session", session.0, &mut header);
            if let Some((conversation, seq)) = place {
                place_of(conversation, *seq, &mut header);
            }
            body
        }
        Delivery::Receipt { user, device, key, body } => {
            kind("receipt", &mut header);
            owner(*user, Some(device), &mut header);
            let ReceiptKey { conversation, seq, by, read } = key;
            place_of(conversation, *seq, &mut header);
            number("by", by.0, &mut header);
            header.extend_from_slice(if *read { b"read = true\n" } else { b"read = false\n" });
            body
        }
        Delivery::Replaced { user, device, below } => {
            kind("replaced", &mut header);
            owner(*user, Some(device), &mut header);
            number("below", below.0, &mut header);
            &[]
        }
        Delivery::Revoked { user, device, below } => {
            kind("revoked", &mut header);
            owner(*user, device.as_ref(), &mut header);
            if let Some(below) = below {
                number("below", below.0, &mut header);
            }
            &[]
        }
        Delivery::Resync => {
            kind("resync", &mut header);
            &[]
        }
    };
    out.push(b'#');
    frame::write_number((header.len() + body.len()) as u64, out);
    out.push(b'\n');
    out.extend_from_slice(&header);
    out.extend_from_slice(body);
}

fn header_of_push(push: &Push, out: &mut Vec<u8>) {
    out.extend_from_slice(b"to = [");
    for (at, user) in push.to.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        signed(user.0, out);
    }
    out.extend_from_slice(b"]\n");
    place_of(&push.conversation, push.seq, out);
    number("from", push.from.0, out);
    text("id", push.id.as_str(), out);
    if let Some(session) = push.skip {
        number("skip", session.0, out);
    }
    if push.receipt {
        text("want", "delivered", out);
    }
    if push.again {
        out.extend_from_slice(b"again = true\n");
    }
}

fn kind(kind: &str, out: &mut Vec<u8>) {
    text("d", kind, out);
}

fn owner(user: UserId, device: Option<&Device>, out: &mut Vec<u8>) {
    number("user", user.0, out);
    if let Some(device) = device {
        text("device", device.as_str(), out);
    }
}

fn place_of(conversation: &Conversation, seq: Seq, out: &mut Vec<u8>) {
    let (prefix, first): (&[u8], _) = match conversation {
        Conversation::Direct(low, _) => (b"conv = \"dm:", low.0),
        Conversation::Group(group) => (b"conv = \"g:", group.0),
    };
    out.extend_from_slice(prefix);
    signed(first, out);
    if let Conversation::Direct(_, high) = conversation {
        out.push(b':');
        signed(high.0, out);
    }
    out.extend_from_slice(b"\"\n");
    number("seq", seq.0, out);
}
