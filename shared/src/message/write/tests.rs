//! What clients get: the layouts of the specification, and that anything written is standard TOML without a blank line.

use proptest::prelude::*;

use super::*;
use crate::{
    command::Code,
    message::{WantedAck, samples},
};

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    let text = String::from_utf8(out).unwrap();
    text.parse::<toml::Table>().unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert!(text.ends_with('\n') && text.lines().all(|line| !line.is_empty()), "{text:?}");
    text
}

fn id(text: &str) -> MessageId {
    MessageId::new(text).unwrap()
}

fn row(conversation: Conversation, what: StoredBody) -> Stored {
    let device = Device::new("android").unwrap();
    Stored { conversation, seq: Seq(17), sender: UserId(1), device, id: id("a_02"), ts: 1_444_719_450, what }
}

fn hello() -> StoredBody {
    StoredBody::Text { content: "hello".to_owned(), ack: WantedAck::Read }
}

#[test]
fn a_stored_message_is_written_as_the_protocol_shows_it() {
    let conversation = Conversation::direct(UserId(3), UserId(1));
    assert_eq!(
        written(|out| stored(&row(conversation, hello()), out)),
        "[[m]]\nid = \"a_02\"\nc = \"hello\"\nts = 1444719450\nseq = 17\n[m.to]\nid = 3\n[m.from]\nid = 1\ndevice = \"android\"\n"
    );
}

#[test]
fn a_group_message_has_its_group_in_place_of_to() {
    assert_eq!(
        written(|out| stored(&row(Conversation::Group(GroupId(123)), hello()), out)),
        "[[gm]]\nid = \"a_02\"\nc = \"hello\"\nts = 1444719450\nseq = 17\ngroup = 123\n[gm.from]\nid = 1\ndevice = \"android\"\n"
    );
}

#[test]
fn a_forwarded_request_has_all_its_own_keys() {
    let end = "ts = 1444719450\nseq = 17\n[r.from]\nid = 1\ndevice = \"android\"\n";
    let shown = |conversation, what, group, contact_version| {
        let body = StoredBody::Request { what, group, contact_version };
        let text = written(|out| stored(&row(conversation, body), out));
        text.strip_prefix("[[r]]\nid = \"a_02\"\n").unwrap().strip_suffix(end).unwrap().to_owned()
    };
    let (talk, group) = (Conversation::direct(UserId(1), UserId(2)), Conversation::Group(GroupId(9)));
    let ask = Ask::AddContact { to: UserId(2), message: "hello".to_owned() };
    assert_eq!(shown(talk, ask, None, None), "t = \"add_contact\"\nto = 2\nmessage = \"hello\"\n");
    let ask = Ask::AcceptContact { to: UserId(2) };
    assert_eq!(shown(talk, ask, None, Some(9)), "t = \"accept_contact\"\nto = 2\ncontact_version = 9\n");
    let ask = Ask::CreateGroup { name: "friends".to_owned(), members: vec![UserId(2), UserId(3)] };
    assert_eq!(
        shown(group, ask, Some(GroupId(9)), None),
        "t = \"create_group\"\nname = \"friends\"\nmembers = [2, 3]\ngroup_id = 9\n"
    );
    let ask = Ask::CreateGroupMember { group: GroupId(9), member: UserId(2) };
    assert_eq!(shown(group, ask, None, None), "t = \"create_group_member\"\ngroup_id = 9\nmember_id = 2\n");
    let ask = Ask::DeleteGroupMember { group: GroupId(9), member: None };
    assert_eq!(shown(group, ask, None, None), "t = \"delete_group_member\"\ngroup_id = 9\n");
    let ask = Ask::DeleteGroup { group: GroupId(9) };
    assert_eq!(shown(group, ask, None, None), "t = \"delete_group\"\ngroup_id = 9\n");
}

#[test]
fn acknowledgements_and_receipts() {
    assert_eq!(
        written(|out| ack_stored(&id("a_02"), 1_444_719_450, Seq(17), out)),
        "[[a]]\nid = \"a_02\"\nlvl = \"stored\"\nts = 1444719450\nseq = 17\n"
    );
    assert_eq!(written(|out| ack_queued(&id("a_02"), out)), "[[a]]\nid = \"a_02\"\nlvl = \"queued\"\n");
    let (talk, group) = (Conversation::direct(UserId(1), UserId(3)), Conversation::Group(GroupId(9)));
    let ipad = Device::new("ipad").unwrap();
    assert_eq!(
        written(|out| receipt(&id("a"), false, &talk, Seq(17), UserId(3), Some(&ipad), out)),
        "[[a]]\nid = \"a\"\nlvl = \"delivered\"\nseq = 17\n[a.from]\nid = 3\ndevice = \"ipad\"\n"
    );
    assert_eq!(
        written(|out| receipt(&id("a"), true, &group, Seq(17), UserId(3), None, out)),
        "[[a]]\nid = \"a\"\nlvl = \"read\"\nseq = 17\ngroup = 9\n[a.from]\nid = 3\n"
    );
}

#[test]
fn answers_always_have_id_t_and_s() {
    let plain = Success::default();
    assert_eq!(
        written(|out| success(&id("a_01"), RequestName::Login, &plain, out)),
        "[[rr]]\nid = \"a_01\"\nt = \"login\"\ns = 0\n"
    );
    let full = Success { seq: Some(Seq(4)), contact_version: Some(9), group_id: Some(GroupId(7)) };
    assert_eq!(
        written(|out| success(&id("c"), RequestName::CreateGroup, &full, out)),
        "[[rr]]\nid = \"c\"\nt = \"create_group\"\ns = 0\nseq = 4\ncontact_version = 9\ngroup_id = 7\n"
    );
    let refused = Refusal::new(Code::Invalid, "expected `to`; found string \"x\"\n\nhere");
    assert_eq!(
        written(|out| refusal(&refused, out)),
        "[[rr]]\nid = \"\"\nt = \"\"\ns = 1\nr = \"expected `to`; found string \\\"x\\\"\\n\\nhere\"\ncode = \"invalid\"\n"
    );
    let refused =
        Refusal::new(Code::Token, "token error").for_id(&id("a_01")).for_request(RequestName::Login);
    assert_eq!(
        written(|out| refusal(&refused, out)),
        "[[rr]]\nid = \"a_01\"\nt = \"login\"\ns = 1\nr = \"token error\"\ncode = \"token\"\n"
    );
}

#[test]
fn notices() {
    assert_eq!(written(replaced), "[[n]]\nt = \"replaced\"\n");
    assert_eq!(
        written(|out| moved(Some(("192.168.3.5", 1987)), 250, out)),
        "[[n]]\nt = \"move\"\nserver = \"192.168.3.5\"\nport = 1987\nafter = 250\n"
    );
    assert_eq!(written(|out| moved(None, 250, out)), "[[n]]\nt = \"move\"\nafter = 250\n");
    written(|out| moved(Some(("h", 1)), u64::MAX, out));
}

proptest! {
    #[test]
    fn any_text_survives_its_quotes(text in any::<String>()) {
        let mut out = b"c = ".to_vec();
        quoted(&text, &mut out);
        prop_assert!(!out.contains(&b'\n'));
        let table: toml::Table = String::from_utf8(out).unwrap().parse().unwrap();
        prop_assert_eq!(table["c"].as_str(), Some(text.as_str()));
    }

    #[test]
    fn any_row_is_toml_that_says_what_the_row_says(row in samples::stored()) {
        let text = written(|out| stored(&row, out));
        let table: toml::Table = text.parse().unwrap();
        let (kind, entries) = table.iter().next().unwrap();
        let entry = &entries[0];
        prop_assert_eq!(entry["id"].as_str(), Some(row.id.as_str()));
        prop_assert_eq!(entry["ts"].as_integer(), Some(row.ts));
        prop_assert_eq!(entry["seq"].as_integer(), Some(row.seq.0));
        prop_assert_eq!(entry["from"]["id"].as_integer(), Some(row.sender.0));
        prop_assert_eq!(entry["from"]["device"].as_str(), Some(row.device.as_str()));
        match (&row.what, row.conversation) {
            (StoredBody::Text { content, .. }, conversation) => {
                prop_assert_eq!(entry["c"].as_str(), Some(content.as_str()));
                match conversation.peer(row.sender) {
                    Some(peer) => prop_assert_eq!((kind.as_str(), entry["to"]["id"].as_integer()), ("m", Some(peer.0))),
                    None => prop_assert_eq!(kind, "gm"),
                }
            }
            (StoredBody::Request { what, .. }, _) => {
                prop_assert_eq!((kind.as_str(), entry["t"].as_str()), ("r", Some(what.name().as_str())));
            }
        }
    }
}
