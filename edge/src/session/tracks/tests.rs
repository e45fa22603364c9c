//! Which delivery an acknowledgement means, and what follows from it.

use bytes::Bytes;
use shared::{
    ids::{Device, GroupId, MessageId, NodeId, SessionNo, UserId},
    message::{Ack, Target},
};

use super::*;

mod model;

const ME: UserId = UserId(1);

fn who() -> Sender {
    let node = NodeId::new("e1-0").unwrap();
    Sender { user: ME, device: Device::new("pad").unwrap(), session: SessionNo(5), node }
}

fn talk(peer: i64) -> Conversation {
    Conversation::direct(ME, UserId(peer))
}

fn group(id: i64) -> Conversation {
    Conversation::Group(GroupId(id))
}

/// Deliveries of (conversation, seq, sender, id).
fn delivered(all: &[(Conversation, i64, i64, &str)]) -> Tracks {
    let mut tracks = Tracks::default();
    for (conversation, seq, from, id) in all {
        assert_eq!(tracks.live(&push(*conversation, *seq, *from, id)), Verdict::Write);
    }
    tracks
}

fn push(conversation: Conversation, seq: i64, from: i64, id: &str) -> Push {
    Push {
        to: vec![ME],
        conversation,
        seq: Seq(seq),
        from: UserId(from),
        id: MessageId::new(id).unwrap(),
        skip: None,
        receipt: true,
        again: false,
        body: Bytes::new(),
    }
}

fn bare(id: &str) -> Ack {
    Ack { id: Some(MessageId::new(id).unwrap()), seq: None, from: None, to: None, read: false }
}

fn exact(seq: i64, from: Target) -> Ack {
    Ack { id: None, seq: Some(Seq(seq)), from: Some(from), to: None, read: false }
}

fn user(id: i64) -> Target {
    Target::User(UserId(id))
}

/// Applies it; the cursor moves as (conversation, seq).
fn moves(tracks: &mut Tracks, ack: &Ack) -> Option<Vec<(Conversation, i64)>> {
    let mut notes = Cursors::default();
    tracks.ack(ack, &who(), &mut notes).then(|| notes.moves.iter().map(|one| (one.conv, one.seq.0)).collect())
}

/// A member who learned of a new group elsewhere and writes first: the notice that it was made is still on its way.
#[test]
fn an_own_frame_at_a_groups_beginning_does_not_pass_over_its_first() {
    let (mut tracks, mut notes) = (Tracks::default(), Cursors::default());
    assert_eq!(tracks.own(group(7), Seq(2), false, &who(), &mut notes), Verdict::Gap);
    assert_eq!(tracks.live(&push(group(7), 1, 9, "made")), Verdict::Write);
    assert_eq!(tracks.own(group(8), Seq(1), false, &who(), &mut notes), Verdict::Write);
    assert_eq!(tracks.own(talk(2), Seq(2), false, &who(), &mut notes), Verdict::Write);
}

#[test]
fn the_cursor_is_before_the_first_unacknowledged_one() {
    let mut tracks = delivered(&[(talk(2), 8, 2, "a"), (talk(2), 9, 2, "b"), (talk(2), 10, 2, "c")]);
    assert_eq!(moves(&mut tracks, &exact(9, user(2))), Some(vec![]));
    assert_eq!(moves(&mut tracks, &exact(9, user(2))), None, "acknowledged already");
    assert_eq!(moves(&mut tracks, &exact(8, user(2))), Some(vec![(talk(2), 9)]));
    assert_eq!(moves(&mut tracks, &exact(10, user(2))), Some(vec![(talk(2), 10)]));
    assert_eq!(tracks.unacked(), 0);
}

#[test]
fn a_bare_id_means_the_oldest_of_that_id() {
    let mut tracks = delivered(&[(talk(3), 4, 3, "x"), (talk(2), 1, 2, "x"), (group(7), 4, 3, "x")]);
    assert_eq!(moves(&mut tracks, &bare("x")), Some(vec![(talk(3), 4)]));
    assert_eq!(moves(&mut tracks, &bare("x")), Some(vec![(talk(2), 1)]));
    assert_eq!(moves(&mut tracks, &bare("x")), Some(vec![(group(7), 4)]));
    assert_eq!(moves(&mut tracks, &bare("x")), None);
}

#[test]
fn an_address_means_exactly_one() {
    let mut tracks = delivered(&[(talk(2), 5, 2, "a"), (group(7), 5, 2, "a"), (talk(3), 5, 3, "a")]);
    assert_eq!(moves(&mut tracks, &exact(5, Target::Group(GroupId(7)))), Some(vec![(group(7), 5)]));
    assert_eq!(moves(&mut tracks, &exact(5, Target::Group(GroupId(7)))), None);
    assert_eq!(moves(&mut tracks, &exact(5, user(3))), Some(vec![(talk(3), 5)]));
    assert_eq!(moves(&mut tracks, &exact(5, user(4))), None);
    assert_eq!(tracks.unacked(), 1);
}

#[test]
fn a_groups_message_may_be_named_by_its_sender_only_with_its_id() {
    let mut tracks = delivered(&[(group(7), 5, 2, "a")]);
    assert_eq!(moves(&mut tracks, &exact(5, user(2))), None, "it could be meant for the talk of the two");
    let named = Ack { id: bare("a").id, ..exact(5, user(2)) };
    assert_eq!(moves(&mut tracks, &named), Some(vec![(group(7), 5)]));
}

#[test]
fn copies_of_own_messages_are_told_apart_by_their_recipient() {
    let mut tracks = delivered(&[(talk(2), 5, 1, "a"), (talk(3), 5, 1, "b"), (talk(1), 5, 1, "c")]);
    let to = |peer: i64| Ack { to: Some(UserId(peer)), ..exact(5, user(1)) };
    assert_eq!(moves(&mut tracks, &to(3)), Some(vec![(talk(3), 5)]));
    assert_eq!(moves(&mut tracks, &Ack { from: None, ..to(3) }), None, "acknowledged already");
    assert_eq!(moves(&mut tracks, &Ack { from: None, ..to(1) }), Some(vec![(talk(1), 5)]));
    assert_eq!(moves(&mut tracks, &exact(5, user(1))), Some(vec![(talk(2), 5)]));
}

#[test]
fn senders_hear_of_it_but_not_of_their_own_other_devices() {
    let mut tracks = delivered(&[(talk(2), 5, 2, "a"), (talk(3), 5, 1, "b"), (talk(1), 1, 1, "c")]);
    let mut notes = Cursors::default();
    for id in ["a", "b", "c"] {
        assert!(tracks.ack(&bare(id), &who(), &mut notes));
    }
    let told: Vec<_> = notes.delivered.iter().map(|key| (key.conversation, key.seq.0, key.by)).collect();
    assert_eq!(told, [(talk(2), 5, ME), (talk(1), 1, ME)]);
}

#[test]
fn read_acknowledges_everything_up_to_there_at_any_time() {
    let mut tracks = delivered(&[(talk(2), 5, 2, "a"), (talk(2), 6, 2, "b"), (talk(2), 7, 2, "c")]);
    let read = |ack: Ack| Ack { read: true, ..ack };
    let mut notes = Cursors::default();
    assert!(tracks.ack(&read(exact(6, user(2))), &who(), &mut notes));
    assert_eq!((tracks.unacked(), notes.moves.last().map(|one| one.seq)), (1, Some(Seq(6))));
    assert!(tracks.ack(&read(bare("c")), &who(), &mut notes));
    assert!(tracks.ack(&read(exact(3, Target::Group(GroupId(9)))), &who(), &mut notes));
    let reads: Vec<_> = notes.reads.iter().map(|one| (one.conv, one.seq.0)).collect();
    assert_eq!(reads, [(talk(2), 6), (talk(2), 7), (group(9), 3)]);
    assert_eq!(notes.delivered.len(), 3);
}

#[test]
fn conversations_in_which_nothing_waits_are_forgotten() {
    let mut tracks = Tracks::default();
    let mut notes = Cursors::default();
    for peer in 2..10_000 {
        let clock = Clock::alike(peer as u64, peer as u64 - 2);
        tracks.clock(clock);
        tracks.own(talk(peer), Seq(1), false, &who(), &mut notes);
    }
    assert_eq!((notes.moves.len(), notes.own.len()), (0, 9_998));
    assert!(tracks.len() <= KEPT + 2, "{} are remembered", tracks.len());
}

#[test]
fn who_never_acknowledges_and_goes_on_sending_is_remembered_within_a_bound() {
    let (mut tracks, mut notes) = (Tracks::default(), Cursors::default());
    for peer in 2..10_000 {
        assert_eq!(tracks.own(talk(peer), Seq(5), true, &who(), &mut notes), Verdict::Gap);
    }
    assert_eq!(tracks.len(), MOST);
    for seq in 6..10_000 {
        tracks.own(talk(2), Seq(seq), true, &who(), &mut notes);
    }
    assert!(tracks.tracks[&talk(2)].own.len() <= track::OWN);
    // The end of the backlog is after the last own one.
    tracks.complete(&who(), &mut notes);
    assert_eq!(notes.moves.iter().find(|one| one.conv == talk(2)).map(|one| one.seq), Some(Seq(9_999)));
    tracks.clock(Clock::alike(9, 8));
    assert_eq!(tracks.own(talk(9_998), Seq(6), true, &who(), &mut notes), Verdict::Gap);
    assert!(tracks.len() <= KEPT, "{}: there is room again", tracks.len());
}

#[test]
fn a_groups_beginning_that_is_not_its_first_waits_for_the_backlog() {
    let mut tracks = Tracks::default();
    // The notice that the group was made comes from another lane, perhaps later.
    assert_eq!(tracks.live(&push(group(7), 2, 2, "b")), Verdict::Gap);
    assert_eq!(tracks.live(&push(group(7), 3, 2, "c")), Verdict::Gap);
    for seq in 1..=3 {
        assert_eq!(tracks.backlog(&push(group(7), seq, 2, "x")), Verdict::Write);
    }
    // What follows something known, a group's first, one that is longer under way, and a talk are written.
    for (conversation, seq) in [(group(7), 4), (group(8), 1), (group(8), 2), (group(9), 400), (talk(2), 2)] {
        assert_eq!(tracks.live(&push(conversation, seq, 2, "x")), Verdict::Write, "{conversation} {seq:?}");
    }
}

#[test]
fn an_own_frame_with_nothing_known_before_it_moves_the_cursor_for_the_newest_session_alone() {
    let (mut tracks, mut notes) = (delivered(&[(talk(3), 4, 3, "a")]), Cursors::default());
    assert!(moves(&mut tracks, &bare("a")).is_some());
    tracks.own(talk(2), Seq(7), false, &who(), &mut notes);
    tracks.own(talk(2), Seq(8), false, &who(), &mut notes);
    tracks.own(talk(3), Seq(5), false, &who(), &mut notes);
    tracks.complete(&who(), &mut notes);
    tracks.own(talk(2), Seq(9), false, &who(), &mut notes);
    let told: Vec<_> = notes.own.iter().map(|one| (one.conv, one.seq.0, one.newest)).collect();
    let mine = Some(who().session);
    assert_eq!(notes.moves, []);
    assert_eq!(
        told,
        [(talk(2), 7, mine), (talk(2), 8, mine), (talk(3), 5, None), (talk(2), 9, None)],
        "what was written before it, or a backlog read to its end, makes it certain"
    );
}
