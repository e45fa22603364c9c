//! What makes a retry recognisable: the sender, its device, its id, what kind, to whom, and the content.

use shared::message::{Accepted, Body, Message, Target};

use crate::store::{chunk::messages::Digest, rows};

/// 16 bytes of BLAKE3 over the fields, each with its length, so that no two frames run together.
pub fn of(frame: &Accepted) -> Digest {
    let mut hash = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    field(&frame.from.user.0.to_le_bytes());
    field(frame.from.device.as_str().as_bytes());
    field(frame.id().as_str().as_bytes());
    // simple_im's original clients repeat their ids: for them every frame is a new one.
    field(&frame.nonce.unwrap_or(0).to_le_bytes());
    match &frame.what {
        Body::Message(Message { to, content, .. }) => {
            let (kind, id) = match to {
                Target::User(user) => (b"m", user.0),
                Target::Group(group) => (b"g", group.0),
            };
            field(kind);
            field(&id.to_le_bytes());
            field(content.as_bytes());
        }
        Body::Request(request) => {
            let (kind, content) = rows::encode_ask(&request.what, None);
            field(&kind.to_le_bytes());
            if let Some(conversation) = request.what.conversation(frame.from.user) {
                field(conversation.to_string().as_bytes());
            }
            field(content.as_bytes());
        }
    }
    let mut digest = Digest::default();
    hash.finalize_xof().fill(&mut digest);
    digest
}

#[cfg(test)]
mod tests {
    use shared::{
        ids::{Device, MessageId, NodeId, SessionNo, UserId},
        message::{Ask, Request, Sender, WantedAck},
    };

    use super::*;

    fn message(id: &str, to: i64, content: &str) -> Accepted {
        let message = Message {
            id: MessageId::new(id).unwrap(),
            to: Target::User(UserId(to)),
            content: content.into(),
            ack: WantedAck::Stored,
        };
        frame(Body::Message(message))
    }

    fn frame(what: Body) -> Accepted {
        let from = Sender {
            user: UserId(1),
            device: Device::new("ipad").unwrap(),
            session: SessionNo(7),
            node: NodeId::new("e1-1").unwrap(),
        };
        Accepted { from, ts: 0, nonce: None, what }
    }

    #[test]
    fn a_retry_has_the_same_digest_from_any_connection_at_any_time() {
        let first = message("a_02", 2, "hello");
        let mut again = first.clone();
        again.ts = 99;
        again.from.session = SessionNo(8);
        again.from.node = NodeId::new("e2-1").unwrap();
        assert_eq!(of(&first), of(&again));
    }

    #[test]
    fn everything_that_matters_changes_it() {
        let add = |message: &str| {
            let what = Ask::AddContact { to: UserId(2), message: message.into() };
            frame(Body::Request(Request { id: MessageId::new("a_02").unwrap(), what }))
        };
        let accept = Ask::AcceptContact { to: UserId(2) };
        let accept = frame(Body::Request(Request { id: MessageId::new("a_02").unwrap(), what: accept }));
        let mut device = message("a_02", 2, "hello");
        device.from.device = Device::new("mac").unwrap();
        let mut user = message("a_02", 2, "hello");
        user.from.user = UserId(3);
        let mut group = message("a_02", 2, "hello");
        if let Body::Message(message) = &mut group.what {
            message.to = Target::Group(shared::ids::GroupId(2));
        }
        let mut nonce = message("a_02", 2, "hello");
        nonce.nonce = Some(5);
        let all = [
            message("a_02", 2, "hello"),
            message("a_03", 2, "hello"),
            message("a_02", 3, "hello"),
            message("a_02", 2, "hallo"),
            device,
            user,
            group,
            nonce,
            add("hello"),
            add("x"),
            accept,
        ];
        let distinct: std::collections::HashSet<_> = all.iter().map(of).collect();
        assert_eq!(distinct.len(), all.len());
    }
}
