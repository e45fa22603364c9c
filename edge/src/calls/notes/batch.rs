//! What has gathered: the furthest of each, once.

use std::collections::{HashMap, HashSet};

use shared::{
    delivery::ReceiptKey,
    ids::{Conversation, Device, Seq, SessionNo, UserId},
    rpc::{Cursors, Move, Read, Registration, Told},
};

use super::CAPACITY;

/// One generation.
#[derive(Debug, Default)]
pub(super) struct Batch {
    moves: HashMap<(UserId, Device, Conversation, Option<SessionNo>), Seq>,
    reads: HashMap<(UserId, Conversation), Seq>,
    delivered: HashSet<ReceiptKey>,
    told: Vec<Told>,
    closed: Vec<Registration>,
}

impl Batch {
    /// Adds what fits; returns how much did not.
    pub fn cursors(&mut self, cursors: Cursors) -> usize {
        let count = cursors.moves.len() + cursors.reads.len() + cursors.delivered.len() + cursors.told.len();
        if self.len() + count > CAPACITY {
            return count;
        }
        for Move { user, device, conv, seq, newest } in cursors.moves {
            let furthest = self.moves.entry((user, device, conv, newest)).or_insert(seq);
            *furthest = seq.max(*furthest);
        }
        for Read { user, conv, seq } in cursors.reads {
            let furthest = self.reads.entry((user, conv)).or_insert(seq);
            *furthest = seq.max(*furthest);
        }
        self.delivered.extend(cursors.delivered);
        self.told.extend(cursors.told);
        0
    }

    /// Adds the end of a session; returns 1 if it did not fit.
    pub fn close(&mut self, session: Registration) -> usize {
        if self.closed.len() >= CAPACITY {
            return 1;
        }
        self.closed.push(session);
        0
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.closed.is_empty()
    }

    fn len(&self) -> usize {
        self.moves.len() + self.reads.len() + self.delivered.len() + self.told.len()
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
}
