//! When the next call leaves with what has gathered for it: at once where none is under way, else once the last one is
//! done, a whole call has gathered, or the wait gets long. So batches grow with the load, a slow call holds nobody up for
//! long, and an idle node waits for nothing. Calls that rest leave one after the other instead, for the sake of everybody
//! whose work is not theirs.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::rest::Rest;

/// How long the last call is waited for.
const PATIENCE: Duration = Duration::from_millis(20);
/// The same where calls rest: on a full machine a call and its rest take half of it.
const LONG_PATIENCE: Duration = Duration::from_millis(100);
/// A call with fewer has nothing to rest for.
const MANY: usize = 16;

/// Calls under way, and what gathers for the next one.
#[derive(Debug)]
pub(super) struct Turns {
    permits: Arc<Semaphore>,
    /// The last one to leave is done.
    last: CancellationToken,
    most: usize,
    rests: bool,
}

/// A call may be made for as long as this is held.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
    _done: Option<DropGuard>,
    began: Instant,
    rests: bool,
}

impl Turn {
    /// The call is done. Where calls rest, the next one leaves after a rest as long as this one took.
    pub async fn over(self) {
        if self.rests {
            Rest::of_times(1).after(self.began.elapsed()).await;
        }
    }
}

impl Turns {
    /// At most `calls` under way at a time, each with at most `most` of what gathers.
    pub fn new(calls: usize, most: usize) -> Self {
        let last = CancellationToken::new();
        last.cancel();
        Self { permits: Arc::new(Semaphore::new(calls)), last, most, rests: false }
    }

    /// The same, with calls that rest: a whole call waits for the last one as well, and one of [`MANY`] and more is followed
    /// by a rest as long as it took.
    pub fn resting(calls: usize, most: usize) -> Self {
        Self { rests: true, ..Self::new(calls, most) }
    }

    /// What has gathered, once it may leave; `None` when nothing more will come.
    pub async fn next<T>(&mut self, queue: &mut mpsc::Receiver<T>) -> Option<(Vec<T>, Turn)> {
        let mut gathered = vec![queue.recv().await?];
        let patience = tokio::time::sleep(if self.rests { LONG_PATIENCE } else { PATIENCE });
        tokio::pin!(patience);
        while self.rests || gathered.len() < self.most {
            tokio::select! {
                biased;
                () = self.last.cancelled() => break,
                () = &mut patience => break,
                more = queue.recv(), if gathered.len() < self.most => match more {
                    Some(more) => gathered.push(more),
                    None => break,
                },
            }
        }
        let permit = self.permits.clone().acquire_owned().await.ok()?;
        while gathered.len() < self.most
            && let Ok(more) = queue.try_recv()
        {
            gathered.push(more);
        }
        self.last = CancellationToken::new();
        let rests = self.rests && gathered.len() >= MANY;
        let done = Some(self.last.clone().drop_guard());
        Some((gathered, Turn { _permit: permit, _done: done, began: Instant::now(), rests }))
    }

    /// Hands out turns besides, for what is tried again.
    pub fn again(&self) -> Again {
        Again(self.permits.clone())
    }
}

/// Hands out turns for what is tried again: it has gathered already, and nobody waits for it to be done.
#[derive(Debug, Clone)]
pub(super) struct Again(Arc<Semaphore>);

impl Again {
    /// Waits for one.
    pub async fn turn(&self) -> Option<Turn> {
        let permit = self.0.clone().acquire_owned().await.ok()?;
        Some(Turn { _permit: permit, _done: None, began: Instant::now(), rests: false })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_next_call_leaves_when_the_last_is_done() {
        let (queue, mut waiting) = mpsc::channel(10);
        let mut turns = Turns::new(4, 10);
        queue.send(1).await.unwrap();
        queue.send(2).await.unwrap();
        let (first, turn) = turns.next(&mut waiting).await.unwrap();
        assert_eq!(first, [1, 2], "nothing is under way");
        queue.send(3).await.unwrap();
        let later = async {
            sleep(Duration::from_millis(5)).await;
            queue.send(4).await.unwrap();
            sleep(Duration::from_millis(5)).await;
            drop(turn);
        };
        let began = Instant::now();
        let (second, ()) = tokio::join!(turns.next(&mut waiting), later);
        assert_eq!(second.unwrap().0, [3, 4]);
        assert_eq!(began.elapsed(), Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_call_holds_the_next_up_for_a_moment_and_a_full_one_not_at_all() {
        let (queue, mut waiting) = mpsc::channel(10);
        let mut turns = Turns::new(3, 2);
        queue.send(1).await.unwrap();
        let (_, slow) = turns.next(&mut waiting).await.unwrap();
        queue.send(2).await.unwrap();
        let began = Instant::now();
        let (second, _slow) = turns.next(&mut waiting).await.unwrap();
        assert_eq!((second.as_slice(), began.elapsed() >= PATIENCE), ([2].as_slice(), true));
        queue.send(3).await.unwrap();
        queue.send(4).await.unwrap();
        let began = Instant::now();
        let (third, _full) = turns.next(&mut waiting).await.unwrap();
        assert_eq!((third.as_slice(), began.elapsed()), ([3, 4].as_slice(), Duration::ZERO));
        // No more than three.
        queue.send(5).await.unwrap();
        let fourth = tokio::time::timeout(Duration::from_secs(1), turns.next(&mut waiting)).await;
        assert!(fourth.is_err());
        drop(slow);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_rest_leave_one_after_the_other_with_a_rest_between() {
        let (queue, mut waiting) = mpsc::channel(100);
        let mut turns = Turns::resting(4, MANY);
        let fill = async || {
            for number in 0..MANY {
                queue.send(number).await.unwrap();
            }
        };
        fill().await;
        let (_, turn) = turns.next(&mut waiting).await.unwrap();
        fill().await;
        let took = Duration::from_millis(10);
        let call = async {
            sleep(took).await;
            turn.over().await;
        };
        let began = Instant::now();
        let (second, ()) = tokio::join!(turns.next(&mut waiting), call);
        let (second, slow) = second.unwrap();
        assert_eq!((second.len(), began.elapsed()), (MANY, 2 * took), "a whole call waits, too");
        // One that takes for ever holds the next up for a moment.
        fill().await;
        let began = Instant::now();
        let (_, third) = turns.next(&mut waiting).await.unwrap();
        assert!((LONG_PATIENCE..LONG_PATIENCE * 2).contains(&began.elapsed()));
        third.over().await;
        // A small one does not rest.
        queue.send(1).await.unwrap();
        let (_, small) = turns.next(&mut waiting).await.unwrap();
        sleep(took).await;
        let began = Instant::now();
        small.over().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        drop(slow);
    }

    #[tokio::test(start_paused = true)]
    async fn what_gathered_leaves_when_nothing_more_will_come() {
        let (queue, mut waiting) = mpsc::channel(10);
        let mut turns = Turns::new(1, 5);
        queue.send(1).await.unwrap();
        drop(queue);
        let (last, turn) = turns.next(&mut waiting).await.unwrap();
        assert_eq!(last, [1]);
        drop(turn);
        assert!(turns.next(&mut waiting).await.is_none());
    }
}
