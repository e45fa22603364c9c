//! The bounded trace: which message was where and when, as fixed-size records of integers in a ring a process.
//!
//! A record is written where a message passes, a batch or a chunk at a time and without an allocation a message; the
//! oldest is overwritten. Texts are not kept: a message is found again by the [`Key`] of its sender and id, or by its
//! conversation and `seq`. Every process answers a [`Question`] with what it has; `simple-im trace` merges the answers
//! with what PostgreSQL knows.
//!
//! | module | holds |
//! |---|---|
//! | [`ring`] | the ring |
//! | [`record`] | what is written in it |
//! | [`wire`] | the question and its answer, as they cross the broker |
//! | [`answering`] | the task that answers |
//! | [`export`] | the same records as OpenTelemetry spans, for a collector |

pub mod answering;
pub mod export;
pub mod record;
pub mod ring;
pub mod wire;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub use self::{
    answering::answer,
    record::{Accepted, Chunk, Outcome, Queued, Row, Sent, Settled, Stop, What, Why},
    ring::{Ring, Shelf},
    wire::{Answer, Kind, Process, Question, Shelved, Standing},
};
use crate::{config::Millis, ids::UserId};

/// `[trace]` of every server's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TraceConfig {
    /// Records that each ring of the process keeps; 0: no trace.
    pub keep: usize,
    /// Where they go besides.
    #[serde(flatten)]
    pub export: OtlpConfig,
}

/// The part of `[trace]` that is about [`export`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OtlpConfig {
    /// The collector's URL for traces; empty: nothing is exported.
    pub otlp: String,
    /// One message in so many is exported.
    pub sample: u32,
    /// How often.
    pub export_ms: Millis,
}

impl OtlpConfig {
    /// Whether anything is exported.
    pub fn is_on(&self) -> bool {
        !self.otlp.is_empty()
    }
}

impl TraceConfig {
    /// Rings of this size, and no export.
    pub fn keeping(keep: usize) -> Self {
        let export = OtlpConfig { otlp: String::new(), sample: 1, export_ms: Millis(1000) };
        Self { keep, export }
    }
}

/// A sender's own id of a message, with its sender, as 64 bits. Two messages of one sender with the same id have the same
/// one, whichever device sent them; others have it with a chance of one in 2^64 a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub struct Key(pub u64);

/// Odd, with ones and zeros spread evenly (the golden ratio's, and SplitMix64's).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX: u64 = 0xbf58_476d_1ce4_e5b9;

impl Key {
    /// No key: a record that is found by its place alone.
    pub const NONE: Self = Self(0);

    /// The key of a message.
    #[inline]
    pub fn of(sender: UserId, id: &str) -> Self {
        let bytes = id.as_bytes();
        let mut hash = (sender.0 as u64).wrapping_mul(SPREAD);
        let mut add = |word: u64| {
            hash = (hash ^ word).wrapping_mul(MIX);
            hash ^= hash >> 32;
        };
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            add(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            // The last eight bytes, some of them once more; of a shorter id all there are.
            let last = bytes.last_chunk::<8>().map(|last| u64::from_le_bytes(*last));
            add(last.unwrap_or_else(|| rest.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte))));
        }
        // The length last: beside the first word it could undo a difference there.
        Self((hash ^ bytes.len() as u64).wrapping_mul(SPREAD).max(1))
    }
}

impl From<i64> for Key {
    fn from(bits: i64) -> Self {
        Self(bits as u64)
    }
}

impl From<Key> for i64 {
    fn from(key: Key) -> Self {
        key.0 as Self
    }
}

/// Microseconds since 1970 began. 0 where the clock stands before that.
#[inline]
pub fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Seconds since 1970 began, as frames and heartbeats carry them.
#[inline]
pub fn seconds() -> i64 {
    now() / 1_000_000
}

/// When that was, if it is `now` at this moment.
pub fn when(then: Instant, now: i64) -> i64 {
    now - i64::try_from(then.elapsed().as_micros()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_of_ids_as_clients_write_them_are_all_different() {
        let mut seen = HashSet::new();
        for user in 1..=100 {
            for n in 0..100 {
                for id in [format!("{n}"), format!("a_{n:04}"), format!("message-number-{n}-of-many")] {
                    assert!(seen.insert(Key::of(UserId(user), &id)), "{user} {id}");
                }
            }
        }
        for id in ["", "\0", "\0\0", "aaaaaaaa", "aaaaaaaaa", "aaaaaaaaaa", "baaaaaaaaa"] {
            assert!(seen.insert(Key::of(UserId(1), id)), "{id:?}");
        }
        assert!(!seen.contains(&Key::NONE));
    }

    #[test]
    fn a_key_crosses_the_broker_as_it_is() {
        let key = Key(u64::MAX - 5);
        assert_eq!(Key::from(i64::from(key)), key);
    }
}
