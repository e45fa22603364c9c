//! Frames on the broker.
use super::*;
use crate::{
    ids::{Device, MessageId},
    message::Message,
};

#[test]
fn a_message_is_written_as_documented_and_read_back() {
    let frame = Accepted {
        from: Sender {
            user: UserId(1),
            device: Device::new("android").unwrap(),
            session: SessionNo(17),
            node: NodeId::new("e1-5f3a").unwrap(),
        },
        ts: 1_444_719_450,
        nonce: None,
        what: Body::Message(Message {
            id: MessageId::new("a_02").unwrap(),
            to: Target::User(UserId(3)),
            content: "hello".to_owned(),
            ack: WantedAck::Delivered,
        }),
    };
    let mut out = Vec::new();
    encode(&frame, &mut out);
    let expected = "[[m]]\nid = \"a_02\"\nc = \"hello\"\nto = 3\nack = \"delivered\"\nts = 1444719450\n[m.from]\nid = 1\n\
                    device = \"android\"\nsession = 17\nnode = \"e1-5f3a\"\n";
    assert_eq!(String::from_utf8(out.clone()).unwrap(), expected);
    assert_eq!(decode(&out).unwrap(), frame);
}
