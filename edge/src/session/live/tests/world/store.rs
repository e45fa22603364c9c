//! What workers keep: rows, the device's cursors, which session is its newest.

use std::collections::{BTreeMap, BTreeSet};

use shared::{rpc::Move, seeded::Random};

use super::*;

/// A row, as the device sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Row {
    /// From others, or from another device.
    Theirs,
    /// Sent by this session of the device.
    Own(i64),
    /// In the conversation, but not for this user.
    Hidden,
}

#[derive(Debug, Default)]
pub struct Store {
    pub rows: BTreeMap<Conversation, Vec<Row>>,
    pub cursors: BTreeMap<Conversation, i64>,
    /// The cursors before the first session.
    pub first: BTreeMap<Conversation, i64>,
    /// The device's newest session.
    newest: i64,
    /// Acknowledged by the client, on whichever connection.
    pub acked: BTreeSet<(Conversation, i64)>,
    /// On their way to a worker.
    moves: Vec<Move>,
    pub clock: Clock,
}

impl Store {
    pub fn append(&mut self, conversation: Conversation, mut row: Row) -> (i64, Row) {
        let rows = self.rows.entry(conversation).or_default();
        // Whoever was there when a group was made sees what follows, at least for a while.
        let begins = matches!(conversation, Conversation::Group(_)) && rows.len() < 4;
        if begins && row == Row::Hidden && rows.iter().any(|row| *row != Row::Hidden) {
            row = Row::Theirs;
        }
        rows.push(row);
        (rows.len() as i64, row)
    }

    pub fn acknowledge_some(&mut self, random: &mut Random) {
        for (conversation, rows) in &self.rows {
            self.first.insert(*conversation, random.below(rows.len() + 1) as i64);
        }
        self.cursors = self.first.clone();
    }

    pub fn log_in(&mut self, session: i64) {
        self.newest = session;
    }

    /// Moves come with the collector's next batch. What is certain may not pass anything unacknowledged even now.
    pub fn moved(&mut self, moves: Vec<Move>) {
        for one in &moves {
            if one.newest.is_none() {
                self.check(one.conv, one.seq.0);
            }
        }
        self.moves.extend(moves);
    }

    /// The collector passes on what it gathered.
    pub fn flush(&mut self) {
        for one in std::mem::take(&mut self.moves) {
            if one.newest.is_none_or(|session| session.0 >= self.newest) {
                self.check(one.conv, one.seq.0);
                let stored = self.cursors.entry(one.conv).or_insert(0);
                *stored = one.seq.0.max(*stored);
            }
        }
        self.clock = Clock::alike(self.clock.gathering + 1, self.clock.gathering);
    }

    /// A cursor never passes something that was not acknowledged.
    fn check(&self, conversation: Conversation, cursor: i64) {
        let first = self.first.get(&conversation).copied().unwrap_or(0);
        for (seq, row) in (1..=cursor).zip(&self.rows[&conversation]) {
            let fine = seq <= first || *row != Row::Theirs || self.acked.contains(&(conversation, seq));
            assert!(fine, "the cursor of {conversation} moves to {cursor}, but {seq} is not acknowledged");
        }
    }

    /// Only the device's newest session is answered.
    pub fn look_up(&self, read: &Backlog) -> Option<(Vec<Delivery>, bool)> {
        if read.session.0 < self.newest {
            return None;
        }
        let mut found = Vec::new();
        for (conversation, rows) in &self.rows {
            let stored = self.cursors.get(conversation).copied().unwrap_or(0);
            let after = read.after.iter().find(|place| place.conv == *conversation);
            let from = stored.max(after.map_or(0, |place| place.seq.0));
            let owed = (1..).zip(rows).filter(|(seq, row)| **row == Row::Theirs && *seq > from);
            found.extend(owed.map(|(seq, _)| Delivery::Push(push(*conversation, seq, 2))));
        }
        let more = found.len() > read.limit as usize;
        found.truncate(read.limit as usize);
        Some((found, more))
    }
}
