//! The parts of a session and of the publisher, one by one.

use std::sync::Arc;

use edge::{
    outbox::{Item, Outbox},
    publisher::batch::Queue,
    registry::Registry,
    session::{Output, live::Live, waiting::Waiting},
};
use shared::{
    command::RequestName,
    delivery::{Delivery, Push},
    frame::Form,
    ids::{Seq, TokenDigest, UserId},
    message::{Accepted, Ack, Entry, Login, Message, Target},
};

use crate::{
    broker::{answer, push},
    counting::Counting,
    samples::{ALL, EACH, PAIRS, TS, all_accepted, device, id, message, shared_who, traffic},
};

/// Deliveries that a session may leave without an acknowledgement.
const UNACKED: usize = 1000;
/// As the edge's defaults have it.
const OUTBOX: usize = 1024;

/// All of them.
pub fn all(counting: &mut Counting) {
    live(counting);
    outbox(counting);
    let frames = all_accepted();
    let sessions: Vec<Arc<Outbox>> =
        frames.iter().map(|frame| Arc::new(Outbox::new(Arc::new(frame.from.clone())))).collect();
    counting.bench(
        "publisher.queue",
        ALL,
        || Queue::new(256 * 1024, 4096),
        |mut queue| through(&mut queue, &frames, &sessions),
    );
}

/// A session that is live, and whose it is.
pub fn logged_in(user: UserId) -> Live {
    let mut out = Output::new(Form::Counted);
    let login = Login {
        id: id(user, Seq(1)),
        name: RequestName::Login,
        user,
        device: device(),
        token: Some(TokenDigest::of("AAklxuC39JJtttUMwKHq3teKwOzWtmJc")),
    };
    let mut live = Waiting.welcome(&login, shared_who(user), UNACKED, &mut out);
    live.next_read();
    live.page(&[], false, &mut out);
    assert!(live.is_live(), "a read that found nothing ends the backlog mode");
    live
}

/// The sessions of all pairs: senders at even places, recipients at odd ones.
fn sessions() -> Vec<Live> {
    (1..=2 * PAIRS).map(|user| logged_in(UserId(user))).collect()
}

fn of(user: UserId) -> usize {
    usize::try_from(user.0 - 1).unwrap_or(0)
}

/// The state machine: each step with an output of its own.
fn live(counting: &mut Counting) {
    let messages: Vec<Message> =
        traffic().map(|(from, to, seq)| message(from, Target::User(to), seq)).collect();
    counting.bench(
        "session.message",
        ALL,
        || (sessions(), traffic().zip(messages.clone()).collect::<Vec<_>>()),
        |(mut sessions, all)| {
            for ((from, ..), message) in all {
                let mut out = Output::new(Form::Counted);
                sessions[of(from)].entry(Entry::Message(message), TS, None, &mut out);
                drop(out);
            }
            sessions
        },
    );
    let answers: Vec<_> = traffic().map(|(from, to, seq)| (from, answer(from, to, seq))).collect();
    counting.bench("session.answer", ALL, sessions, |mut sessions| {
        for (user, answer) in &answers {
            if let Delivery::Answer { place, body, .. } = answer {
                sessions[of(*user)].answer(*place, body, &mut Output::new(Form::Counted));
            }
        }
        sessions
    });
    let pushes: Vec<(UserId, Push)> = traffic().map(|(from, to, seq)| (to, pushed(from, to, seq))).collect();
    counting.bench("session.push", ALL, sessions, |sessions| written(sessions, &pushes));
    let acks: Vec<(UserId, Ack)> = traffic().map(|(from, to, seq)| (to, ack(from, seq))).collect();
    counting.bench(
        "session.ack",
        ALL,
        || (written(sessions(), &pushes), acks.clone()),
        |(mut sessions, acks)| {
            for (user, ack) in acks {
                let mut out = Output::new(Form::Counted);
                sessions[of(user)].entry(Entry::Ack(ack), TS, None, &mut out);
            }
            sessions
        },
    );
    // One user who hears from a hundred others: as many conversations in one session.
    let many: Vec<Push> = (1..=EACH)
        .flat_map(|seq| (1..=PAIRS).map(move |peer| pushed(UserId(peer + 1000), UserId(1), Seq(seq))))
        .collect();
    counting.bench(
        "session.push.crowd",
        ALL,
        || logged_in(UserId(1)),
        |mut live| {
            for push in &many {
                live.push(push, &mut Output::new(Form::Counted));
            }
            live
        },
    );
}

fn written(mut sessions: Vec<Live>, pushes: &[(UserId, Push)]) -> Vec<Live> {
    for (user, push) in pushes {
        sessions[of(*user)].push(push, &mut Output::new(Form::Counted));
    }
    sessions
}

fn pushed(from: UserId, to: UserId, seq: Seq) -> Push {
    match push(from, vec![to], seq) {
        Delivery::Push(push) => push,
        other => unreachable!("expected a push, found {other:?}"),
    }
}

fn ack(from: UserId, seq: Seq) -> Ack {
    let (id, from) = (Some(id(from, seq)), Some(Target::User(from)));
    Ack { id, seq: Some(seq), from, to: None, read: false }
}

/// How the node reaches its sessions: found, queued in bursts of four, taken.
fn outbox(counting: &mut Counting) {
    let registry = Arc::new(Registry::default());
    let places: Vec<_> =
        (1..=2 * PAIRS).map(|user| registry.add(Arc::new(Outbox::new(shared_who(UserId(user)))))).collect();
    let users: Vec<UserId> = traffic().map(|(_, to, _)| to).collect();
    counting.bench(
        "registry.find",
        ALL,
        || (),
        |()| users.iter().map(|user| registry.of_user(*user, |_| ())).sum::<usize>(),
    );
    drop(places);
    let push = Arc::new(pushed(UserId(1), UserId(2), Seq(1)));
    let outbox = Outbox::new(shared_who(UserId(2)));
    counting.bench(
        "outbox.item",
        ALL,
        || (),
        |()| {
            for _ in 0..ALL / 4 {
                for _ in 0..4 {
                    outbox.queue(Item::Push(push.clone()), OUTBOX);
                }
                drop(outbox.take());
            }
        },
    );
}

/// Into the queue of a lane, and out of it in batches of fifty.
fn through(queue: &mut Queue, frames: &[Accepted], sessions: &[Arc<Outbox>]) -> usize {
    let mut bytes = 0;
    for (frames, sessions) in frames.chunks(50).zip(sessions.chunks(50)) {
        for (frame, session) in frames.iter().zip(sessions) {
            queue.push(frame, session);
        }
        while let Some(batch) = queue.pop() {
            batch.senders.iter().for_each(|sender| sender.session.published(sender.frames, 512));
            bytes += batch.bytes.len();
        }
    }
    bytes
}
