//! What travels to nodes: every delivery reads back, its header is TOML, and its body shares the batch's memory.

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::message::{samples, write};

fn place() -> impl Strategy<Value = (Conversation, Seq)> {
    (samples::conversation(), samples::number().prop_map(Seq))
}

fn body() -> impl Strategy<Value = Bytes> {
    samples::stored()
        .prop_map(|row| {
            let mut out = Vec::new();
            write::stored(&row, &mut out);
            Bytes::from(out)
        })
        .boxed()
}

fn push() -> impl Strategy<Value = Push> {
    let skip = option::of(samples::number().prop_map(SessionNo));
    let flags = (any::<bool>(), any::<bool>());
    (vec(samples::user(), 0..5), place(), samples::user(), samples::id(), skip, flags, body())
        .prop_map(|(to, (conversation, seq), from, id, skip, (receipt, again), body)| Push {
            to,
            conversation,
            seq,
            from,
            id,
            skip,
            receipt,
            again,
            body,
        })
        .boxed()
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let (user, device, session) = (samples::user, samples::device, || samples::number().prop_map(SessionNo));
    let key = (place(), user(), any::<bool>()).prop_map(|((conversation, seq), by, read)| ReceiptKey {
        conversation,
        seq,
        by,
        read,
    });
    prop_oneof![
        push().prop_map(Delivery::Push),
        (user(), session(), option::of(place()), body())
            .prop_map(|(user, session, place, body)| Delivery::Answer { user, session, place, body }),
        (user(), device(), key, body()).prop_map(|(user, device, key, body)| Delivery::Receipt {
            user,
            device,
            key,
            body
        }),
        (user(), device(), session()).prop_map(|(user, device, below)| Delivery::Replaced {
            user,
            device,
            below
        }),
        (user(), option::of(device()), option::of(session()))
            .prop_map(|(user, device, below)| Delivery::Revoked { user, device, below }),
        Just(Delivery::Resync),
    ]
    .boxed()
}

fn encoded(deliveries: &[Delivery]) -> Vec<u8> {
    let mut out = Vec::new();
    deliveries.iter().for_each(|delivery| encode(delivery, &mut out));
    out
}

#[test]
fn a_push_is_written_as_documented() {
    let push = Push {
        to: vec![UserId(2), UserId(3)],
        conversation: Conversation::direct(UserId(2), UserId(3)),
        seq: Seq(17),
        from: UserId(2),
        id: MessageId::new("a \"02\"").unwrap(),
        skip: Some(SessionNo(4711)),
        receipt: true,
        again: true,
        body: Bytes::from_static(b"[[m]]\nid = \"a\"\n"),
    };
    let expected = "d = \"push\"\nto = [2, 3]\nconv = \"dm:2:3\"\nseq = 17\nfrom = 2\nid = \"a \\\"02\\\"\"\nskip = 4711\n\
                    want = \"delivered\"\nagain = true\n[[m]]\nid = \"a\"\n";
    let expected = format!("#{}\n{expected}", expected.len());
    assert_eq!(String::from_utf8(encoded(&[Delivery::Push(push)])).unwrap(), expected);
}

#[test]
fn what_is_not_canonical_is_refused_and_named() {
    let refused = |frame: &str, expected: &str| {
        let batch = Bytes::from(format!("#{}\n{frame}", frame.len()));
        let error = decode(&batch).unwrap_err().to_string();
        assert!(error.contains(expected), "{frame}: {error}");
    };
    refused("", "a newline after");
    refused("user = 1\n", "`d = …`");
    refused("d = \"resync\"", "a newline after");
    refused("d = \"party\"\n", "push, answer, receipt");
    refused("d = \"resync\"\nx = 1\n", "the header's end");
    refused("d = \"resync\"\n[[m]]\n", "no frame after");
    refused("d = \"replaced\"\nuser = 0\n", "`user` as a whole number");
    refused("d = \"replaced\"\nuser = 1\nbelow = 2\n", "`device = …`");
    refused("d = \"answer\"\nuser = 1\nsession = 2\n", "[[ on");
    refused("d = \"answer\"\nuser = 1\nsession = 2\nconv = \"dm:2:1\"\n", "the lower first");
    refused("d = \"answer\"\nuser = +1\nsession = 2\n", "`user` as a whole number");
    refused("d = \"push\"\nto = 3\n", "to = [users]");
    assert!(decode(&Bytes::from_static(b"#5\nab")).unwrap_err().to_string().contains("counted frames"));
    assert!(decode(&Bytes::from_static(b"d = \"resync\"\n")).is_err());
    assert!(decode(&Bytes::new()).unwrap().is_empty());
}

proptest! {
    #[test]
    fn any_batch_reads_back(deliveries in vec(delivery(), 0..5)) {
        prop_assert_eq!(decode(&encoded(&deliveries).into()).unwrap(), deliveries);
    }

    #[test]
    fn a_header_with_its_body_is_toml(delivery in delivery()) {
        let batch = Bytes::from(encoded(&[delivery]));
        let frame = &crate::frame::split_counted(&batch).unwrap()[0];
        let table: toml::Table = std::str::from_utf8(frame).unwrap().parse().unwrap();
        prop_assert!(table["d"].is_str());
    }

    #[test]
    fn bodies_share_the_batch(push in push()) {
        let batch = Bytes::from(encoded(&[Delivery::Push(push)]));
        let Delivery::Push(read) = &decode(&batch).unwrap()[0] else { unreachable!() };
        prop_assert!(batch.as_ptr_range().contains(&read.body.as_ptr()));
    }

    #[test]
    fn a_batch_cut_short_is_refused(deliveries in vec(delivery(), 1..3), cut in any::<proptest::sample::Index>()) {
        let whole = encoded(&deliveries);
        let last = encoded(&deliveries[deliveries.len() - 1..]).len();
        let cut = whole.len() - last + 1 + cut.index(last - 1);
        prop_assert!(decode(&Bytes::copy_from_slice(&whole[..cut])).is_err());
    }

    #[test]
    fn slips_and_garbage_do_not_panic(delivery in delivery(), slips in samples::slips(), bytes in vec(any::<u8>(), 0..200)) {
        let text = samples::slipped(&String::from_utf8(encoded(&[delivery])).unwrap(), &slips);
        let (_, body) = text.split_once('\n').unwrap_or_default();
        let reframed = Bytes::from(format!("#{}\n{body}", body.len()));
        // Whatever is read is a delivery that this module could have written, body and all.
        if let Ok(read) = decode(&reframed) {
            prop_assert_eq!(Bytes::from(encoded(&read)), reframed);
        }
        prop_assert!(bytes.is_empty() || decode(&bytes.into()).is_err());
    }
}
