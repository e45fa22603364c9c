//! This node's part of the trace: frames that the broker has taken, stored frames put before sessions, and what each
//! session did with them. See [`shared::trace`].

mod answer;
mod spans;
mod step;

use std::sync::Arc;

use shared::{
    delivery::Push,
    message::Accepted as Frame,
    subject::Lane,
    trace::{Accepted, Key, Queued, Shelf, Stop, TraceConfig, What, Why, now},
};

pub use self::{spans::Spans, step::Step};
use crate::{outbox::Outbox, publisher::batch::Tell};

/// The rings of one node. Cheap to clone; without rings it notes nothing.
#[derive(Debug, Clone, Default)]
pub struct Trace(Option<Arc<Shelves>>);

/// Three rings, as what they hold goes by at different times: each keeps `[trace] keep` records.
#[derive(Debug)]
struct Shelves {
    started: i64,
    keep: usize,
    /// Whether sessions' records have their messages' keys: a hash each, which only spans need.
    exports: bool,
    accepted: Shelf<Accepted>,
    queued: Shelf<Queued>,
    stops: Shelf<Stop>,
}

/// Which frames a batch holds, in its order.
#[derive(Debug, Default)]
pub struct Marks {
    /// When it was begun.
    opened: i64,
    keys: Vec<Key>,
}

impl Marks {
    /// Those of a batch that begins now.
    pub fn begin() -> Self {
        Self { opened: now(), keys: Vec::new() }
    }

    /// One more frame.
    pub fn note(&mut self, frame: &Frame) {
        self.keys.push(Key::of(frame.from.user, frame.id().as_str()));
    }
}

impl Trace {
    /// With rings of the configured size, or without any.
    pub fn new(config: &TraceConfig) -> Self {
        let (keep, exports) = (config.keep, config.export.is_on());
        Self((keep > 0).then(|| {
            let (accepted, queued, stops) = (Shelf::new(keep), Shelf::new(keep), Shelf::new(keep));
            Arc::new(Shelves { started: now(), keep, exports, accepted, queued, stops })
        }))
    }

    /// Whether anything is noted.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    fn exports(&self) -> bool {
        self.0.as_ref().is_some_and(|shelves| shelves.exports)
    }

    /// The broker holds a batch at this place: its frames, which came from these sessions.
    pub fn accepted(&self, lane: Lane, place: u64, senders: &[Tell], marks: &Marks) {
        tracing::debug!(lane = lane.0, stream_seq = place, frames = marks.keys.len(), "published");
        let Some(shelves) = &self.0 else { return };
        let at = now();
        let sessions =
            senders.iter().flat_map(|one| std::iter::repeat_n(&one.session.who, one.frames as usize));
        let mut ring = shelves.accepted.ring();
        for ((who, key), frame) in sessions.zip(&marks.keys).zip(0..) {
            ring.push(Accepted {
                key: *key,
                user: who.user,
                session: who.session,
                lane: lane.0,
                stream_seq: place,
                frame,
                opened: marks.opened,
                at,
            });
        }
    }

    /// The time of a batch of deliveries, for [`Self::queued`].
    pub fn delivering(&self) -> i64 {
        if self.is_on() { now() } else { 0 }
    }

    /// A stored frame has been put before so many sessions.
    pub fn queued(&self, push: &Push, sessions: usize, at: i64) {
        if let Some(shelves) = &self.0 {
            let (users, sessions) = (counted(push.to.len()), counted(sessions));
            shelves.queued.ring().push(Queued {
                conv: push.conversation,
                seq: push.seq,
                users,
                sessions,
                at,
            });
        }
    }

    /// A stored frame was not put before a session, whose outbox is full.
    pub fn dropped(&self, session: &Outbox, push: &Push, at: i64) {
        let who = &session.who;
        tracing::debug!(
            user = who.user.0, device = %who.device, session = who.session.0, id = %push.id,
            conv = %push.conversation, seq = push.seq.0, "not queued: the outbox is full"
        );
        if let Some(shelves) = &self.0 {
            shelves.stops.ring().push(Stop {
                key: key(push, shelves.exports),
                user: who.user,
                session: who.session,
                conv: push.conversation,
                seq: push.seq,
                what: What::Dropped,
                why: Why::Overflow,
                at,
            });
        }
    }

    /// What a session's step notes into.
    pub fn step(&self) -> Step {
        Step::new(self.is_on(), self.exports())
    }

    /// A session's step is done, and what it wrote is written.
    pub fn stepped(&self, session: &Outbox, step: &mut Step) {
        if let Some(shelves) = &self.0 {
            step.flush(&session.who, &shelves.stops);
        }
    }
}

/// The key of a stored frame's message, where it is wanted.
#[inline]
fn key(push: &Push, wanted: bool) -> Key {
    if wanted { Key::of(push.from, push.id.as_str()) } else { Key::NONE }
}

fn counted(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A frame that goes to its lane's queue, as a log line.
pub fn frame_taken(frame: &Frame, lane: Lane) {
    let from = &frame.from;
    tracing::debug!(
        user = from.user.0, device = %from.device, session = from.session.0, id = %frame.id(), lane = lane.0,
        "accepted"
    );
}

#[cfg(test)]
mod tests;
