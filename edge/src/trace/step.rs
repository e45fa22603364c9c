//! What one step of a session does with stored frames: gathered without a lock, and written down at its end, when what it
//! wrote is written.

use std::cell::Cell;

use shared::{
    delivery::Push,
    ids::{Conversation, Seq, SessionNo, UserId},
    message::Sender,
    rpc::Move,
    trace::{Key, Shelf, Stop, What, Why, now},
};

thread_local! {
    /// The memory of the steps of a thread, so that none allocates.
    static SCRATCH: Cell<Vec<Stop>> = const { Cell::new(Vec::new()) };
}

/// The most memory that a thread keeps from one step to the next, records.
const KEPT: usize = 4096;

/// The stops of one step.
#[derive(Debug, Default)]
pub struct Step {
    on: bool,
    keyed: bool,
    stops: Vec<Stop>,
}

impl Step {
    /// An empty one; one that is not on notes nothing, and one that is keyed notes the messages' keys, too.
    pub fn new(on: bool, keyed: bool) -> Self {
        Self { on, keyed, stops: Vec::new() }
    }

    /// A stored frame and what the session did with it.
    #[inline]
    pub fn stop(&mut self, who: &Sender, push: &Push, what: What, why: Why) {
        tracing::debug!(
            user = who.user.0, device = %who.device, session = who.session.0, id = %push.id,
            conv = %push.conversation, seq = push.seq.0, why = why.as_str(), "{}", what.as_str()
        );
        self.note(super::key(push, self.keyed), push.conversation, push.seq, what, why);
    }

    /// The answer to a frame that is stored at this place.
    #[inline]
    pub fn answered(&mut self, who: &Sender, conv: Conversation, seq: Seq) {
        tracing::debug!(
            user = who.user.0, device = %who.device, session = who.session.0, %conv, seq = seq.0, "answered"
        );
        self.note(Key::NONE, conv, seq, What::Answered, Why::None);
    }

    /// Cursors that the session's client has moved.
    #[inline]
    pub fn acknowledged(&mut self, moves: &[Move]) {
        for one in moves {
            self.note(Key::NONE, one.conv, one.seq, What::Acknowledged, Why::None);
        }
    }

    #[inline]
    fn note(&mut self, key: Key, conv: Conversation, seq: Seq, what: What, why: Why) {
        if !self.on {
            return;
        }
        if self.stops.capacity() == 0 {
            self.stops = SCRATCH.take();
        }
        // Whose it is, and when, is filled in for all of them at once.
        let (user, session) = (UserId(0), SessionNo(0));
        self.stops.push(Stop { key, user, session, conv, seq, what, why, at: 0 });
    }

    /// Writes them down: they are this session's, and of now.
    pub(super) fn flush(&mut self, who: &Sender, shelf: &Shelf<Stop>) {
        if self.stops.is_empty() {
            return;
        }
        let at = now();
        let mut ring = shelf.ring();
        for stop in &self.stops {
            ring.push(Stop { user: who.user, session: who.session, at, ..*stop });
        }
        drop(ring);
        let mut stops = std::mem::take(&mut self.stops);
        stops.clear();
        if stops.capacity() <= KEPT {
            SCRATCH.set(stops);
        }
    }
}
