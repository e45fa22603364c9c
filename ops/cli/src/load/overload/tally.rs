//! One pair's counts. Its conversation is new, and only its sender writes there, each message once: so its `n`th message
//! has the id `n` and, while nothing is refused, the `seq` `n`; and nothing needs to be remembered to judge it.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use crate::load::open::Open;

/// What sender and receiver of a pair have seen.
#[derive(Debug, Default)]
pub struct Tally {
    /// Frames that the sender's socket took.
    pub written: AtomicU64,
    /// Frames that the schedule owed for too long, since the socket took none.
    pub shed: AtomicU64,
    /// Which frames have no answer yet.
    open: Mutex<Open>,
    /// Frames sent again.
    pub again: AtomicU64,
    /// Acks, one a message.
    pub acked: AtomicU64,
    /// The highest `seq` among them.
    pub highest: AtomicU64,
    /// Refusals.
    pub refused: AtomicU64,
    /// Deliveries with a `seq` above all before.
    pub delivered: AtomicU64,
    /// Those whose `seq` did not follow the one before.
    pub reordered: AtomicU64,
    /// Those whose id had been delivered under another `seq`.
    pub doubled: AtomicU64,
    /// Deliveries with a `seq` that the receiver had, as a reconnect and a backlog bring them: a client drops them.
    pub repeated: AtomicU64,
    /// Connections that ended.
    pub cut: AtomicU64,
}

/// The counts of all pairs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    pub written: u64,
    pub shed: u64,
    pub again: u64,
    pub acked: u64,
    pub refused: u64,
    pub delivered: u64,
    pub reordered: u64,
    pub doubled: u64,
    pub repeated: u64,
    pub cut: u64,
    /// Places in conversations up to an acked one that were not delivered.
    pub lost: u64,
}

/// Adds to one count.
pub fn add(count: &AtomicU64, by: u64) {
    count.fetch_add(by, Ordering::Relaxed);
}

fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

impl Tally {
    /// Which frames have no answer yet.
    pub fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sum {
    /// As it stands.
    pub fn of(tallies: &[Arc<Tally>]) -> Self {
        let mut sum = Self::default();
        for tally in tallies {
            sum.written += get(&tally.written);
            sum.shed += get(&tally.shed);
            sum.again += get(&tally.again);
            sum.acked += get(&tally.acked);
            sum.refused += get(&tally.refused);
            sum.delivered += get(&tally.delivered);
            sum.reordered += get(&tally.reordered);
            sum.doubled += get(&tally.doubled);
            sum.repeated += get(&tally.repeated);
            sum.cut += get(&tally.cut);
            sum.lost += get(&tally.highest).saturating_sub(get(&tally.delivered));
        }
        sum
    }
}

/// What a receiver has been shown; it outlives its connections.
#[derive(Debug, Default)]
pub struct Shown {
    seq: u64,
    id: u64,
}

impl Shown {
    /// Judges one delivery.
    pub fn delivery(&mut self, id: u64, seq: u64, tally: &Tally) {
        if seq <= self.seq {
            return add(&tally.repeated, 1);
        }
        add(&tally.reordered, u64::from(seq != self.seq + 1));
        add(&tally.doubled, u64::from(id <= self.id));
        add(&tally.delivered, 1);
        (self.seq, self.id) = (seq, self.id.max(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_doubled_reordered_or_repeated_shows() {
        let tally = Arc::new(Tally::default());
        tally.highest.store(6, Ordering::Relaxed);
        let mut shown = Shown::default();
        for (id, seq) in [(1, 1), (2, 2), (2, 2), (2, 3), (4, 5)] {
            shown.delivery(id, seq, &tally);
        }
        let expected = Sum { delivered: 4, repeated: 1, doubled: 1, reordered: 1, lost: 2, ..Sum::default() };
        assert_eq!(Sum::of(&[tally]), expected);
    }
}
