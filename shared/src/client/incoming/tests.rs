use proptest::prelude::*;

use super::*;
use crate::{
    client::event::Level,
    command::{Code, RequestName},
    ids::{Conversation, Device, GroupId, UserId},
    message::{Ask, Refusal, StoredBody, WantedAck, write},
};

fn frame(write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::new();
    write(&mut out);
    out.into()
}

fn row(conversation: Conversation, what: StoredBody) -> crate::message::Stored {
    crate::message::Stored {
        conversation,
        seq: Seq(17),
        sender: UserId(1),
        device: Device::new("android").unwrap(),
        id: MessageId::new("a_02").unwrap(),
        ts: 1_444_719_450,
        what,
    }
}

proptest! {
    #[test]
    fn by_hand_and_by_the_toml_crate_is_the_same(content in ".*", id in "[^\\p{Cc}]{1,20}", device in "[^\\p{Cc}]{1,20}", group: bool) {
        let conversation =
            if group { Conversation::Group(GroupId(9)) } else { Conversation::direct(UserId(1), UserId(3)) };
        let mut row = row(conversation, StoredBody::Text { content: content.clone(), ack: WantedAck::Stored });
        row.id = MessageId::new(&id).unwrap();
        row.device = Device::new(&device).unwrap();
        let bytes = frame(|out| write::stored(&row, out));
        let slow = table::parse(&bytes);
        if let Some(fast) = fast::parse(&bytes) {
            prop_assert_eq!(&slow, &[fast]);
        }
        let [Incoming::Delivery(delivery)] = slow.as_slice() else { panic!("{slow:?}") };
        prop_assert_eq!(delivery.text(), Some(content.as_str()));
        prop_assert_eq!((&delivery.id, delivery.conversation), (&row.id, conversation));
    }

    #[test]
    fn garbage_is_unknown_and_never_a_panic(bytes: Vec<u8>) {
        parse(&bytes.into());
    }

    #[test]
    fn a_broken_frame_reads_the_same_both_ways(at in 0usize..120, byte: u8) {
        let row = row(Conversation::direct(UserId(1), UserId(3)), StoredBody::Text { content: "hello".into(), ack: WantedAck::Stored });
        let mut bytes = frame(|out| write::stored(&row, out)).to_vec();
        if let Some(slot) = bytes.get_mut(at) {
            *slot = byte;
        }
        let bytes = Bytes::from(bytes);
        if let Some(fast) = fast::parse(&bytes) {
            prop_assert_eq!(table::parse(&bytes), [fast]);
        }
    }
}

#[test]
fn the_frequent_shapes_take_the_short_way() {
    let text = StoredBody::Text { content: "say \"hi\"\n".into(), ack: WantedAck::Stored };
    for conversation in [Conversation::direct(UserId(1), UserId(1)), Conversation::Group(GroupId(9))] {
        assert!(fast::parse(&frame(|out| write::stored(&row(conversation, text.clone()), out))).is_some());
    }
    let id = MessageId::new("a").unwrap();
    let stored = frame(|out| write::ack_stored(&id, 5, Seq(2), out));
    assert_eq!(fast::parse(&stored), Some(Incoming::Stored { id, seq: Seq(2), ts: 5 }));
    assert_eq!(table::parse(&stored), [fast::parse(&stored).unwrap()]);
}

#[test]
fn requests_answers_receipts_and_notices_are_read() {
    let talk = Conversation::direct(UserId(1), UserId(2));
    let add = StoredBody::Request {
        what: Ask::AddContact { to: UserId(2), message: "hello".into() },
        group: None,
        contact_version: Some(4),
    };
    let made = StoredBody::Request {
        what: Ask::CreateGroup { name: "friends".into(), members: vec![UserId(2)] },
        group: Some(GroupId(9)),
        contact_version: None,
    };
    for (conversation, what, name) in [
        (talk, add, RequestName::AddContact),
        (Conversation::Group(GroupId(9)), made, RequestName::CreateGroup),
    ] {
        let parsed = parse(&frame(|out| write::stored(&row(conversation, what), out)));
        let [Incoming::Delivery(delivery)] = parsed.as_slice() else { panic!("{parsed:?}") };
        assert_eq!((delivery.conversation, delivery.request().unwrap().0), (conversation, name));
    }

    let id = MessageId::new("b_01").unwrap();
    let success = Success { seq: Some(Seq(3)), contact_version: Some(9), group_id: None };
    let bytes = frame(|out| write::success(&id, RequestName::AcceptContact, &success, out));
    assert_eq!(parse(&bytes), [Incoming::Success { id: "b_01".into(), success }]);

    let bytes = frame(|out| write::refusal(&Refusal::new(Code::Blocked, "blocked").for_id(&id), out));
    let refused = Refused { code: Some(Code::Blocked), reason: "blocked".into(), id: "b_01".into(), t: None };
    assert_eq!(parse(&bytes), [Incoming::Refused(refused)]);

    let bytes = frame(|out| write::receipt(&id, true, &talk, Seq(3), UserId(2), None, out));
    let receipt =
        Receipt { id, level: Level::Read, seq: Some(Seq(3)), group: None, by: Some(UserId(2)), device: None };
    assert_eq!(parse(&bytes), [Incoming::Receipt(receipt)]);

    assert_eq!(parse(&frame(write::replaced)), [Incoming::Replaced]);
    let bytes = frame(|out| write::moved(Some(("10.0.0.7", 1987)), 250, out));
    assert_eq!(parse(&bytes), [Incoming::Move { server: Some("10.0.0.7:1987".into()), after: 250 }]);
    assert_eq!(parse(&frame(|out| write::moved(None, 9, out))), [Incoming::Move { server: None, after: 9 }]);
}
