//! Client frames: every shape of the description and of the protocol.

mod properties;
mod refusals;

use super::*;
use crate::{
    command::RequestName,
    dialect,
    ids::{Device, GroupId, Seq, TokenDigest, UserId},
    message::{Ack, Ask, Login, Message, Request, Target, WantedAck},
};

fn read(text: &str) -> Result<Vec<Entry>, Refusal> {
    parse(text.as_bytes(), &Limits::default())
}

fn one(text: &str) -> Entry {
    let mut entries = read(text).unwrap_or_else(|refusal| panic!("{refusal}\n{text}"));
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

fn refused(text: &str) -> Refusal {
    read(text).expect_err(text)
}

fn id(text: &str) -> MessageId {
    MessageId::new(text).unwrap()
}

fn message(to: Target, ack: WantedAck) -> Entry {
    Entry::Message(Message { id: id("a_02"), to, content: "hello".to_owned(), ack })
}

fn login(name: RequestName) -> Entry {
    let (user, device) = (UserId(1), Device::new("ipad").unwrap());
    Entry::Login(Login {
        id: id("a_01"),
        name,
        user,
        device,
        token: Some(TokenDigest::of("AAklxuC39JJtttUMwKHq3teKwOzWtmJc")),
    })
}

fn request(what: Ask) -> Entry {
    Entry::Request(Request { id: id("b_01"), what })
}

/// The frames that simple_im.md shows, as they stand, and put on one line.
#[test]
fn what_the_description_shows_is_read() {
    let user = "[r.user]\nid=1\ndevice=\"ipad\"\ntoken=\"AAklxuC39JJtttUMwKHq3teKwOzWtmJc\"\n";
    let (two, group) = (UserId(2), GroupId(9));
    for (text, expected) in [
        (format!("[[r]]\nid=\"a_01\"\nt=\"login\"\n{user}"), login(RequestName::Login)),
        (format!("[[r]]\nid=\"a_01\"\nt=\"reconnect\"\n{user}"), login(RequestName::Reconnect)),
        (
            "[[r]]\nid=\"b_01\"\nt=\"add_contact\"\nto=2\nmessage=\"hello\"\n".to_owned(),
            request(Ask::AddContact { to: two, message: "hello".to_owned() }),
        ),
        (
            "[[r]]\nid=\"b_01\"\nt=\"accept_contact\"\nto=2\n".to_owned(),
            request(Ask::AcceptContact { to: two }),
        ),
        (
            "[[r]]\nid=\"b_01\"\nt=\"delete_contact\"\nto=2\n".to_owned(),
            request(Ask::DeleteContact { to: two }),
        ),
        (
            "[[r]]\nid=\"b_01\"\nt=\"create_group\"\nname=\"friends\"\nmembers=[2,3,2]\n".to_owned(),
            request(Ask::CreateGroup { name: "friends".to_owned(), members: vec![two, UserId(3)] }),
        ),
        (
            "[[r]]\nid=\"b_01\"\nt=\"create_group_member\"\ngroup_id=9\nmember_id=2\n".to_owned(),
            request(Ask::CreateGroupMember { group, member: two }),
        ),
        ("[[m]]\nid=\"a_02\"\nc=\"hello\"\nto=2\n".to_owned(), message(Target::User(two), WantedAck::Stored)),
        (
            "[[a]]\nid=\"a_02\"\n".to_owned(),
            Entry::Ack(Ack { id: Some(id("a_02")), seq: None, from: None, to: None, read: false }),
        ),
        (
            "[[gm]]\nid=\"a_02\"\nc=\"hello\"\ngroup=9\n".to_owned(),
            message(Target::Group(group), WantedAck::Stored),
        ),
    ] {
        assert_eq!(one(&text), expected);
        assert_eq!(one(&text.replace('\n', "\r\n")), expected);
        assert_eq!(one(&dialect::to_standard(&text.replace('\n', " ")).unwrap()), expected);
    }
}

#[test]
fn what_the_protocol_adds_is_read() {
    let (two, group) = (UserId(2), GroupId(9));
    for (text, expected) in [
        (
            "[[m]]\nid=\"a_02\"\nc=\"hello\"\nack=\"delivered\"\n[m.to]\nid = 2\n",
            message(Target::User(two), WantedAck::Delivered),
        ),
        (
            "[[m]]\nid=\"a_02\"\nto={id=2}\nc=\"\"\"\nhello\"\"\"\nlater=true\n",
            message(Target::User(two), WantedAck::Stored),
        ),
        (
            "[[r]]\nid=\"b_01\"\nt=\"decline_contact\"\n[r.to]\nid=2\n",
            request(Ask::DeclineContact { to: two }),
        ),
        ("[[r]]\nid=\"b_01\"\nt=\"block\"\nto=0x2\n", request(Ask::Block { to: two })),
        ("[[r]]\nid=\"b_01\"\nt=\"unblock\"\nto=2\n", request(Ask::Unblock { to: two })),
        (
            "[[r]]\nid=\"b_01\"\nt=\"delete_group_member\"\ngroup_id=9\n",
            request(Ask::DeleteGroupMember { group, member: None }),
        ),
        (
            "[[r]]\nid=\"b_01\"\nt=\"delete_group_member\"\ngroup_id=9\nmember_id=2\n",
            request(Ask::DeleteGroupMember { group, member: Some(two) }),
        ),
        ("[[r]]\nid=\"b_01\"\nt=\"delete_group\"\ngroup_id=9\n", request(Ask::DeleteGroup { group })),
        (
            "[[r]]\nid=\"b_01\"\nt=\"add_contact\"\nto=2\n",
            request(Ask::AddContact { to: two, message: String::new() }),
        ),
    ] {
        assert_eq!(one(text), expected);
    }
}

#[test]
fn an_acknowledgement_names_what_it_means() {
    let ack = |id: Option<&str>, seq: Option<i64>, from, to, read| {
        Entry::Ack(Ack { id: id.map(self::id), seq: seq.map(Seq), from, to, read })
    };
    let (user, group) = (Some(Target::User(UserId(1))), Some(Target::Group(GroupId(9))));
    for (text, expected) in [
        ("[[a]]\nid=\"a\"\nseq=17\n[a.from]\nid=1\n", ack(Some("a"), Some(17), user, None, false)),
        ("[[a]]\nseq=17\nlvl=\"read\"\n[a.from]\nid=1\n", ack(None, Some(17), user, None, true)),
        ("[[a]]\nseq=17\nlvl=\"delivered\"\ngroup=9\n", ack(None, Some(17), group, None, false)),
        ("[[a]]\nseq=17\n[a.from]\ngroup=9\n", ack(None, Some(17), group, None, false)),
        ("[[a]]\nseq=17\ngroup=9\n[a.from]\nid=1\ndevice=\"x\"\n", ack(None, Some(17), group, None, false)),
        ("[[a]]\nseq=17\nfrom=1\nto=2\n", ack(None, Some(17), user, Some(UserId(2)), false)),
        ("[[a]]\nseq=17\n[a.to]\nid=2\n[a.from]\nid=1\n", ack(None, Some(17), user, Some(UserId(2)), false)),
        ("[[a]]\nid=\"a\"\nseq=17\n", ack(Some("a"), Some(17), None, None, false)),
    ] {
        assert_eq!(one(text), expected);
    }
}

#[test]
fn several_entries_of_one_kind_come_in_order() {
    let text = "[[m]]\nid=\"a\"\nc=\"1\"\nto=2\n[[m]]\nid=\"b\"\nc=\"2\"\n[m.to]\nid=2\n[[m]]\nid=\"c\"\nc=\"3\"\nto=2\n";
    let ids: Vec<_> = read(text)
        .unwrap()
        .into_iter()
        .map(|entry| if let Entry::Message(message) = entry { message.id } else { panic!() })
        .collect();
    assert_eq!(ids, ["a", "b", "c"].map(id));
    let refusal = refused(&text.replace("c=\"2\"\n", ""));
    assert_eq!(
        (refusal.reason.as_str(), refusal.id),
        ("entry 2: expected `c` as a text; found nothing", Some(id("b")))
    );
    let refusal = refused("[[m]]\nid=\"a\"\nc=\"1\"\nto=2\n[[a]]\nid=\"a\"\n");
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::Malformed, "expected one kind of entry in a frame; found [[m]] and [[a]]")
    );
}

/// simple_im acknowledged it and never delivered it.
#[test]
fn an_escaped_quote_survives() {
    let entry = one("[[m]]\nid = \"a\"\nc = \"she said \\\"hi\\\"\"\nto = 2\n");
    assert!(matches!(entry, Entry::Message(message) if message.content == "she said \"hi\""));
}
