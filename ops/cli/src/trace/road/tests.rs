#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use shared::{
    command::Code,
    ids::{Conversation, Device as Name, Seq, SessionNo},
    trace::{Process, Shelved, Standing, Stop, What, Why},
};

use super::*;
use crate::trace::facts::Device;

const TS: i64 = 1_700_000_000;
const T: i64 = TS * 1_000_000;

fn process(kind: Kind, name: &str) -> Answer {
    Answer::of(Process { kind, name: name.into(), pid: 1, started: T - 1, keep: 100, cut: false })
}

fn message(seq: i64) -> Message {
    let conv = Conversation::direct(UserId(1), UserId(2));
    let (device, id) = ("pad".to_owned(), "a".to_owned());
    Message { conv, seq: Seq(seq), user: UserId(1), device, id, ts: TS, is_request: false }
}

fn accepted(lane: u16, stream_seq: u64) -> Accepted {
    let (key, user, session) = (Key::of(UserId(1), "a"), UserId(1), SessionNo(10));
    Accepted { key, user, session, lane, stream_seq, frame: 0, opened: T + 5, at: T + 9 }
}

fn row(stream_seq: u64, outcome: Outcome, place: Option<&Message>) -> Row {
    let Accepted { key, user, session, lane, frame, .. } = accepted(lane(), stream_seq);
    let (conv, seq) = (place.map(|message| message.conv), place.map(|message| message.seq));
    Row { key, user, session, lane, stream_seq, frame, chunk: 3, outcome, conv, seq }
}

fn lane() -> u16 {
    Lane::of(&message(1).conv, 8).0
}

fn device(user: i64, name: &str, session: i64, cursor: i64) -> Device {
    Device { user: UserId(user), name: name.into(), session, seen: T, cursor, owed: 1 }
}

fn stop(user: i64, session: i64, seq: i64, what: What, why: Why) -> Stop {
    let (user, session, conv, seq) = (UserId(user), SessionNo(session), message(1).conv, Seq(seq));
    Stop { key: Key::NONE, user, session, conv, seq, what, why, at: T + 50 }
}

#[test]
fn a_frame_that_came_twice_is_one_message_with_two_sendings() {
    let (mut e1, mut e2, mut w1) =
        (process(Kind::Edge, "e1"), process(Kind::Edge, "e2"), process(Kind::Worker, "w1"));
    e1.accepted.push(accepted(lane(), 7));
    e2.accepted.push(Accepted { opened: T + 500, ..accepted(lane(), 8) });
    let stored = message(4);
    w1.row.extend([row(8, Outcome::Duplicate, Some(&stored)), row(7, Outcome::Stored, Some(&stored))]);
    let roads = merge(&[e1, e2, w1], vec![(stored, Details::default())], &[], 8);
    assert_eq!(roads.len(), 1);
    let of = |sending: &Sending| {
        (sending.accepted.as_ref().unwrap().node.clone(), sending.worked.as_ref().unwrap().row.outcome)
    };
    let found: Vec<_> = roads[0].sending.iter().map(of).collect();
    assert_eq!(found, [("e1".to_owned(), Outcome::Stored), ("e2".to_owned(), Outcome::Duplicate)]);
    assert!(roads[0].sending.iter().all(|sending| sending.missing.is_empty()));
}

#[test]
fn what_was_refused_and_what_waits_is_told_apart() {
    let (mut e1, mut w1) = (process(Kind::Edge, "e1"), process(Kind::Worker, "w1"));
    e1.accepted.extend([accepted(lane(), 7), accepted(lane(), 8)]);
    w1.row.push(row(7, Outcome::Refused(Code::Blocked), None));
    let roads = merge(&[e1, w1], Vec::new(), &[(lane(), 7)], 8);
    let [road] = &roads[..] else { panic!("{roads:?}") };
    assert!(road.stored.is_none() && road.is_known());
    assert_eq!(road.sending[0].worked.as_ref().unwrap().row.outcome, Outcome::Refused(Code::Blocked));
    assert!(road.sending[1].missing[0].contains("committed up to 7, this is 8"), "{road:?}");
}

#[test]
fn every_device_says_how_it_stands_and_why() {
    let (mut e1, w1) = (process(Kind::Edge, "e1"), process(Kind::Worker, "w1"));
    let stored = message(4);
    let stand = |user, device: &str, session| Standing {
        user: UserId(user),
        device: Name::new(device).unwrap(),
        session: SessionNo(session),
    };
    e1.session = vec![stand(2, "pad", 21), stand(2, "slow", 23), stand(1, "pad", 10)];
    e1.stop = vec![
        stop(2, 21, 4, What::Written, Why::None),
        stop(2, 21, 6, What::Acknowledged, Why::None),
        stop(2, 23, 4, What::Noted, Why::Unacked),
        stop(1, 10, 4, What::Answered, Why::None),
        stop(1, 10, 4, What::Acknowledged, Why::None),
        stop(2, 19, 4, What::Written, Why::None),
        // Another place is another message's.
        stop(2, 23, 5, What::Written, Why::None),
    ];
    let devices = vec![
        device(1, "pad", 10, 4),
        device(2, "away", 20, 3),
        device(2, "done", 22, 9),
        device(2, "pad", 21, 3),
        device(2, "slow", 23, 0),
    ];
    let members = vec![UserId(1), UserId(2)];
    let details = Details { members, more: false, devices };
    let roads = merge(&[e1, w1], vec![(stored, details)], &[], 8);
    let found: Vec<_> =
        roads[0].device.iter().map(|device| (device.device.as_deref(), device.state)).collect();
    let expected = [
        (Some("pad"), State::Sender),
        (Some("away"), State::Owed),
        (Some("done"), State::Acknowledged),
        (Some("pad"), State::Acknowledged),
        (Some("slow"), State::Waiting),
        (None, State::Written),
    ];
    assert_eq!(found, expected);
    let slow = &roads[0].device[4];
    assert!(slow.why[0].contains("[limits] unacked"), "{slow:?}");
    assert!(roads[0].device[1].why[0].contains("number 1"), "{:?}", roads[0].device[1]);
}

#[test]
fn what_is_forgotten_says_why() {
    let mut w1 = process(Kind::Worker, "w1");
    w1.shelf.push(Shelved { what: "row".into(), written: 900, overwritten: 800, oldest: T + 9_000_000 });
    let mut e1 = process(Kind::Edge, "e1");
    e1.process.started = T + 60_000_000;
    let roads = merge(&[e1, w1], vec![(message(4), Details::default())], &[], 8);
    let missing = &roads[0].sending[0].missing;
    assert!(missing.iter().any(|line| line.starts_with("its edge: edge e1 began at")), "{missing:?}");
    assert!(missing.iter().any(|line| line.contains("w1 has overwritten it")), "{missing:?}");
}
