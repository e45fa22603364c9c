//! Which numbers of each conversation have been seen, so that a repeated delivery is shown once. Bounded: what is
//! forgotten can only show a message twice, never hide one.

use std::collections::HashMap;

use crate::ids::{Conversation, Seq};

/// Conversations remembered; beyond it the half unused for longest is forgotten.
const CONVERSATIONS: usize = 10_000;
/// Ranges remembered in a conversation, 64 KiB of them; beyond it the shortest is forgotten, so that what was shown in
/// order stays known. In order there is one; a device that is behind knows the places of its own messages one by one.
const RANGES: usize = 4096;

/// Numbers seen, by conversation.
#[derive(Debug, Default)]
pub struct Seen {
    conversations: HashMap<Conversation, Ranges>,
    clock: u64,
}

#[derive(Debug, Default)]
struct Ranges {
    /// First and last of each, ascending, with gaps between.
    ranges: Vec<(i64, i64)>,
    used: u64,
}

impl Seen {
    /// Remembers a number; false: it was seen before.
    pub fn insert(&mut self, conversation: Conversation, seq: Seq) -> bool {
        self.clock += 1;
        if self.conversations.len() >= CONVERSATIONS && !self.conversations.contains_key(&conversation) {
            self.forget();
        }
        let ranges = self.conversations.entry(conversation).or_default();
        ranges.used = self.clock;
        ranges.insert(seq.0)
    }

    /// Whether it was seen.
    pub fn contains(&self, conversation: &Conversation, seq: Seq) -> bool {
        self.conversations.get(conversation).is_some_and(|ranges| ranges.contains(seq.0))
    }

    fn forget(&mut self) {
        let mut used: Vec<u64> = self.conversations.values().map(|ranges| ranges.used).collect();
        let middle = used.len() / 2;
        let (_, median, _) = used.select_nth_unstable(middle);
        let median = *median;
        self.conversations.retain(|_, ranges| ranges.used >= median);
    }
}

impl Ranges {
    fn contains(&self, seq: i64) -> bool {
        let at = self.ranges.partition_point(|&(first, _)| first <= seq);
        at.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|&(_, last)| seq <= last)
    }

    fn insert(&mut self, seq: i64) -> bool {
        let at = self.ranges.partition_point(|&(first, _)| first <= seq);
        let touches_before = match at.checked_sub(1).and_then(|before| self.ranges.get(before)) {
            Some(&(_, last)) if seq <= last => return false,
            Some(&(_, last)) => last + 1 == seq,
            None => false,
        };
        let touches_after = self.ranges.get(at).is_some_and(|&(first, _)| seq + 1 == first);
        match (touches_before, touches_after) {
            (true, true) => {
                self.ranges[at - 1].1 = self.ranges[at].1;
                self.ranges.remove(at);
            }
            (true, false) => self.ranges[at - 1].1 = seq,
            (false, true) => self.ranges[at].0 = seq,
            (false, false) => {
                self.ranges.insert(at, (seq, seq));
                if self.ranges.len() > RANGES {
                    let lengths = self.ranges.iter().map(|(first, last)| last - first).enumerate();
                    if let Some((shortest, _)) = lengths.min_by_key(|(_, length)| *length) {
                        self.ranges.remove(shortest);
                    }
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::ids::GroupId;

    proptest! {
        #[test]
        fn it_knows_exactly_what_was_seen(seqs in proptest::collection::vec(1i64..60, 0..200)) {
            let (mut seen, mut model) = (Seen::default(), HashSet::new());
            let talk = Conversation::Group(GroupId(1));
            for seq in seqs {
                prop_assert_eq!(seen.insert(talk, Seq(seq)), model.insert(seq));
                let ranges = &seen.conversations[&talk].ranges;
                prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", ranges);
            }
            for seq in 0..70 {
                prop_assert_eq!(seen.contains(&talk, Seq(seq)), model.contains(&seq));
            }
        }
    }

    #[test]
    fn memory_is_bounded_and_what_was_used_last_stays() {
        let mut seen = Seen::default();
        for group in 1..=25_000 {
            seen.insert(Conversation::Group(GroupId(group)), Seq(1));
            seen.insert(Conversation::Group(GroupId(1)), Seq(group));
        }
        assert!(seen.conversations.len() <= CONVERSATIONS);
        assert!(seen.contains(&Conversation::Group(GroupId(1)), Seq(1)));
        let talk = Conversation::Group(GroupId(2));
        (1..=100).for_each(|seq| assert!(seen.insert(talk, Seq(seq))));
        for seq in 100..10_000 {
            seen.insert(talk, Seq(2 * seq));
        }
        assert_eq!(seen.conversations[&talk].ranges.len(), RANGES);
        assert!((1..=100).all(|seq| seen.contains(&talk, Seq(seq))), "what was shown in order stays");
    }
}
