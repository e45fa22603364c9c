//! The session against a simple model of everything around it, over seeded random histories.

mod world;

use shared::{
    ids::{GroupId, UserId},
    message::{Ack, Entry, Login, Message, Target, WantedAck},
    seeded::seeds,
};

use self::world::{Plan, World, message_id, push, who};
use super::*;

fn output() -> Output {
    Output::new(shared::frame::Form::Counted)
}

/// A session that has read an empty backlog.
fn live(limit: usize) -> Live {
    let mut live = Live::new(Arc::new(who()), limit);
    live.next_read().unwrap();
    live.page(&[], false, &mut output());
    assert!(live.is_live());
    live
}

fn talk(peer: i64) -> Conversation {
    Conversation::direct(UserId(1), UserId(peer))
}

fn ack(seq: i64, from: Target) -> Entry {
    Entry::Ack(Ack { id: None, seq: Some(Seq(seq)), from: Some(from), to: None, read: false })
}

/// Histories of so many steps, each by the plan that its seed gets; both modes are met often.
fn histories(of: std::ops::Range<u64>, steps: usize, plan: impl Fn(usize) -> Plan) {
    let one = std::env::var(shared::seeded::VARIABLE).is_ok();
    let mut came = [0, 0];
    for seed in seeds(of) {
        let more = World::new(&seed, plan(seed.number() as usize)).run(steps);
        came = [came[0] + more[0], came[1] + more[1]];
    }
    eprintln!("{} deliveries in live mode, {} in backlog mode", came[0], came[1]);
    assert!(one || came[0].min(came[1]) * 6 > came[0] + came[1], "{came:?}: one mode is hardly met");
}

#[test]
fn random_histories_lose_nothing_repeat_nothing_and_keep_order() {
    histories(0..400, 300, |_| Plan { conversations: 3, limit: 1000, silent: true, reconnects: false });
}

#[test]
fn the_same_with_a_client_that_acknowledges_slowly() {
    histories(1000..1200, 400, |_| Plan { conversations: 4, limit: 7, silent: true, reconnects: false });
}

#[test]
fn the_same_with_more_conversations_than_are_kept() {
    histories(2000..2040, 2000, |_| Plan {
        conversations: 200,
        limit: 500,
        silent: false,
        reconnects: false,
    });
}

#[test]
fn the_same_with_a_client_that_connects_again_and_an_old_connection_that_lingers() {
    histories(3000..3300, 400, |seed| {
        let (conversations, limit) = [(4, 20), (30, 60), (120, 300)][seed % 3];
        Plan { conversations, limit, silent: conversations < 100, reconnects: true }
    });
}

#[test]
fn a_gap_is_not_written_but_read() {
    let (mut live, mut out) = (live(10), output());
    live.push(&push(talk(2), 5, 2), &mut out);
    live.push(&push(talk(2), 7, 2), &mut out);
    assert_eq!((out.counts.written, out.counts.noted, out.counts.behind), (1, 1, Some("gap")));
    let (read, pause) = live.next_read().unwrap();
    assert_eq!((read.after.len(), read.after[0].seq, pause), (1, Seq(5), Duration::ZERO));
    assert!(live.next_read().is_none(), "one read at a time");
    let both = [6, 7].map(|seq| Delivery::Push(push(talk(2), seq, 2)));
    live.page(&both, false, &mut out);
    assert!(live.is_live(), "that was all");
    assert_eq!(out.counts.written, 3);
}

#[test]
fn what_is_noted_during_a_read_asks_for_another() {
    let (mut live, mut out) = (Live::new(Arc::new(who()), 10), output());
    live.next_read().unwrap();
    live.push(&push(talk(2), 1, 2), &mut out);
    live.page(&[], false, &mut out);
    assert!(!live.is_live());
    live.next_read().unwrap();
    live.page(&[Delivery::Push(push(talk(2), 1, 2))], false, &mut out);
    assert!(live.is_live());
    assert_eq!((out.counts.written, out.counts.noted), (1, 1));
}

#[test]
fn an_own_message_beyond_others_does_not_skip_them() {
    let (mut live, mut out) = (live(10), output());
    live.push(&push(talk(2), 4, 2), &mut out);
    let answer = Bytes::from_static(b"[[a]]\n");
    live.answer(Some((talk(2), Seq(6))), &answer, &mut out);
    assert!(!live.is_live());
    assert_eq!(out.counts.behind, Some("own_gap"));
    let (read, _) = live.next_read().unwrap();
    assert_eq!(read.after[0].seq, Seq(4));
    live.page(&[Delivery::Push(push(talk(2), 5, 2))], false, &mut out);
    live.push(&push(talk(2), 7, 2), &mut out);
    assert!(live.is_live());
    assert_eq!(out.counts.written, 3);
    for seq in [4, 5, 7] {
        live.entry(ack(seq, Target::User(UserId(2))), 0, None, &mut out);
    }
    assert_eq!(out.notes.moves.last().unwrap().seq, Seq(7));
    assert_eq!(live.unacked(), 0);
}

#[test]
fn own_messages_move_the_cursor() {
    let (mut live, mut out) = (live(10), output());
    let answer = Bytes::from_static(b"[[a]]\n");
    live.answer(Some((talk(2), Seq(1))), &answer, &mut out);
    live.answer(Some((talk(2), Seq(2))), &answer, &mut out);
    live.answer(Some((talk(2), Seq(1))), &answer, &mut out);
    assert!(live.is_live());
    assert_eq!(out.notes.own.iter().map(|one| one.seq.0).collect::<Vec<_>>(), [1, 2]);
    assert!(out.notes.moves.is_empty());
}

#[test]
fn too_many_unacknowledged_deliveries_pause_until_half_are_gone() {
    let (mut live, mut out) = (live(4), output());
    for seq in 1..=9 {
        live.push(&push(talk(2), seq, 2), &mut out);
    }
    assert_eq!((out.counts.written, live.unacked(), out.counts.behind), (4, 4, Some("unacked")));
    for seq in 1..=2 {
        assert!(live.next_read().is_none());
        live.entry(ack(seq, Target::User(UserId(2))), 0, None, &mut out);
    }
    assert!(live.next_read().is_none(), "2 of 4 is not below half");
    live.entry(ack(3, Target::User(UserId(2))), 0, None, &mut out);
    let (read, _) = live.next_read().unwrap();
    assert_eq!((read.after[0].seq, read.limit), (Seq(4), 3));
}

#[test]
fn receipts_are_told_once_even_if_a_read_repeats_them() {
    let (mut live, mut out) = (Live::new(Arc::new(who()), 10), output());
    let key = ReceiptKey { conversation: talk(2), seq: Seq(3), by: UserId(2), read: false };
    let device = who().device;
    let receipt = Delivery::Receipt { user: UserId(1), device, key, body: Bytes::from_static(b"[[a]]\n") };
    for more in [true, false] {
        live.next_read().unwrap();
        live.page(std::slice::from_ref(&receipt), more, &mut out);
    }
    assert!(live.is_live());
    assert_eq!(out.told.len(), 1);
}

#[test]
fn a_read_that_brings_nothing_new_though_there_is_more_is_not_repeated_at_once() {
    let (mut live, mut out) = (Live::new(Arc::new(who()), 10), output());
    live.next_read().unwrap();
    live.page(&[], true, &mut out);
    assert_eq!(live.next_read().unwrap().1, PAUSE);
}

#[test]
fn a_second_login_is_refused_and_frames_carry_the_sessions_own_identity() {
    let (mut live, mut out) = (live(10), output());
    let id = message_id("a_01");
    let login = Login {
        id: id.clone(),
        name: shared::command::RequestName::Login,
        user: UserId(9),
        device: who().device,
        token: None,
    };
    live.entry(Entry::Login(login), 7, None, &mut out);
    assert!(String::from_utf8(out.bytes.clone()).unwrap().contains("already_logged_in"));
    let message = Message { id, to: Target::Group(GroupId(3)), content: "hi".into(), ack: WantedAck::Stored };
    live.entry(Entry::Message(message), 7, None, &mut out);
    assert_eq!(out.accepted.len(), 1);
    assert_eq!((&out.accepted[0].frame().from, out.accepted[0].frame().ts), (&who(), 7));
}
