//! Which batch of each worker comes next. No I/O.
//!
//! The broker delivers a subject's messages in order or not at all, so a batch is missing exactly when the next one of the
//! same worker is not the next number.

use std::collections::HashMap;

/// Workers remembered. When full, all are forgotten, which costs a resync for each that sends on.
const SENDERS: usize = 256;

/// The last number of every worker's start.
#[derive(Debug, Default)]
pub struct Senders {
    last: HashMap<String, u64>,
}

impl Senders {
    /// Takes a batch's place, `{sender} {number}`, and says whether nothing is missing before it. What cannot be read
    /// follows nothing.
    pub fn follows(&mut self, place: &str) -> bool {
        let Some((sender, number)) = place.split_once(' ') else { return false };
        let Ok(number) = number.parse::<u64>() else { return false };
        if let Some(last) = self.last.get_mut(sender) {
            let before = std::mem::replace(last, number);
            return before.checked_add(1) == Some(number);
        }
        if self.last.len() >= SENDERS {
            self.last.clear();
        }
        self.last.insert(sender.to_owned(), number);
        number == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_batch_is_known_by_the_next_of_the_same_worker() {
        let mut senders = Senders::default();
        for place in ["a 1", "b 1", "a 2", "b 2", "a 3"] {
            assert!(senders.follows(place), "{place}");
        }
        assert!(!senders.follows("a 5"));
        assert!(senders.follows("a 6"), "once");
        assert!(senders.follows("b 3"));
        assert!(!senders.follows("b 1"), "a worker that counts anew has forgotten this node for a while");
        assert!(senders.follows("b 2"));
        assert!(!senders.follows("c 2"), "the first one of it is missing");
        for broken in ["", "a", "a b", "a -1", " "] {
            assert!(!senders.follows(broken), "{broken:?}");
        }
    }

    #[test]
    fn workers_that_are_gone_are_forgotten() {
        let mut senders = Senders::default();
        for number in 0..10 * SENDERS {
            assert!(senders.follows(&format!("w{number} 1")));
            assert!(senders.last.len() <= SENDERS);
        }
    }
}
