//! Both directions: the same entries as from TOML, the same tables as in TOML, every number exact, and hostile JSON.

use proptest::prelude::*;

use super::*;
use crate::{
    ids::{GroupId, MessageId, Seq, UserId},
    message::{
        Ask, Entry, Stored, StoredBody, Target, WantedAck,
        parse::{Limits, parse},
        samples, write as frames,
    },
};

fn read(json: &str) -> Result<Vec<Entry>, Refusal> {
    parse(&to_toml(json.as_bytes())?, &Limits::default())
}

fn one(json: &str) -> Entry {
    let mut entries = read(json).unwrap_or_else(|refusal| panic!("{json}: {refusal}"));
    assert_eq!(entries.len(), 1, "{json}");
    entries.remove(0)
}

fn refused(json: &str) -> (Code, String) {
    let refusal = read(json).expect_err(json);
    (refusal.code, refusal.reason)
}

#[test]
fn frames_read_as_their_toml_does() {
    for (json, toml) in [
        (r#"{"m":[{"id":"a","to":2,"c":"hi"}]}"#, "[[m]]\nid = \"a\"\nto = 2\nc = \"hi\"\n"),
        (
            r#"{"m":[{"id":"a","to":{"id":2},"c":"\"\u0001\n大傻"},{"c":"","id":"b","to":3,"ack":"read","new":[1,{"x":[]}]}]}"#,
            "[[m]]\nid = \"a\"\nc = \"\\\"\\u0001\\n大傻\"\n[m.to]\nid = 2\n[[m]]\nid = \"b\"\nc = \"\"\nto = 3\nack = \"read\"\n",
        ),
        (r#"{"gm":[{"id":"a","group":9,"c":"x"}]}"#, "[[gm]]\nid = \"a\"\ngroup = 9\nc = \"x\"\n"),
        (r#"{"a":[{"seq":5,"from":{"id":2}}]}"#, "[[a]]\nseq = 5\n[a.from]\nid = 2\n"),
        (r#"{"a":[{"seq":5,"lvl":"read","group":2}]}"#, "[[a]]\nseq = 5\nlvl = \"read\"\ngroup = 2\n"),
        (
            r#"{"r":[{"id":"l","t":"login","user":{"id":1,"device":"web","token":"x/+="}}]}"#,
            "[[r]]\nid = \"l\"\nt = \"login\"\n[r.user]\nid = 1\ndevice = \"web\"\ntoken = \"x/+=\"\n",
        ),
        (
            r#"{"r":[{"id":"g","t":"create_group","name":"n","members":[2,3]}]}"#,
            "[[r]]\nid = \"g\"\nt = \"create_group\"\nname = \"n\"\nmembers = [2, 3]\n",
        ),
        (
            r#"{"r":[{"id":"g","t":"delete_group_member","group_id":1,"member_id":null}]}"#,
            "[[r]]\nid = \"g\"\nt = \"delete_group_member\"\ngroup_id = 1\n",
        ),
    ] {
        assert_eq!(read(json), parse(toml.as_bytes(), &Limits::default()), "{json}");
    }
}

#[test]
fn numbers_of_64_bits_stay_exact_both_ways() {
    for number in [1, EXACT as i64, EXACT as i64 + 1, EXACT as i64 + 2, i64::MAX] {
        for spelling in [number.to_string(), format!("\"{number}\"")] {
            let message = one(&format!(r#"{{"m":[{{"id":"1","to":{spelling},"c":"x"}}]}}"#));
            let Entry::Message(message) = message else { panic!("{message:?}") };
            assert_eq!((message.id.as_str(), message.to), ("1", Target::User(UserId(number))), "{spelling}");
            let sub = one(&format!(r#"{{"a":[{{"seq":{spelling},"from":{{"id":{spelling}}}}}]}}"#));
            let Entry::Ack(ack) = sub else { panic!("{sub:?}") };
            assert_eq!((ack.seq, ack.from), (Some(Seq(number)), Some(Target::User(UserId(number)))));
            let list = one(&format!(
                r#"{{"r":[{{"id":"g","t":"create_group","name":"7","members":[{spelling}]}}]}}"#
            ));
            let Entry::Request(request) = list else { panic!("{list:?}") };
            assert_eq!(request.what, Ask::CreateGroup { name: "7".into(), members: vec![UserId(number)] });
        }
        let mut frame = Vec::new();
        frames::ack_stored(&MessageId::new("7").unwrap(), -number, Seq(number), &mut frame);
        let expected = match number.unsigned_abs() > EXACT {
            true => format!(r#"{{"a":[{{"id":"7","lvl":"stored","ts":"-{number}","seq":"{number}"}}]}}"#),
            false => format!(r#"{{"a":[{{"id":"7","lvl":"stored","ts":-{number},"seq":{number}}}]}}"#),
        };
        assert_eq!(String::from_utf8(from_toml(&frame).unwrap()).unwrap(), expected);
    }
}

#[test]
fn whole_numbers_beyond_those_of_toml_are_refused_in_frames_that_are_toml() {
    for beyond in
        ["9223372036854775808", "9999999999999999999", "18446744073709551615", "18446744073709551616"]
    {
        for spelling in [beyond.to_owned(), format!("\"{beyond}\"")] {
            let frame = format!(r#"{{"gm":[{{"id":"1","group":{spelling},"c":"x"}}]}}"#);
            let text = to_toml(frame.as_bytes()).unwrap();
            assert!(toml::from_slice::<toml::Table>(&text).is_ok(), "{}", String::from_utf8_lossy(&text));
            let (code, reason) = refused(&frame);
            assert_eq!(code, Code::Invalid, "{spelling}");
            assert!(reason.contains("expected `group` as a whole number"), "{reason}");
        }
        // Nor is it text, as no other number is.
        assert_eq!(refused(&format!(r#"{{"m":[{{"id":{beyond},"to":2,"c":"x"}}]}}"#)).0, Code::Invalid);
    }
}

#[test]
fn hostile_json_is_refused_with_what_was_expected() {
    let deep = |levels: usize| format!(r#"{{"m":[{{"x":{}{}}}]}}"#, "[".repeat(levels), "]".repeat(levels));
    let keys: Vec<String> = (0..=KEYS).map(|n| format!("\"k{n}\":1")).collect();
    for (json, code, said) in [
        ("", Code::Malformed, "not JSON"),
        ("[]", Code::Malformed, "expected an object"),
        ("3", Code::Malformed, "found a number"),
        (r#"{"m":[{"id":"a","to":2,"c":"x"}]} {}"#, Code::Malformed, "trailing"),
        (r#"{"m":[{"id":"a","to":2,"c":"x""#, Code::Malformed, "EOF"),
        (r#"{"m":[{"id":"a","to":2,"to":3,"c":"x"}]}"#, Code::Malformed, "\"to\" twice"),
        (r#"{"m":[],"m":[]}"#, Code::Malformed, "\"m\" twice"),
        (&deep(6), Code::Malformed, "at most 8 levels"),
        (&deep(5000), Code::Malformed, "at most 8 levels"),
        (&format!(r#"{{"m":[{{{}}}]}}"#, keys.join(",")), Code::Malformed, "at most 64 keys"),
        (
            r#"{"m":[{"id":"a","to":2,"c":"x"}],"gm":[{"id":"b","group":2,"c":"x"}]}"#,
            Code::Malformed,
            "one kind",
        ),
        (r#"{"m":[]}"#, Code::Malformed, "found none"),
        (r#"{"m":{}}"#, Code::Malformed, "[[m]]"),
        (r#"{"m":3}"#, Code::Malformed, "begin an entry"),
        (r#"{"m":[3]}"#, Code::Malformed, "begin an entry"),
        (r#"{"x":[{}]}"#, Code::Unknown, "[[x]]"),
        (r#"{"m":[{"id":"a","to":2.0,"c":"x"}]}"#, Code::Invalid, "the number 2.0"),
        (r#"{"m":[{"id":"a","to":1e3,"c":"x"}]}"#, Code::Invalid, "the number 1000.0"),
        (r#"{"m":[{"id":"a","to":"007","c":"x"}]}"#, Code::Invalid, "\"007\""),
        (r#"{"m":[{"id":"a","to":"-7","c":"x"}]}"#, Code::Invalid, "\"-7\""),
        (r#"{"m":[{"id":"a","to":true,"c":"x"}]}"#, Code::Invalid, "true"),
        (r#"{"m":[{"id":"a","to":null,"c":"x"}]}"#, Code::Invalid, "nothing"),
        (r#"{"m":[{"id":7,"to":2,"c":"x"}]}"#, Code::Invalid, "the number 7"),
        (r#"{"m":[{"id":"a","to":2,"c":"\u0000"}]}"#, Code::Invalid, "U+0000"),
        (r#"{"m":[{"id":"a","to":2,"c":"\ud800"}]}"#, Code::Malformed, "not JSON"),
        (r#"{"r":[{"id":"a","t":"create_group","name":"n","members":[null]}]}"#, Code::Malformed, "null"),
        (r#"{"m\"]\n[[r]]":[{"id":"a"}]}"#, Code::Unknown, "expected"),
    ] {
        let (found, reason) = refused(json);
        let shown = &json[..json.len().min(80)];
        assert_eq!(found, code, "{shown}: {reason}");
        assert!(reason.contains(said), "{shown}: {reason}");
    }
    assert!(read(&deep(5)).unwrap_err().reason.contains("`id`"), "five levels more are within the limit");
    assert!(to_toml(b"{\"m\":\"\xff\"}").unwrap_err().reason.contains("0xff"));
}

#[test]
fn ids_are_told_where_one_could_be_read() {
    let refusal = read(r#"{"r":[{"id":"a7","t":"add_contact","to":"Bob"}]}"#).unwrap_err();
    assert_eq!(refusal.id, Some(MessageId::new("a7").unwrap()));
    assert_eq!(
        refusal.reason,
        "expected `to` as a whole number of 1 or more, or [r.to] id; found string \"Bob\""
    );
}

/// A frame of the server in both ways: the fast one has to say what the other does.
fn shown(frame: &[u8]) -> serde_json::Value {
    let text = std::str::from_utf8(frame).unwrap();
    let fast = write::lines(text).unwrap_or_else(|| panic!("not by its lines: {text}"));
    let mut slow = Vec::new();
    table(&toml::from_str(text).unwrap(), &mut slow);
    assert_eq!(String::from_utf8(fast.clone()).unwrap(), String::from_utf8(slow).unwrap());
    serde_json::from_slice(&fast).unwrap()
}

#[test]
fn what_the_server_writes_is_shown_with_its_tables() {
    let mut out = Vec::new();
    frames::success(
        &MessageId::new("r1").unwrap(),
        crate::command::RequestName::CreateGroup,
        &frames::Success { seq: Some(Seq(1)), contact_version: None, group_id: Some(GroupId(9)) },
        &mut out,
    );
    frames::refusal(&Refusal::new(Code::TooLong, "a \"reason\"\n\\"), &mut out);
    assert_eq!(
        shown(&out),
        serde_json::json!({"rr": [
            {"id": "r1", "t": "create_group", "s": 0, "seq": 1, "group_id": 9},
            {"id": "", "t": "", "s": 1, "r": "a \"reason\"\n\\", "code": "too_long"},
        ]})
    );
    let odd = b"[[m]]\nid = 'a'\nc = \"\"\"x\"\"\"\nto = 0x10\n";
    assert_eq!(from_toml(odd).unwrap(), br#"{"m":[{"id":"a","c":"x","to":16}]}"#);
    assert_eq!(from_toml(b"x"), None);
    assert_eq!(
        shown(b"[[m]]\nseq = -0\nids = [-1, -0]\n"),
        serde_json::json!({"m": [{"seq": 0, "ids": [-1, 0]}]})
    );
}

proptest! {
    #[test]
    fn any_stored_frame_is_shown_exactly(
        conversation in samples::conversation(), seq in samples::number(), sender in samples::user(),
        device in samples::device(), id in samples::id(), content in samples::text(),
    ) {
        let what = StoredBody::Text { content: content.clone(), ack: WantedAck::Stored };
        let row = Stored { conversation, seq: Seq(seq), sender, device, id: id.clone(), ts: 5, what };
        let mut frame = Vec::new();
        frames::stored(&row, &mut frame);
        let value = shown(&frame);
        let entry = &value.as_object().unwrap().values().next().unwrap()[0];
        prop_assert_eq!(entry["c"].as_str(), Some(content.as_str()));
        prop_assert_eq!(entry["id"].as_str(), Some(id.as_str()));
        let told = entry["seq"].as_i64().or_else(|| entry["seq"].as_str()?.parse().ok());
        prop_assert_eq!(told, Some(seq));
    }

    #[test]
    fn any_text_of_a_client_arrives(id in samples::id(), content in samples::text(), to in samples::user()) {
        let json = serde_json::json!({"m": [{"id": id.as_str(), "c": content, "to": to.0}]}).to_string();
        let Entry::Message(message) = one(&json) else { panic!("{json}") };
        prop_assert_eq!((message.id, message.content, message.to), (id, content, Target::User(to)));
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in r#"[\[\]{}",:0-9a-z\\.\-]{0,60}"#) {
        to_toml(&bytes).ok();
        if let Ok(toml) = to_toml(text.as_bytes()) {
            prop_assert!(toml::from_slice::<Table>(&toml).is_ok(), "{text}");
        }
        from_toml(&bytes);
    }
}
