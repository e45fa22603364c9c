//! What those clients write, and what they are shown, read by a reader as small as theirs.

use proptest::prelude::*;

use super::*;
use crate::{
    command::{Code, RequestName},
    ids::{Conversation, Device, GroupId, MessageId, Seq, UserId},
    message::{
        Ask, Entry, Refusal, Stored, StoredBody, Target, WantedAck,
        parse::{Limits, parse},
        samples, write as frames,
    },
};

fn entries(read: &[u8]) -> Vec<Result<Vec<Entry>, Refusal>> {
    split(read).map(|piece| parse(&to_toml(piece)?, &Limits::default())).collect()
}

fn one(read: &str) -> Entry {
    let mut found = entries(read.as_bytes());
    assert_eq!(found.len(), 1, "{read}");
    found.remove(0).unwrap_or_else(|refusal| panic!("{read}: {refusal}")).remove(0)
}

#[test]
fn what_they_write_is_read() {
    let login = r#"[[r]] id = "abc_01" t = "login" [r.user] id = "7" device = "ipad" token = "AAk+/=""#;
    let Entry::Login(login) = one(login) else { panic!("no login") };
    assert_eq!((login.user, login.device.as_str()), (UserId(7), "ipad"));
    let Entry::Message(message) = one(r#"[[m]] id = "a_02" c = "C:\new [[x]] # 大傻" to = 2"#) else {
        panic!()
    };
    assert_eq!((message.to, message.content.as_str()), (Target::User(UserId(2)), r"C:\new [[x]] # 大傻"));
    let Entry::Message(message) = one("[[m]]id=\"1\"c=\"two\nlines\" [m.to] id = \"9\"\r\n") else {
        panic!()
    };
    assert_eq!((message.id.as_str(), message.to), ("1", Target::User(UserId(9))));
    assert_eq!(message.content, "two\nlines");
    let Entry::Request(request) =
        one(r#"[[r]] members = ["2",3, 4] name = "n" t = "create_group" id = "c_01""#)
    else {
        panic!()
    };
    let members = [2, 3, 4].map(UserId).to_vec();
    assert_eq!(request.what, Ask::CreateGroup { name: "n".to_owned(), members });
    let Entry::Ack(ack) = one(r#"[[a]] id="a_02""#) else { panic!() };
    assert_eq!(ack.id, Some(MessageId::new("a_02").unwrap()));
}

#[test]
fn one_read_may_hold_several_entries_of_several_kinds() {
    let read = br#" [[a]] id="1"[[m]] id = "[[2]]" c = "x" to = 2 [[gm]] id = "3" c = "" group = "5""#;
    let found: Vec<_> = entries(read).into_iter().map(|entry| entry.unwrap().remove(0)).collect();
    assert!(matches!(&found[..], [Entry::Ack(_), Entry::Message(_), Entry::Message(_)]), "{found:?}");
    assert_eq!(split(b" \r\n").count(), 0);
}

#[test]
fn what_tcp_has_cut_or_what_is_no_entry_is_refused() {
    for (read, said) in [
        ("hello", "a header such as [[m]] at column 1; found \"hello\""),
        ("[[m", "a header such as [[m]]"),
        ("[[m]] id = \"a_0", "a closing quote"),
        ("[[m]] id", "a key and `=`"),
        ("[[m]] to = ", "a string or a whole number at column 11; found the end of what one read brought"),
        ("[[m]] to = 007", "a string or a whole number"),
        ("[[m]] to = 1.5", "a key and `=`"),
        ("[[r]] members = [1, ", "a string or a whole number"),
        ("[[m]] id = \"1\" [x.to] id = 1", "a header such as [m.to]"),
        ("02\" c = \"x\" to = 3", "a header such as [[m]]"),
    ] {
        let refusal = entries(read.as_bytes()).remove(0).unwrap_err();
        assert_eq!(refusal.code, Code::Malformed, "{read}");
        assert!(refusal.reason.contains(said), "{read}: {}", refusal.reason);
    }
}

fn shown(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut frame = Vec::new();
    write(&mut frame);
    String::from_utf8(from_toml(&frame).unwrap()).unwrap()
}

#[test]
fn replies_have_the_keys_and_the_order_of_the_description() {
    let id = MessageId::new("b_01").unwrap();
    let success = |name, success: frames::Success| shown(|out| frames::success(&id, name, &success, out));
    let refusal = |name: Option<RequestName>| {
        let mut refusal = Refusal::new(Code::Token, "token error").for_id(&id);
        refusal.t = name;
        shown(|out| frames::refusal(&refusal, out))
    };
    let seq = Some(Seq(5));
    for (found, expected) in [
        (success(RequestName::Login, Default::default()), "[[rr]]\nid = \"b_01\"\nt = \"login\"\ns = 0\n"),
        (
            success(RequestName::Reconnect, Default::default()),
            "[[rr]]\nid = \"b_01\"\nt = \"reconnect\"\ns = 0\n",
        ),
        (
            refusal(Some(RequestName::Login)),
            "[[rr]]\nid = \"b_01\"\ns = 1\nt = \"login\"\nr = \"token error\"\n",
        ),
        (
            refusal(Some(RequestName::Reconnect)),
            "[[rr]]\nid = \"b_01\"\nt = \"reconnect\"\nr = \"token error\"\ns = 1\n",
        ),
        (refusal(Some(RequestName::AddContact)), "[[rr]]\nid = \"b_01\"\nr = \"token error\"\ns = 1\n"),
        (refusal(None), "[[rr]]\nid = \"b_01\"\nr = \"token error\"\ns = 1\n"),
        (
            success(RequestName::AddContact, frames::Success { seq, ..Default::default() }),
            "[[rr]]\nid = \"b_01\"\ns = 0\n",
        ),
        (
            success(
                RequestName::AcceptContact,
                frames::Success { seq, contact_version: Some(9), ..Default::default() },
            ),
            "[[rr]]\nid = \"b_01\"\ns = 0\ncontact_version = 9\n",
        ),
        (
            success(
                RequestName::CreateGroup,
                frames::Success { seq, group_id: Some(GroupId(9)), ..Default::default() },
            ),
            "[[rr]]\nid = \"b_01\"\ns = 0\ngroup_id = 9\n",
        ),
        (shown(|out| frames::ack_stored(&id, 5, Seq(7), out)), "[[a]]\nid = \"b_01\"\n"),
        (shown(|out| frames::ack_queued(&id, out)), ""),
        (shown(frames::replaced), "[[n]]\nt = \"replaced\"\n"),
    ] {
        assert_eq!(found, expected);
    }
}

fn message(conversation: Conversation, content: &str) -> Stored {
    let what = StoredBody::Text { content: content.to_owned(), ack: WantedAck::Stored };
    let (device, id) = (Device::new("android").unwrap(), MessageId::new("a_02").unwrap());
    Stored { conversation, seq: Seq(17), sender: UserId(1), device, id, ts: 1_444_719_450, what }
}

#[test]
fn deliveries_look_like_the_offline_list_of_the_description() {
    let row = message(Conversation::direct(UserId(1), UserId(3)), "a \"b\" \\ c\nd");
    assert_eq!(
        shown(|out| frames::stored(&row, out)),
        "[[m]]\nc = \"a 'b' \\ c\nd\"\nid = \"a_02\"\nts = 1444719450\n[m.to]\nid = 3\n\
         [m.from]\ndevice = \"android\"\nid = 1\n"
    );
    let row = message(Conversation::Group(GroupId(9)), "x");
    assert_eq!(
        shown(|out| frames::stored(&row, out)),
        "[[gm]]\nc = \"x\"\nid = \"a_02\"\nts = 1444719450\ngroup = 9\n[gm.from]\ndevice = \"android\"\nid = 1\n"
    );
    let ask = Ask::AddContact { to: UserId(2), message: "hello".to_owned() };
    let body = StoredBody::Request { what: ask, group: None, contact_version: None };
    let row = Stored { what: body, ..message(Conversation::direct(UserId(1), UserId(2)), "") };
    assert_eq!(
        shown(|out| frames::stored(&row, out)),
        "[[r]]\nid = \"a_02\"\nt = \"add_contact\"\nto = 2\nmessage = \"hello\"\nts = 1444719450\n\
         [r.from]\ndevice = \"android\"\nid = 1\n"
    );
}

proptest! {
    #[test]
    fn any_text_can_be_read_by_one_who_knows_no_escapes(content in samples::text()) {
        let row = message(Conversation::direct(UserId(1), UserId(3)), &content);
        let text = shown(|out| frames::stored(&row, out));
        let plain = content.replace('"', "'");
        let start = format!("[[m]]\nc = \"{plain}\"\nid = \"a_02\"\n");
        prop_assert!(text.starts_with(&start), "{text}");
        prop_assert_eq!(text.matches('"').count(), 6);
    }

    #[test]
    fn any_text_without_quotes_arrives_as_it_was_written(content in samples::text()) {
        let content = content.replace('"', "");
        let read = format!("[[m]] id = \"1\" c = \"{content}\" to = \"3\"");
        let Entry::Message(message) = one(&read) else { panic!("{read}") };
        prop_assert_eq!(message.content, content);
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100), text in r#"[\[\]".,=m0-9a \n]{0,60}"#) {
        for read in [&bytes[..], text.as_bytes()] {
            for piece in split(read) {
                if let Ok(toml) = to_toml(piece) {
                    parse(&toml, &Limits::default()).ok();
                }
            }
        }
        from_toml(&bytes);
    }
}
