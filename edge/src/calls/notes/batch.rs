//! What has gathered: the furthest of each, once.

use std::collections::{HashMap, HashSet};

use shared::{
    delivery::ReceiptKey,
    ids::{Conversation, Device, Seq, SessionNo, UserId},
    rpc::{Cursors, Move, Read, Registration, Told},
};

use super::CAPACITY;
use crate::hash::ById;

/// One generation.
#[derive(Debug, Default)]
pub(super) struct Batch {
    moves: HashMap<(UserId, Device, Conversation, Option<SessionNo>), Seq, ById>,
    own: Own,
    reads: HashMap<(UserId, Conversation), Seq, ById>,
    delivered: HashSet<ReceiptKey, ById>,
    told: Vec<Told>,
    closed: Vec<Registration>,
}

/// How far a device is, by conversation and by what told so.
type Places = HashMap<(Conversation, Option<SessionNo>), Seq, ById>;

/// Moves over devices' own frames, which may stay for longer.
#[derive(Debug, Default)]
pub(super) struct Own {
    of: HashMap<(UserId, Device), Places, ById>,
    len: usize,
    /// A device has so many that its session could remember no more conversations.
    many: bool,
}

/// See [`Own::many`]; a session remembers [`crate::session::tracks::MOST`] conversations.
const MANY: usize = crate::session::tracks::MOST / 2;

impl Own {
    fn add(&mut self, one: Move) {
        let Move { user, device, conv, seq, newest } = one;
        let of = self.of.entry((user, device)).or_default();
        let before = of.len();
        let furthest = of.entry((conv, newest)).or_insert(seq);
        *furthest = seq.max(*furthest);
        self.len += of.len() - before;
        self.many |= of.len() >= MANY;
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether they are to go with the next call.
    pub fn is_urgent(&self) -> bool {
        self.many
    }
}

impl Batch {
    /// All that has gathered but moves over own frames, and without any moves if these are to wait, too.
    pub fn take(&mut self, with_moves: bool) -> Self {
        let own = std::mem::take(&mut self.own);
        let moves = if with_moves { HashMap::default() } else { std::mem::take(&mut self.moves) };
        let taken = std::mem::take(self);
        (self.own, self.moves) = (own, moves);
        taken
    }

    /// Whether moves may wait: there are more than one call holds, and no session has ended whose next connection would
    /// look for them.
    pub fn may_wait(&self, a_call: usize) -> bool {
        self.moves.len() > a_call && self.closed.is_empty()
    }

    /// Whether moves have gathered.
    pub fn has_moves(&self) -> bool {
        !self.moves.is_empty()
    }

    /// What has gathered of them.
    pub fn own(&self) -> &Own {
        &self.own
    }

    /// They go with this batch.
    pub fn hurry(&mut self) {
        for ((user, device), moves) in std::mem::take(&mut self.own).of {
            for ((conv, newest), seq) in moves {
                self.move_to(Move { user, device: device.clone(), conv, seq, newest });
            }
        }
    }

    fn move_to(&mut self, one: Move) {
        let Move { user, device, conv, seq, newest } = one;
        let furthest = self.moves.entry((user, device, conv, newest)).or_insert(seq);
        *furthest = seq.max(*furthest);
    }

    /// Adds what fits; returns how much did not.
    pub fn cursors(&mut self, cursors: Cursors) -> usize {
        let Cursors { moves, own, reads, delivered, told } = cursors;
        let count = moves.len() + own.len() + reads.len() + delivered.len() + told.len();
        if self.len() + count > CAPACITY {
            return count;
        }
        moves.into_iter().for_each(|one| self.move_to(one));
        own.into_iter().for_each(|one| self.own.add(one));
        for Read { user, conv, seq } in reads {
            let furthest = self.reads.entry((user, conv)).or_insert(seq);
            *furthest = seq.max(*furthest);
        }
        self.delivered.extend(delivered);
        self.told.extend(told);
        0
    }

    /// Adds the end of a session, with which its last moves go; returns 1 if it did not fit.
    pub fn close(&mut self, session: Registration) -> usize {
        let (user, device) = (session.user, &session.device);
        if let Some(moves) = self.own.of.remove(&(user, device.clone())) {
            self.own.len -= moves.len();
            for ((conv, newest), seq) in moves {
                self.move_to(Move { user, device: device.clone(), conv, seq, newest });
            }
        }
        if self.closed.len() >= CAPACITY {
            return 1;
        }
        self.closed.push(session);
        0
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.closed.is_empty()
    }

    /// Entries in all.
    pub fn entries(&self) -> usize {
        self.len() + self.closed.len()
    }

    fn len(&self) -> usize {
        self.own.len + self.moves.len() + self.reads.len() + self.delivered.len() + self.told.len()
    }

    /// As calls of at most `most` entries of a kind. What moves a cursor comes after the receipts for what it passes, in
    /// one call or in a later stage: a receipt that is lost then would never come again.
    pub fn into_calls(self, most: usize) -> Calls {
        let moves = self.moves.into_iter();
        let moves = moves.map(|((user, device, conv, newest), seq)| Move { user, device, conv, seq, newest });
        let reads = self.reads.into_iter().map(|((user, conv), seq)| Read { user, conv, seq });
        let (mut moves, mut reads) = (chunks(moves, most), chunks(reads, most));
        let (mut delivered, mut told) = (chunks(self.delivered, most), chunks(self.told, most));
        let later = if delivered.len() > 1 { std::mem::take(&mut moves) } else { Vec::new() };
        // One call of receipts and several of moves: the first of them has both, and the rest waits for it.
        let later = if delivered.len() == 1 && moves.len() > 1 { moves.split_off(1) } else { later };
        let first = moves.len().max(reads.len()).max(delivered.len()).max(told.len());
        let first = (0..first).map(|_| Cursors {
            moves: moves.pop().unwrap_or_default(),
            reads: reads.pop().unwrap_or_default(),
            delivered: delivered.pop().unwrap_or_default(),
            told: told.pop().unwrap_or_default(),
            ..Cursors::default()
        });
        Calls {
            first: first.collect(),
            later: later.into_iter().map(|moves| Cursors { moves, ..Cursors::default() }).collect(),
            closed: chunks(self.closed, most),
        }
    }
}

/// What to call, one stage after the other; the calls of a stage beside each other.
#[derive(Debug)]
pub(super) struct Calls {
    pub first: Vec<Cursors>,
    pub later: Vec<Cursors>,
    pub closed: Vec<Vec<Registration>>,
}

fn chunks<T>(items: impl IntoIterator<Item = T>, most: usize) -> Vec<Vec<T>> {
    let mut items = items.into_iter().peekable();
    let mut chunks = Vec::new();
    while items.peek().is_some() {
        chunks.push(items.by_ref().take(most).collect());
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(count: i64) -> Batch {
        let (device, user) = (Device::new("pad").unwrap(), UserId(1));
        let mut batch = Batch::default();
        for number in 1..=count {
            let (conv, seq) = (Conversation::direct(user, UserId(number + 1)), Seq(7));
            let moves = vec![Move { user, device: device.clone(), conv, seq, newest: None }];
            let delivered = vec![ReceiptKey { conversation: conv, seq, by: user, read: false }];
            assert_eq!(batch.cursors(Cursors { moves, delivered, ..Cursors::default() }), 0);
        }
        batch
    }

    #[test]
    fn no_cursor_moves_before_the_receipts_for_what_it_passes() {
        for (count, first, later) in [(1, 1, 0), (10, 1, 0), (11, 2, 2), (35, 4, 4)] {
            let calls = noted(count).into_calls(10);
            assert_eq!((calls.first.len(), calls.later.len()), (first, later), "{count}");
            assert!(first == 1 || calls.first.iter().all(|call| call.moves.is_empty()));
            assert!(calls.later.iter().all(|call| call.delivered.is_empty()));
            let moves = calls.first.iter().chain(&calls.later).map(|call| call.moves.len()).sum::<usize>();
            let delivered = calls.first.iter().map(|call| call.delivered.len()).sum::<usize>();
            assert_eq!((moves, delivered), (count as usize, count as usize));
        }
    }

    #[test]
    fn one_call_of_receipts_goes_ahead_of_many_of_moves() {
        let mut batch = noted(25);
        batch.delivered = batch.delivered.into_iter().take(3).collect();
        let calls = batch.into_calls(10);
        assert_eq!((calls.first.len(), calls.first[0].delivered.len()), (1, 3));
        assert_eq!((calls.first[0].moves.len(), calls.later.len()), (10, 2));
    }

    fn own(user: i64, peer: i64, seq: i64) -> Cursors {
        let device = Device::new("pad").unwrap();
        let (user, conv) = (UserId(user), Conversation::direct(UserId(user), UserId(peer)));
        let one = Move { user, device, conv, seq: Seq(seq), newest: None };
        Cursors { own: vec![one], ..Cursors::default() }
    }

    fn moved(batch: Batch) -> Vec<i64> {
        let mut seqs: Vec<i64> =
            batch.into_calls(10).first.iter().flat_map(|call| &call.moves).map(|one| one.seq.0).collect();
        seqs.sort_unstable();
        seqs
    }

    #[test]
    fn moves_over_own_frames_wait_for_a_later_batch_or_their_sessions_end() {
        let mut batch = Batch::default();
        for cursors in [own(1, 2, 5), own(1, 2, 6), own(1, 3, 7), own(4, 2, 8)] {
            assert_eq!(batch.cursors(cursors), 0);
        }
        assert_eq!(batch.len(), 3, "the furthest of each");
        let pad = Device::new("pad").unwrap();
        batch.close(Registration { user: UserId(1), device: pad, session: SessionNo(9) });
        assert_eq!(moved(batch.take(true)), [6, 7]);
        assert!(!batch.is_empty() && !batch.own().is_empty());
        batch.hurry();
        assert!(batch.own().is_empty());
        assert_eq!(moved(batch), [8]);
    }

    #[test]
    fn many_moves_may_wait_and_receipts_do_not_unless_a_session_has_ended() {
        let mut batch = noted(11);
        assert!(batch.may_wait(10) && !batch.may_wait(11), "more than a call holds");
        let first = batch.take(false);
        assert_eq!((first.moves.len(), first.delivered.len()), (0, 11));
        assert!(batch.has_moves() && !batch.is_empty());
        batch.close(Registration {
            user: UserId(1),
            device: Device::new("pad").unwrap(),
            session: SessionNo(9),
        });
        assert!(!batch.may_wait(10));
        let then = batch.take(true);
        assert_eq!((then.moves.len(), then.delivered.len(), then.closed.len()), (11, 0, 1));
        assert!(batch.is_empty() && !batch.has_moves());
    }

    #[test]
    fn a_device_that_writes_to_very_many_does_not_wait() {
        let mut batch = Batch::default();
        for peer in 2..2 + MANY as i64 {
            assert!(!batch.own().is_urgent());
            batch.cursors(own(1, peer, 1));
        }
        assert!(batch.own().is_urgent());
    }
}
