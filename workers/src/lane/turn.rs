//! Committers of one worker take turns while chunks are small.
//!
//! Two small commits at a time cost PostgreSQL more than one after the other, as the second is larger then. Large chunks
//! are mostly work that two cores share (ADR 0012).

use std::time::Duration;

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// Frames in a committer's last chunk from which on it waits for nobody.
const LARGE: usize = 64;
/// How long one waits for another, whose session may hang.
const PATIENCE: Duration = Duration::from_millis(5);

/// Whose turn it is.
#[derive(Debug)]
pub struct Turn(Semaphore);

impl Default for Turn {
    fn default() -> Self {
        Self(Semaphore::new(1))
    }
}

impl Turn {
    /// Waits until no other committer has a small chunk under way, no longer than 5 ms. Held until one's own is
    /// committed. `last`: how many frames one's last chunk had.
    pub async fn take(&self, last: usize) -> Option<SemaphorePermit<'_>> {
        if last >= LARGE {
            return None;
        }
        // The semaphore is never closed.
        timeout(PATIENCE, self.0.acquire()).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::poll;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn small_chunks_come_one_after_the_other_and_large_ones_wait_for_nobody() {
        let turn = Turn::default();
        let first = turn.take(0).await;
        assert!(first.is_some());
        let mut second = pin!(turn.take(LARGE - 1));
        assert!(poll!(&mut second).is_pending());
        let began = Instant::now();
        assert!(turn.take(LARGE).await.is_none());
        drop(first);
        assert!(second.await.is_some());
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_is_not_waited_for_long() {
        let turn = Turn::default();
        let _hangs = turn.take(1).await;
        let began = Instant::now();
        assert!(turn.take(1).await.is_none());
        assert!((PATIENCE..PATIENCE * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
}
