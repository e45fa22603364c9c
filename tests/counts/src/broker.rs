//! The forms in which frames and deliveries cross the broker.

use bytes::Bytes;
use shared::{
    delivery::{self, Delivery, Push},
    ids::{Seq, UserId},
    message::{
        Stored, StoredBody, Target, WantedAck,
        accepted::{decode, encode},
        write,
    },
};

use crate::{
    counting::Counting,
    samples::{ALL, GROUP, TS, all_accepted, content, device, id, traffic, who},
};

/// All of them.
pub fn all(counting: &mut Counting) {
    let accepted = all_accepted();
    let written: Vec<Vec<u8>> = accepted
        .iter()
        .map(|frame| {
            let mut out = Vec::new();
            encode(frame, &mut out);
            out
        })
        .collect();
    // A comment means nothing to TOML, and takes the frame off the fast path.
    let commented: Vec<Vec<u8>> = written.iter().map(|frame| [frame, &b"# x\n"[..]].concat()).collect();
    counting.bench("accepted.write", ALL, Vec::new, |mut out| {
        accepted.iter().for_each(|frame| encode(frame, &mut out));
        out
    });
    for (name, frames) in [("accepted.read", &written), ("accepted.read.toml", &commented)] {
        counting.bench(name, ALL, || (), |()| all_read(frames));
    }

    let pushes: Vec<Delivery> = traffic().map(|(from, to, seq)| push(from, vec![to], seq)).collect();
    let answers: Vec<Delivery> = traffic().map(|(from, to, seq)| answer(from, to, seq)).collect();
    let wide: Vec<Delivery> =
        (1..=10).map(|seq| group_push((1..=100).map(UserId).collect(), Seq(seq))).collect();
    for (name, items, deliveries) in [
        ("delivery.push", ALL, &pushes),
        ("delivery.answer", ALL, &answers),
        ("delivery.group.copy", ALL, &wide),
    ] {
        counting.bench(&format!("{name}.write"), items, Vec::new, |out| batch(deliveries, out));
        counting.bench(
            &format!("{name}.read"),
            items,
            || Bytes::from(batch(deliveries, Vec::new())),
            |bytes| delivery::decode(&bytes).map_or(0, |all| all.len()),
        );
    }
}

fn all_read(frames: &[Vec<u8>]) {
    let read = frames.iter().filter(|frame| decode(frame).is_ok()).count();
    assert_eq!(read, ALL, "every frame is valid");
}

/// Deliveries one behind the other.
pub fn batch(deliveries: &[Delivery], mut out: Vec<u8>) -> Vec<u8> {
    deliveries.iter().for_each(|delivery| delivery::encode(delivery, &mut out));
    out
}

/// A message for these users.
pub fn push(from: UserId, to: Vec<UserId>, seq: Seq) -> Delivery {
    let conversation = Target::User(to[0]).conversation(from);
    let what = StoredBody::Text { content: content(seq), ack: WantedAck::Stored };
    let row = Stored { conversation, seq, sender: from, device: device(), id: id(from, seq), ts: TS, what };
    Delivery::Push(of_row(row, to))
}

/// A group's message for these users.
pub fn group_push(to: Vec<UserId>, seq: Seq) -> Delivery {
    let (from, what) = (UserId(1), StoredBody::Text { content: content(seq), ack: WantedAck::Stored });
    let id = id(from, seq);
    let row = Stored { conversation: GROUP, seq, sender: from, device: device(), id, ts: TS, what };
    Delivery::Push(of_row(row, to))
}

fn of_row(row: Stored, to: Vec<UserId>) -> Push {
    let mut body = Vec::new();
    write::stored(&row, &mut body);
    Push {
        to,
        conversation: row.conversation,
        seq: row.seq,
        from: row.sender,
        id: row.id,
        skip: Some(who(row.sender).session),
        receipt: false,
        again: false,
        body: body.into(),
    }
}

/// What the sender of a message gets.
pub fn answer(from: UserId, to: UserId, seq: Seq) -> Delivery {
    let mut body = Vec::new();
    write::ack_stored(&id(from, seq), TS, seq, &mut body);
    let place = Some((Target::User(to).conversation(from), seq));
    Delivery::Answer { user: from, session: who(from).session, place, body: body.into() }
}
