//! How far one session is in each of its conversations: what was written, what waits for an acknowledgement, and where
//! the device's cursor therefore stands. No I/O.

mod ack;
mod track;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use shared::{
    delivery::Push,
    ids::{Conversation, Seq},
    message::Sender,
    rpc::{Cursors, Place},
};

use self::track::Track;
use crate::hash::ById;

/// All conversations of one session that have something to remember.
///
/// Bounded: a conversation is kept while deliveries wait for their acknowledgement (`limits.unacked`), while own
/// messages wait for others' before them or its cursor is on its way to a worker ([`MOST`]); beyond that [`KEPT`] stay.
#[derive(Debug)]
pub struct Tracks {
    tracks: HashMap<Conversation, Track, ById>,
    unacked: u32,
    /// Deliveries so far, to tell which of two is older.
    order: u64,
    /// When to look for conversations that can be forgotten.
    sweep_at: u32,
    clock: Clock,
}

/// Up to here a group's delivery, where nothing of the group is remembered, may be the first that this session hears of
/// it though it is not the group's first: see [`Tracks::live`].
const GROUP_BEGINS: Seq = Seq(3);

/// Conversations kept though nothing waits in them.
pub const KEPT: usize = 64;

/// With so many conversations, own messages are not remembered in further ones: a client whose deliveries are paused
/// may go on sending for ever. Nothing is lost, since what others sent is in the backlog and own messages are never
/// owed; the cursor stays behind them until the next message there.
pub const MOST: usize = 1024;

/// How far cursor moves are on their way, in generations of the collector.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    /// The generation that gathers now.
    pub gathering: u64,
    /// Every generation up to this one has reached a worker.
    pub flushed: u64,
    /// The generation that gathers now of moves over own frames, which go out less often.
    pub own_gathering: u64,
    /// Every generation of those up to this one has reached a worker.
    pub own_flushed: u64,
}

#[cfg(test)]
impl Clock {
    /// With moves over own frames that go out with the others.
    pub fn alike(gathering: u64, flushed: u64) -> Self {
        Self { gathering, flushed, own_gathering: gathering, own_flushed: flushed }
    }
}

/// What is to happen with a stored frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// To be written now.
    Write,
    /// Written before, or the session's own.
    Have,
    /// Something before it has not been written.
    Gap,
}

impl Default for Tracks {
    fn default() -> Self {
        Self {
            tracks: HashMap::default(),
            unacked: 0,
            order: 0,
            sweep_at: KEPT as u32,
            clock: Clock::default(),
        }
    }
}

impl Tracks {
    /// Deliveries without an acknowledgement.
    pub fn unacked(&self) -> usize {
        self.unacked as usize
    }

    /// Conversations remembered.
    pub fn len(&self) -> usize {
        self.tracks.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// Tells how far cursor moves are, before anything else of a step.
    pub fn clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// A live delivery: written if it is the next one, or the first of a conversation that is not remembered (its
    /// backlog has been read, and deliveries come in order). One that is delivered once more may have been acknowledged
    /// on an earlier connection: where nothing is remembered only the backlog can tell. And so with a group's first few:
    /// its very first, the notice that it was made, is written in its creator's lane, maybe by another worker, and can
    /// be behind what follows it in its own. That costs one read at a group's beginning.
    pub fn live(&mut self, push: &Push) -> Verdict {
        if let Some(track) = self.tracks.get(&push.conversation)
            && let Some(position) = track.position
        {
            if push.seq <= position {
                return Verdict::Have;
            }
            if push.seq.0 != position.0 + 1 {
                return Verdict::Gap;
            }
        } else if push.again || begins(push.conversation, push.seq) {
            return Verdict::Gap;
        }
        self.wrote(push);
        Verdict::Write
    }

    /// A delivery from the backlog: in order, and whatever lies between two of a conversation is not for this session.
    pub fn backlog(&mut self, push: &Push) -> Verdict {
        if let Some(track) = self.tracks.get_mut(&push.conversation) {
            if track.position.is_some_and(|position| push.seq <= position) {
                return Verdict::Have;
            }
            if track.own.contains(&push.seq) {
                track.advance(push.seq);
                return Verdict::Have;
            }
        }
        self.wrote(push);
        Verdict::Write
    }

    /// A delivery that is not written now. False: it has been already.
    pub fn noted(&mut self, conversation: Conversation, seq: Seq) -> bool {
        let Some(track) = self.tracks.get_mut(&conversation) else { return true };
        if track.position.is_some_and(|position| seq <= position) || track.own.contains(&seq) {
            return false;
        }
        track.noted = track.noted.max(Some(seq));
        true
    }

    /// The session's own frame was stored there: written and acknowledged at its place. `behind`: the session is in
    /// backlog mode, so a conversation that is not remembered may have others' frames before it.
    pub fn own(
        &mut self,
        conversation: Conversation,
        seq: Seq,
        behind: bool,
        who: &Sender,
        notes: &mut Cursors,
    ) -> Verdict {
        if self.is_full(conversation) {
            return if behind { Verdict::Gap } else { Verdict::Write };
        }
        let track = self.track(conversation, seq);
        let verdict = match track.position {
            Some(position) if seq <= position => return Verdict::Have,
            Some(position) if seq.0 > position.0 + 1 => Verdict::Gap,
            None if behind || begins(conversation, seq) => Verdict::Gap,
            _ => Verdict::Write,
        };
        if verdict == Verdict::Write {
            track.guessed |= track.position.is_none();
            track.advance(seq);
        } else {
            track.own_beyond(seq);
        }
        self.settle(conversation, who, true, notes);
        verdict
    }

    /// The backlog has been read to its end: nothing is missing before what is known.
    pub fn complete(&mut self, who: &Sender, notes: &mut Cursors) {
        let clock = self.clock;
        for (conversation, track) in &mut self.tracks {
            if let Some(seq) = track.own.last().copied().max(track.noted) {
                track.advance(track.position.map_or(seq, |position| position.max(seq)));
            }
            // A worker answers only the device's newest session, so by then nothing had gone elsewhere.
            track.guessed = false;
            track.settle(*conversation, who, clock, false, notes);
        }
        self.sweep();
    }

    /// Where this session is further than the device's stored cursor may be.
    pub fn after(&self) -> Vec<Place> {
        let place =
            |(conv, track): (&Conversation, &Track)| Some(Place { conv: *conv, seq: track.position? });
        self.tracks.iter().filter_map(place).collect()
    }

    /// Remembers that this was written and waits for its acknowledgement.
    fn wrote(&mut self, push: &Push) {
        self.order += 1;
        self.unacked += 1;
        let order = self.order;
        let track = self.track(push.conversation, push.seq);
        track.advance(push.seq);
        track.pending.push_back(track::Pending {
            seq: push.seq,
            id: push.id.clone(),
            from: push.from,
            receipt: push.receipt,
            order,
        });
    }

    /// Reports the cursor of a conversation if it has moved.
    fn settle(&mut self, conversation: Conversation, who: &Sender, own: bool, notes: &mut Cursors) {
        let clock = self.clock;
        if let Some(track) = self.tracks.get_mut(&conversation) {
            track.settle(conversation, who, clock, own, notes);
        }
    }

    /// Whether this conversation would be one too many for own messages alone.
    fn is_full(&mut self, conversation: Conversation) -> bool {
        if self.tracks.len() < MOST || self.tracks.contains_key(&conversation) {
            return false;
        }
        self.sweep();
        self.tracks.len() >= MOST
    }

    fn track(&mut self, conversation: Conversation, first: Seq) -> &mut Track {
        if self.tracks.len() >= self.sweep_at as usize && !self.tracks.contains_key(&conversation) {
            self.sweep();
        }
        self.tracks.entry(conversation).or_insert_with(|| Track::new(first))
    }

    /// Forgets conversations in which nothing waits, beyond those kept.
    fn sweep(&mut self) {
        let mut over = self.tracks.len().saturating_sub(KEPT / 2);
        if self.tracks.len() >= KEPT {
            let clock = self.clock;
            self.tracks.retain(|_, track| {
                let forget = over > 0 && track.is_clean(clock);
                over -= usize::from(forget);
                !forget
            });
        }
        // Looking again only after as many have come makes the search cost nothing on average.
        self.sweep_at = u32::try_from(KEPT.max(self.tracks.len() * 2)).unwrap_or(u32::MAX);
    }
}

/// Whether a group's first frames may still be on their way behind this one.
fn begins(conversation: Conversation, seq: Seq) -> bool {
    matches!(conversation, Conversation::Group(_)) && seq > Seq(1) && seq <= GROUP_BEGINS
}
