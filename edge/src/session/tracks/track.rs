//! One conversation of one session.

use std::collections::VecDeque;

use shared::{
    ids::{Conversation, MessageId, Seq, UserId},
    message::Sender,
    rpc::{Cursors, Move},
};

use super::Clock;

/// How far the session is in it.
#[derive(Debug)]
pub(super) struct Track {
    /// Everything up to here has been written, is the session's own, or is not for it. `None`: as far as the device's
    /// stored cursor, which this session does not know.
    pub position: Option<Seq>,
    /// Written, in order, and not acknowledged.
    pub pending: VecDeque<Pending>,
    /// Own frames beyond the position, in order: something before them has not been written. The last [`OWN`].
    pub own: Vec<Seq>,
    /// The furthest delivery that was only noted.
    pub noted: Option<Seq>,
    /// The position was taken from an own frame, with nothing known before it. It is right as long as the session is its
    /// device's newest: what another one was sent in its place it cannot know.
    pub guessed: bool,
    /// The cursor as last reported.
    reported: Seq,
    /// Once the collector has flushed this generation, that report is stored.
    reported_in: u64,
    /// It was reported as a move over own frames, which have generations of their own.
    reported_own: bool,
}

/// Own frames remembered beyond the position. The last one matters most: once the backlog has been read, the session is
/// there. Of those before, a backlog holds none.
pub(super) const OWN: usize = 32;

/// A delivery without its acknowledgement.
#[derive(Debug)]
pub(super) struct Pending {
    pub seq: Seq,
    pub id: MessageId,
    pub from: UserId,
    pub receipt: bool,
    pub order: u64,
}

impl Track {
    /// One whose first known place is `first`: the stored cursor is before it.
    pub fn new(first: Seq) -> Self {
        Self {
            position: None,
            pending: VecDeque::new(),
            own: Vec::new(),
            noted: None,
            guessed: false,
            reported: Seq(first.0 - 1),
            reported_in: 0,
            reported_own: false,
        }
    }

    /// Moves the position to `seq` and over the own frames that follow it.
    pub fn advance(&mut self, seq: Seq) {
        if self.position.is_none() {
            // What comes first from the backlog may be before an own frame that made this known.
            self.reported = self.reported.min(Seq(seq.0 - 1));
        }
        let mut position = seq;
        let behind = self.own.iter().take_while(|own| {
            let next = own.0 == position.0 + 1;
            position = if next { **own } else { position };
            next || **own <= position
        });
        let passed = behind.count();
        self.own.drain(..passed);
        self.noted = self.noted.filter(|noted| *noted > position);
        self.position = Some(position);
    }

    /// Remembers an own frame before which something is missing.
    pub fn own_beyond(&mut self, seq: Seq) {
        if let Err(at) = self.own.binary_search(&seq) {
            self.own.insert(at, seq);
        }
        let over = self.own.len().saturating_sub(OWN);
        self.own.drain(..over);
    }

    /// Reports the cursor, the delivery before the first unacknowledged one, if it has moved; `own`: over own frames.
    pub fn settle(
        &mut self,
        conversation: Conversation,
        who: &Sender,
        clock: Clock,
        own: bool,
        notes: &mut Cursors,
    ) {
        let cursor = self.pending.front().map(|first| Seq(first.seq.0 - 1)).or(self.position);
        if let Some(cursor) = cursor.filter(|cursor| *cursor > self.reported) {
            self.reported = cursor;
            // The collector may have begun its next generation since; one too many does no harm.
            self.reported_in = 1 + if own { clock.own_gathering } else { clock.gathering };
            self.reported_own = own;
            let moves = if own { &mut notes.own } else { &mut notes.moves };
            moves.push(Move {
                user: who.user,
                device: who.device.clone(),
                conv: conversation,
                seq: cursor,
                newest: self.guessed.then_some(who.session),
            });
        }
    }

    /// Whether the stored cursor says all that this does.
    pub fn is_clean(&self, clock: Clock) -> bool {
        let all_said = self.position.is_none_or(|position| position <= self.reported);
        self.pending.is_empty()
            && self.own.is_empty()
            && self.noted.is_none()
            && all_said
            && self.reported_in <= if self.reported_own { clock.own_flushed } else { clock.flushed }
    }
}
