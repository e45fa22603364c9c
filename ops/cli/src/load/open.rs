//! Which of a sender's messages have no answer yet, in little room: answers come in order, but for those that a node in
//! trouble was not told.

use std::collections::BTreeMap;

/// The most gaps that are told apart. Beyond them two become one: what lies between is sent once more, which is harmless.
const GAPS: usize = 10_000;

/// The ids `1..=written` without an answer.
#[derive(Debug, Default)]
pub struct Open {
    written: u64,
    /// The highest id with an answer.
    top: u64,
    /// Ids below it without one: first and last.
    gaps: BTreeMap<u64, u64>,
}

impl Open {
    /// So many more have been written.
    pub fn wrote(&mut self, count: u64) {
        self.written += count;
    }

    /// This one has an answer. False: it had one.
    pub fn answered(&mut self, id: u64) -> bool {
        if id > self.top {
            if id > self.top + 1 {
                self.gaps.insert(self.top + 1, id - 1);
                self.join();
            }
            self.top = id;
            return true;
        }
        let Some((&first, &last)) = self.gaps.range(..=id).next_back() else { return false };
        if id > last {
            return false;
        }
        self.gaps.remove(&first);
        if first < id {
            self.gaps.insert(first, id - 1);
        }
        if id < last {
            self.gaps.insert(id + 1, last);
        }
        self.join();
        true
    }

    /// The oldest without an answer, at most so many.
    pub fn oldest(&self, limit: usize) -> Vec<u64> {
        let gaps = self.gaps.iter().flat_map(|(&first, &last)| first..=last);
        gaps.chain(self.top + 1..=self.written).take(limit).collect()
    }

    fn join(&mut self) {
        if self.gaps.len() <= GAPS {
            return;
        }
        if let (Some((_, last)), Some(mut before)) = (self.gaps.pop_last(), self.gaps.last_entry()) {
            *before.get_mut() = last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_answer_is_known() {
        let mut open = Open::default();
        open.wrote(10);
        for id in [1, 2, 6, 4, 9] {
            assert!(open.answered(id));
            assert!(!open.answered(id));
        }
        assert_eq!(open.oldest(100), [3, 5, 7, 8, 10]);
        assert_eq!(open.oldest(2), [3, 5]);
        for id in [3, 5, 7, 8, 10] {
            assert!(open.answered(id));
        }
        assert!(open.oldest(1).is_empty());
    }

    #[test]
    fn gaps_are_bounded() {
        let mut open = Open::default();
        let last = 3 * GAPS as u64;
        open.wrote(last);
        for id in (2..=last).step_by(2) {
            open.answered(id);
        }
        assert_eq!(open.gaps.len(), GAPS);
        let oldest = open.oldest(usize::MAX);
        assert!((1..=last).step_by(2).all(|id| oldest.binary_search(&id).is_ok()));
    }
}
