//! Hashing ids: a multiplication for each number in them, keyed once a process. A map by it is two words smaller than one
//! with a key of its own, and every session has one.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::LazyLock,
};

/// Begins hashes of ids. Whoever chooses ids does not know the key, and so not which of them meet.
#[derive(Debug, Clone, Copy, Default)]
pub struct ById;

/// A hash under way.
#[derive(Debug)]
pub struct IdHasher(u64);

static KEY: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));

/// Odd, with its bits in no order: the golden ratio's.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl BuildHasher for ById {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher(*KEY)
    }
}

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(FACTOR);
        // Both halves, so that every bit of the word moves the high bits and the low ones, of which maps use both.
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn write_i64(&mut self, word: i64) {
        self.write_u64(word.cast_unsigned());
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word.cast_unsigned() as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use shared::ids::{Conversation, GroupId, UserId};

    use super::*;

    #[test]
    fn ids_in_a_row_spread_over_a_map() {
        let users = (1..=4096).map(|id| ById.hash_one(UserId(id)));
        let talks = (1..=4096).map(|id| ById.hash_one(Conversation::direct(UserId(1), UserId(id))));
        let groups = (1..=4096).map(|id| ById.hash_one(Conversation::Group(GroupId(id << 20))));
        for hashes in [users.collect::<Vec<_>>(), talks.collect(), groups.collect()] {
            // At random about 63 % of the places are hit; a map looks at the high 7 bits beside the low ones.
            let places =
                |place: fn(u64) -> u64| hashes.iter().map(|hash| place(*hash)).collect::<HashSet<_>>();
            let (low, high) = (places(|hash| hash % 4096).len(), places(|hash| hash >> 57).len());
            assert!(low > 2_000 && high == 128, "{low} of 4096 and {high} of 128");
        }
    }
}
