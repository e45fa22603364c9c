//! Longer and longer pauses between tries, with jitter, so that many who failed together do not return together.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// The pauses of one series of tries.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    most: Duration,
    first: Duration,
}

impl Backoff {
    /// From `first`, doubling up to `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { next: first, most, first }
    }

    /// The pause before the next try: between half and the whole of the step.
    pub fn pause(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.most);
        // A fresh RandomState is the standard library's own random number; spreading needs no better one.
        let random = RandomState::new().hash_one(0_u8) % 1024;
        step / 2 + step / 2 * u32::try_from(random).unwrap_or(0) / 1024
    }

    /// It worked: begin at the first step again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}
