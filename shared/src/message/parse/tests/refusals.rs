//! What is refused, with which code, which words, and whose id.

use super::*;

#[test]
fn what_is_no_frame_is_refused() {
    for (text, code, reason) in [
        ("", Code::Malformed, "expected one or more of [[m]], [[gm]], [[r]] or [[a]]; found none"),
        ("# only a comment\n", Code::Malformed, "found none"),
        ("hello", Code::Malformed, "not TOML: "),
        ("GET / HTTP/1.1\r\nHost: x\r\n", Code::Malformed, "in line 1, column "),
        ("[[m]]\nid = \"a\"\nc = \"é\" x\n", Code::Malformed, "in line 3, column 9"),
        ("[[m]]\nid=\"a\"\nid=\"b\"\nc=\"x\"\nto=1\n", Code::Malformed, "duplicate key in line 3, column 1"),
        ("id = 1\n", Code::Malformed, "found the key \"id\" outside of them"),
        ("[m]\nid = \"a\"\n", Code::Malformed, "expected [[m]] to begin an entry; found a table"),
        ("m = [1]\n", Code::Malformed, "expected [[m]] to begin an entry; found the number 1"),
        ("m = []\n", Code::Malformed, "found none"),
        ("[[rr]]\nid = \"a\"\n", Code::Unknown, "expected [[m]], [[gm]], [[r]] or [[a]]; found [[rr]]"),
        ("[x]\n", Code::Unknown, "found [x]"),
        ("[[m]]\nid=\"a\"\nc=\"x\"\nto=1\n[[x]]\n", Code::Unknown, "found [[x]]"),
        ("[[m]]\nid=\"a\"\nc=\"\0\"\nto=1\n", Code::Malformed, "not TOML: "),
    ] {
        let refusal = refused(text);
        assert!(refusal.code == code && refusal.reason.contains(reason), "{text:?}: {refusal}");
    }
    let refusal = parse(b"[[m]]\nc = \"\xff\"\n", &Limits::default()).unwrap_err();
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::Malformed, "expected UTF-8; found the byte 0xff in line 2")
    );
}

#[test]
fn a_key_that_is_not_right_is_named_with_what_was_found() {
    const WHOLE: &str = "a whole number of 1 or more";
    let to = |found: &str| format!("expected `to` as {WHOLE}, or [m.to] id; found {found}");
    for (keys, reason) in [
        ("to = \"x\"", to("string \"x\"")),
        ("to = -1", to("the number -1")),
        ("to = 0", to("the number 0")),
        ("to = 99999999999999999999", to("the number 99999999999999999999")),
        ("to = 1.5", to("the number 1.5")),
        ("to = true", to("true")),
        ("to = [1]", to("an array")),
        ("", to("nothing")),
        ("to = {}", format!("expected [m.to] id as {WHOLE}; found nothing")),
        ("to = {id = \"3\"}", format!("expected [m.to] id as {WHOLE}; found string \"3\"")),
        ("to = 1\nc = 5", "expected `c` as a text; found the number 5".to_owned()),
        ("to = 1\nc = 2015-10-13", "expected `c` as a text; found a date or time".to_owned()),
        ("to = 1\nc = \"a\\u0000\"", "expected `c` without U+0000; found U+0000 in it".to_owned()),
        (
            "to = 1\nc = \"\"\nack = \"never\"",
            "expected `ack` as \"stored\", \"queued\", \"delivered\", \"read\" or \"receipts\"; found string \"never\""
                .to_owned(),
        ),
    ] {
        let refusal = refused(&format!("[[m]]\nid = \"a_02\"\n{keys}\n"));
        assert_eq!(
            (refusal.code, refusal.reason, refusal.id, refusal.t),
            (Code::Invalid, reason, Some(id("a_02")), None)
        );
    }
    for (text, reason) in [
        ("[[m]]\nc=\"x\"\nto=1\n", "expected `id` as a text; found nothing"),
        ("[[m]]\nid=1\nc=\"x\"\nto=1\n", "expected `id` as a text; found the number 1"),
        (
            "[[m]]\nid=\"\"\nc=\"x\"\nto=1\n",
            "expected `id` as 1 to 128 bytes without control characters; found string \"\"",
        ),
        (
            "[[m]]\nid=\"a\\n\"\nc=\"x\"\nto=1\n",
            "expected `id` as 1 to 128 bytes without control characters; found string \"a\\n\"",
        ),
        ("[[gm]]\nid=\"\\u0000\"\nc=\"x\"\ngroup=1\n", "expected `id` without U+0000; found U+0000 in it"),
    ] {
        let refusal = refused(text);
        assert_eq!((refusal.code, refusal.reason.as_str(), refusal.id), (Code::Invalid, reason, None));
    }
    let refusal = refused("[[gm]]\nid=\"a\"\nc=\"x\"\n");
    assert_eq!(refusal.reason, format!("expected `group` as {WHOLE}; found nothing"));
    assert_eq!(refusal.id, Some(id("a")));
}

#[test]
fn a_request_that_is_not_right_is_named_with_its_t() {
    for (keys, code, reason, t) in [
        ("", Code::Invalid, "expected `t` as a text; found nothing", None),
        ("t = 1", Code::Invalid, "expected `t` as a text; found the number 1", None),
        ("t = \"dance\"", Code::Unknown, "add_contact, accept_contact", None),
        ("t = \"add_contact\"", Code::Invalid, "expected `to` as", Some(RequestName::AddContact)),
        (
            "t = \"add_contact\"\nto = -5",
            Code::Invalid,
            "or [r.to] id; found the number -5",
            Some(RequestName::AddContact),
        ),
        ("t = \"create_group\"", Code::Invalid, "expected `name` as a text", Some(RequestName::CreateGroup)),
        (
            "t = \"create_group\"\nname = \"\"",
            Code::Invalid,
            "expected `name` of 1 byte or more",
            Some(RequestName::CreateGroup),
        ),
        (
            "t = \"create_group\"\nname = \"x\"\nmembers = 3",
            Code::Invalid,
            "expected `members` as an array",
            Some(RequestName::CreateGroup),
        ),
        (
            "t = \"create_group\"\nname = \"x\"\nmembers = [2, \"3\"]",
            Code::Invalid,
            "found string \"3\" in it",
            Some(RequestName::CreateGroup),
        ),
        (
            "t = \"create_group_member\"\ngroup_id = 9",
            Code::Invalid,
            "expected `member_id` as",
            Some(RequestName::CreateGroupMember),
        ),
        (
            "t = \"delete_group_member\"\ngroup_id = 9\nmember_id = 0",
            Code::Invalid,
            "expected `member_id` as",
            Some(RequestName::DeleteGroupMember),
        ),
        (
            "t = \"delete_group\"\ngroup_id = \"9\"",
            Code::Invalid,
            "expected `group_id` as",
            Some(RequestName::DeleteGroup),
        ),
        (
            "t = \"login\"",
            Code::Invalid,
            "expected [r.user] with `id`, `device` and `token`; found nothing",
            Some(RequestName::Login),
        ),
        (
            "t = \"login\"\nuser = 1",
            Code::Invalid,
            "expected the table [r.user]; found the number 1",
            Some(RequestName::Login),
        ),
        (
            "t = \"login\"\nuser = {id = 1, device = \"x\", token = 3}",
            Code::Invalid,
            "expected [r.user] token as a text; found the number 3",
            Some(RequestName::Login),
        ),
        (
            "t = \"login\"\nuser = {id = 1, token = \"x\", device = \"\"}",
            Code::Invalid,
            "expected [r.user] device as 1 to 64",
            Some(RequestName::Login),
        ),
        (
            "t = \"reconnect\"\nuser = {id = -1}",
            Code::Invalid,
            "expected [r.user] id as",
            Some(RequestName::Reconnect),
        ),
        (
            "t = \"login\"\nuser = {id = 1, token = \"x\\u0000\", device = \"d\"}",
            Code::Invalid,
            "[r.user] token without U+0000",
            Some(RequestName::Login),
        ),
    ] {
        let refusal = refused(&format!("[[r]]\nid = \"b_01\"\n{keys}\n"));
        assert!(refusal.code == code && refusal.reason.contains(reason), "{keys}: {refusal}");
        assert_eq!((refusal.id, refusal.t), (Some(id("b_01")), t), "{keys}");
    }
    assert_eq!(refused("[[r]]\nt = \"block\"\nto = 1\n").t, Some(RequestName::Block));
}

#[test]
fn an_acknowledgement_of_nothing_is_refused() {
    for (keys, reason) in [
        ("", "expected `id`, or `seq` with [a.from] id or `group`; found no `seq`"),
        ("seq = 5", "expected `id`, or `seq` with [a.from] id or `group`; found `seq` alone"),
        (
            "lvl = \"read\"\nid = \"a\"",
            "expected `seq` with [a.from] id or `group` beside lvl = \"read\"; found no `seq`",
        ),
        (
            "id = \"a\"\nlvl = \"stored\"",
            "expected `lvl` as \"delivered\" or \"read\"; found string \"stored\"",
        ),
        ("seq = 0\ngroup = 9", "expected `seq` as a whole number of 1 or more; found the number 0"),
        ("seq = 5\ngroup = \"9\"", "expected `group` as a whole number of 1 or more; found string \"9\""),
        (
            "seq = 5\nfrom = \"1\"",
            "expected `from` as a whole number of 1 or more, or [a.from] id; found string \"1\"",
        ),
        (
            "seq = 5\nfrom = {id = -1}",
            "expected [a.from] id as a whole number of 1 or more; found the number -1",
        ),
    ] {
        let refusal = refused(&format!("[[a]]\n{keys}\n"));
        assert_eq!((refusal.code, refusal.reason.as_str()), (Code::Invalid, reason), "{keys}");
    }
}

#[test]
fn limits_hold() {
    let limits = Limits { text: 5, entries: 2, members: 2 };
    let code = |text: &str| parse(text.as_bytes(), &limits).map(|_| ()).map_err(|refusal| refusal.code);
    let message = |c: &str| format!("[[m]]\nid = \"a\"\nc = \"{c}\"\nto = 1\n");
    assert_eq!(code(&message("éé1")), Ok(()));
    assert_eq!(code(&message("éé12")), Err(Code::TooLong));
    assert_eq!(code(&message("éé\\n")), Ok(()), "it is the text that counts, not how it is written");
    assert_eq!(code(&message("x").repeat(2)), Ok(()));
    assert_eq!(code(&message("x").repeat(3)), Err(Code::TooLong));
    let group =
        |members: &str| format!("[[r]]\nid=\"a\"\nt=\"create_group\"\nname=\"x\"\nmembers=[{members}]\n");
    assert_eq!(code(&group("1,2")), Ok(()));
    assert_eq!(code(&group("1,2,3")), Err(Code::Limit));
    let named = |bytes| format!("[[r]]\nid=\"a\"\nt=\"create_group\"\nname=\"{}\"\n", "x".repeat(bytes));
    assert!(read(&named(256)).is_ok());
    let refusal = refused(&named(257));
    assert_eq!(
        (refusal.code, refusal.reason.as_str(), refusal.t),
        (
            Code::TooLong,
            "expected `name` of at most 256 bytes; found 257 bytes",
            Some(RequestName::CreateGroup)
        )
    );
    let refusal = parse(message("123456").as_bytes(), &limits).unwrap_err();
    assert_eq!(refusal.reason, "expected `c` of at most 5 bytes; found 6 bytes");
    let long = "x".repeat(129);
    assert_eq!(refused(&message("").replace("\"a\"", &format!("\"{long}\""))).code, Code::Invalid);
}

/// Even of a frame that is not TOML the id is told, where it is clear which one it is.
#[test]
fn the_id_is_read_from_what_can_be_read() {
    assert_eq!(refused("[[m]]\nid = \"a\"\nc = \"x\nto = 3\n").id, Some(id("a")));
    assert_eq!(refused("[[m]]\nid = \"a\"\nc = = 3\n[[m]]\nid = \"b\"\n").id, None);
    assert_eq!(refused("hello\n").id, None);
}

#[test]
fn deep_nesting_is_refused() {
    assert!(read(&format!("[[m]]\nid = {}\n", "[".repeat(30_000))).is_err());
    assert!(read(&format!("[[m]]\nid = {}\n", "{a=".repeat(20_000))).is_err());
    assert!(read(&format!("[{}]\n", "a.".repeat(30_000))).is_err());
}
