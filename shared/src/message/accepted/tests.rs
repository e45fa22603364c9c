//! Frames on the broker: one layout, read by hand and by the `toml` crate alike.

use proptest::prelude::*;

use super::*;
use crate::{
    ids::{Device, GroupId, MessageId},
    message::{Ask, Message, samples},
};

fn frame(what: Body) -> Accepted {
    Accepted {
        from: Sender {
            user: UserId(1),
            device: Device::new("android").unwrap(),
            session: SessionNo(17),
            node: NodeId::new("e1-5f3a").unwrap(),
        },
        ts: 1_444_719_450,
        nonce: None,
        what,
    }
}

fn message(to: Target, ack: WantedAck) -> Body {
    Body::Message(Message { id: MessageId::new("a_02").unwrap(), to, content: "hello".to_owned(), ack })
}

fn encoded(frame: &Accepted) -> String {
    let mut out = Vec::new();
    encode(frame, &mut out);
    String::from_utf8(out).unwrap()
}

const FROM: &str = "id = 1\ndevice = \"android\"\nsession = 17\nnode = \"e1-5f3a\"\n";

#[test]
fn a_message_is_written_as_documented() {
    let direct = frame(message(Target::User(UserId(3)), WantedAck::Delivered));
    let expected = format!(
        "[[m]]\nid = \"a_02\"\nc = \"hello\"\nto = 3\nack = \"delivered\"\nts = 1444719450\n[m.from]\n{FROM}"
    );
    assert_eq!(encoded(&direct), expected);
    let mut group = frame(message(Target::Group(GroupId(9)), WantedAck::Stored));
    group.nonce = Some(5);
    let expected = format!(
        "[[gm]]\nid = \"a_02\"\nc = \"hello\"\ngroup = 9\nnonce = 5\nts = 1444719450\n[gm.from]\n{FROM}"
    );
    assert_eq!(encoded(&group), expected);
}

#[test]
fn a_request_is_written_as_documented() {
    let what = Ask::CreateGroup { name: "friends".to_owned(), members: vec![UserId(2), UserId(3)] };
    let request = frame(Body::Request(Request { id: MessageId::new("c_01").unwrap(), what }));
    let expected = format!(
        "[[r]]\nid = \"c_01\"\nt = \"create_group\"\nname = \"friends\"\nmembers = [2, 3]\nts = 1444719450\n[r.from]\n{FROM}"
    );
    assert_eq!(encoded(&request), expected);
}

#[test]
fn what_is_missing_is_named() {
    let whole = encoded(&frame(message(Target::User(UserId(3)), WantedAck::Stored)));
    for key in ["id", "c", "to", "ts", "device", "session", "node"] {
        let start = whole.find(&format!("\n{key} = ")).unwrap() + 1;
        let length = whole[start..].find('\n').unwrap() + 1;
        let text = format!("{}{}", &whole[..start], &whole[start + length..]);
        let error = decode(text.as_bytes()).unwrap_err();
        assert!(
            error.expected.contains(&format!("`{key}`")) || error.expected.contains(&format!(" {key} ")),
            "{error}"
        );
        assert_eq!(error.found, "nothing", "{error}");
    }
    for text in
        ["", "x", "[[m]]\n", "[[a]]\nid = \"a\"\n", "[[r]]\nid = \"a\"\nt = \"login\"\n", &whole.repeat(2)]
    {
        assert!(decode(text.as_bytes()).is_err(), "{text}");
    }
    assert!(decode(b"\xff").is_err());
}

proptest! {
    #[test]
    fn any_frame_reads_back(frame in samples::accepted()) {
        let text = encoded(&frame);
        prop_assert_eq!(&decode(text.as_bytes()).unwrap(), &frame);
        prop_assert_eq!(&document(&text).unwrap(), &frame, "by the toml crate");
    }

    #[test]
    fn by_hand_as_by_the_toml_crate(frame in samples::accepted(), slips in samples::slips()) {
        let text = samples::slipped(&encoded(&frame), &slips);
        if let Some(read) = fast::read(&text) {
            prop_assert_eq!(Ok(read), document(&text), "{}", text);
        }
    }

    #[test]
    fn a_plain_message_is_read_by_hand(content in "[a-zé\"\\\\\n\t]{0,40}", ack in samples::message(), nonce in proptest::option::of(1..9u64)) {
        let mut frame = frame(message(ack.to, ack.ack));
        let Body::Message(message) = &mut frame.what else { unreachable!() };
        message.content = content;
        frame.nonce = nonce;
        prop_assert_eq!(fast::read(&encoded(&frame)), Some(frame));
    }

    #[test]
    fn garbage_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&bytes).is_err());
    }
}
