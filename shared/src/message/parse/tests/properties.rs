//! One meaning by hand and by the `toml` crate; garbage.

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::message::{samples, write};

/// A frame as clients write them, most often in the shape that is read by hand.
fn client_frame() -> impl Strategy<Value = String> {
    let message = (samples::message(), any::<bool>(), any::<bool>()).prop_map(|(message, sub, tight)| {
        let mut out = Vec::new();
        out.extend_from_slice(if matches!(message.to, Target::User(_)) { b"[[m]]\n" } else { b"[[gm]]\n" });
        write::text("id", message.id.as_str(), &mut out);
        write::text("c", &message.content, &mut out);
        if message.ack != WantedAck::Stored {
            write::text("ack", message.ack.as_str(), &mut out);
        }
        match message.to {
            Target::User(user) if sub => {
                out.extend_from_slice(b"[m.to]\n");
                write::number("id", user.0, &mut out);
            }
            Target::User(user) => write::number("to", user.0, &mut out),
            Target::Group(group) => write::number("group", group.0, &mut out),
        }
        let text = String::from_utf8(out).unwrap();
        if tight { text.replace(" = ", "=") } else { text }
    });
    let keys = (
        option::of(samples::id()),
        option::of(samples::number()),
        option::of(any::<bool>()),
        option::of(samples::number()),
    );
    let ack = (keys, option::of(samples::user()), option::of(samples::user())).prop_map(
        |((id, seq, read, group), from, to)| {
            let mut out = b"[[a]]\n".to_vec();
            id.iter().for_each(|id| write::text("id", id.as_str(), &mut out));
            read.iter()
                .for_each(|read| write::text("lvl", if *read { "read" } else { "delivered" }, &mut out));
            for (key, value) in [
                ("seq", seq),
                ("group", group),
                ("[a.from]\nid", from.map(|user| user.0)),
                ("[a.to]\nid", to.map(|user| user.0)),
            ] {
                value.iter().for_each(|value| write::number(key, *value, &mut out));
            }
            String::from_utf8(out).unwrap()
        },
    );
    prop_oneof![vec(message, 1..3), vec(ack, 1..3)].prop_map(|entries| entries.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4 * ProptestConfig::default().cases))]

    #[test]
    fn by_hand_as_by_the_toml_crate(frame in client_frame(), slips in samples::slips(), text in 0..40usize) {
        let limits = Limits { text, ..Limits::default() };
        let frame = samples::slipped(&frame, &slips);
        if let Some(entries) = fast::read(&frame, &limits) {
            prop_assert_eq!(Ok(entries), document(&frame, &limits), "{}", frame);
        }
    }

    #[test]
    fn a_plain_frame_is_read_by_hand(c in "[a-zé\"\\\\\n\t]{0,40}", count in 1..4usize, sub in any::<bool>(), last in any::<bool>()) {
        let mut quoted = Vec::new();
        write::quoted(&c, &mut quoted);
        let to = if sub { "[m.to]\nid = 3" } else { "to = 3" };
        let text = format!("[[m]]\nid = \"a_02\"\nc = {}\n{to}\n", String::from_utf8(quoted).unwrap()).repeat(count);
        let text = if last { &text[..text.len() - 1] } else { &text };
        let entries = fast::read(text, &Limits::default()).expect("the frequent shape");
        prop_assert_eq!(entries.len(), count);
        prop_assert!(entries.iter().all(|entry| matches!(entry, Entry::Message(message) if message.content == c)));
        prop_assert!(fast::read("[[a]]\nid=\"a\"\nseq=1\nlvl=\"read\"\n[a.from]\nid=3\n", &Limits::default()).is_some());
    }

    #[test]
    fn garbage_is_refused_without_a_panic(bytes in vec(any::<u8>(), 0..200), text in any::<String>(), slips in samples::slips()) {
        let limits = Limits::default();
        prop_assert!(parse(&bytes, &limits).is_err());
        prop_assert!(parse(text.as_bytes(), &limits).is_err());
        let login = "[[r]]\nid=\"a\"\nt=\"login\"\n[r.user]\nid=1\ndevice=\"ipad\"\ntoken=\"x\"\n";
        let group = "[[r]]\nid=\"a\"\nt=\"create_group\"\nname=\"x\"\nmembers=[2,3]\n";
        for frame in [login, group] {
            if let Err(refusal) = parse(samples::slipped(frame, &slips).as_bytes(), &limits) {
                prop_assert!(!refusal.reason.is_empty() && refusal.reason.len() < 1_000);
            }
        }
    }
}
