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

    /// As calls of at most `most` entries of a kind, and the ended sessions so as well.
    pub fn into_calls(self, most: usize) -> (Vec<Cursors>, Vec<Vec<Registration>>) {
        let moves = self.moves.into_iter();
        let moves = moves.map(|((user, device, conv, newest), seq)| Move { user, device, conv, seq, newest });
        let reads = self.reads.into_iter().map(|((user, conv), seq)| Read { user, conv, seq });
        let (mut moves, mut reads) = (chunks(moves, most), chunks(reads, most));
        let (mut delivered, mut told) = (chunks(self.delivered, most), chunks(self.told, most));
        let calls = moves.len().max(reads.len()).max(delivered.len()).max(told.len());
        let calls = (0..calls).map(|_| Cursors {
            moves: moves.pop().unwrap_or_default(),
            reads: reads.pop().unwrap_or_default(),
            delivered: delivered.pop().unwrap_or_default(),
            told: told.pop().unwrap_or_default(),
        });
        (calls.collect(), chunks(self.closed, most))
    }
}

fn chunks<T>(items: impl IntoIterator<Item = T>, most: usize) -> Vec<Vec<T>> {
    let mut items = items.into_iter().peekable();
    let mut chunks = Vec::new();
    while items.peek().is_some() {
        chunks.push(items.by_ref().take(most).collect());
    }
    chunks
}
