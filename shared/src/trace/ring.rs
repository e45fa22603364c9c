//! A ring of records: the newest are kept, the oldest overwritten.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Records of one kind, numbered from 0 in the order in which they were written.
///
/// Capacity: fixed. When full: the oldest is overwritten; [`Ring::written`] tells how many there ever were.
#[derive(Debug)]
pub struct Ring<T> {
    slots: Vec<T>,
    capacity: usize,
    /// The slot of the next record.
    at: usize,
    written: u64,
}

impl<T: Copy> Ring<T> {
    /// An empty one. Its memory is taken at once and touched as it fills. At least one record is kept.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { slots: Vec::with_capacity(capacity), capacity, at: 0, written: 0 }
    }

    /// Writes a record; its number.
    #[inline]
    pub fn push(&mut self, record: T) -> u64 {
        let number = self.written;
        match self.slots.get_mut(self.at) {
            Some(slot) => *slot = record,
            None => self.slots.push(record),
        }
        self.written += 1;
        self.at += 1;
        if self.at == self.capacity {
            self.at = 0;
        }
        number
    }

    /// Records ever written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The number of the oldest that is still there; of an empty one what the first will be.
    pub fn first(&self) -> u64 {
        self.written - self.slots.len() as u64
    }

    /// A record by its number; `None` if it is overwritten or yet to come.
    pub fn get(&self, number: u64) -> Option<&T> {
        self.slot(number).and_then(|slot| self.slots.get(slot))
    }

    /// A record by its number, to be completed.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.slot(number).and_then(|slot| self.slots.get_mut(slot))
    }

    fn slot(&self, number: u64) -> Option<usize> {
        (self.first()..self.written)
            .contains(&number)
            .then(|| usize::try_from(number % self.capacity as u64).unwrap_or(usize::MAX))
    }
}

/// A ring that a process shares: held for the time of some writes, or to look at a few thousand records.
#[derive(Debug)]
pub struct Shelf<T>(Mutex<Ring<T>>);

/// How far a reader has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// The number of the record that comes next.
    pub next: u64,
    /// Records that were overwritten before it came to them.
    pub overwritten: u64,
}

/// Records looked at under one lock: some microseconds.
const SLICE: u64 = 1024;

impl<T: Copy> Shelf<T> {
    /// An empty one of this capacity.
    pub fn new(capacity: usize) -> Self {
        Self(Mutex::new(Ring::new(capacity)))
    }

    /// The ring, until this is dropped: for a batch's records, not for longer.
    #[inline]
    pub fn ring(&self) -> MutexGuard<'_, Ring<T>> {
        // A record is written whole; nothing panics while it holds this.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `each` for the records from number `from` on, up to `most` of them, [`SLICE`] under the lock at a time. False
    /// from `each` ends it before that record.
    pub fn read(&self, from: u64, most: u64, mut each: impl FnMut(&T) -> bool) -> Read {
        let (mut next, mut overwritten, mut left) = (from, 0, most);
        while left > 0 {
            let ring = self.ring();
            overwritten += ring.first().saturating_sub(next);
            next = next.max(ring.first());
            let until = ring.written().min(next + SLICE.min(left));
            if next >= until {
                break;
            }
            left -= until - next;
            while next < until {
                if ring.get(next).is_some_and(|record| !each(record)) {
                    return Read { next, overwritten };
                }
                next += 1;
            }
        }
        Read { next, overwritten }
    }

    /// Calls `each` for every record, the oldest first, a slice of them under the lock at a time. Those written meanwhile
    /// are not among them; those overwritten meanwhile are left out. False from `each` ends it.
    pub async fn look(&self, mut each: impl FnMut(&T) -> bool) {
        let (mut number, end) = {
            let ring = self.ring();
            (ring.first(), ring.written())
        };
        while number < end {
            {
                let ring = self.ring();
                number = number.max(ring.first());
                let until = end.min(number + SLICE);
                while number < until {
                    if ring.get(number).is_some_and(|record| !each(record)) {
                        return;
                    }
                    number += 1;
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(ring: &Ring<u64>) -> Vec<u64> {
        (0..ring.written()).filter_map(|number| ring.get(number).copied()).collect()
    }

    #[test]
    fn the_newest_are_kept_under_their_numbers() {
        let mut ring = Ring::new(3);
        assert_eq!((ring.first(), ring.written(), ring.get(0)), (0, 0, None));
        for value in 0..10 {
            assert_eq!(ring.push(value * 10), value);
            assert_eq!(ring.get(value), Some(&(value * 10)));
            assert_eq!(ring.get(value + 1), None);
        }
        assert_eq!((ring.first(), all(&ring)), (7, vec![70, 80, 90]));
        *ring.get_mut(8).unwrap() = 1;
        assert_eq!(ring.get_mut(6), None);
        assert_eq!(all(&ring), [70, 1, 90]);
    }

    #[test]
    fn it_keeps_at_least_one() {
        let mut ring = Ring::new(0);
        ring.push(1);
        ring.push(2);
        assert_eq!(all(&ring), [2]);
    }

    #[test]
    fn a_reader_goes_on_where_it_was_and_is_told_what_it_missed() {
        let shelf = Shelf::new(4);
        let read = |from, most, stop: u64| {
            let mut seen = Vec::new();
            let read = shelf.read(from, most, |value| {
                let go_on = *value != stop;
                seen.extend(go_on.then_some(*value));
                go_on
            });
            (seen, read.next, read.overwritten)
        };
        assert_eq!(read(0, 9, 99), (vec![], 0, 0));
        (0..3).for_each(|value| _ = shelf.ring().push(value));
        assert_eq!(read(0, 2, 99), (vec![0, 1], 2, 0));
        assert_eq!(read(2, 9, 99), (vec![2], 3, 0));
        (3..10).for_each(|value| _ = shelf.ring().push(value));
        assert_eq!(read(3, 9, 8), (vec![6, 7], 8, 3));
        assert_eq!(read(8, 9, 99), (vec![8, 9], 10, 0));
    }

    #[tokio::test]
    async fn a_look_sees_what_was_there_when_it_began_and_is_still() {
        let shelf = Shelf::new(3 * SLICE as usize);
        for value in 0..5 * SLICE {
            shelf.ring().push(value);
        }
        let mut seen = Vec::new();
        shelf
            .look(|value| {
                seen.push(*value);
                true
            })
            .await;
        assert_eq!(seen, (2 * SLICE..5 * SLICE).collect::<Vec<_>>());
        let mut count = 0;
        shelf
            .look(|_| {
                count += 1;
                count < 10
            })
            .await;
        assert_eq!(count, 10);
    }
}
