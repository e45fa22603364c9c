//! Waking the sessions of a crowd: a slice at a time and with rests, so that nobody else waits until a group of thousands
//! has written.
//!
//! What a crowd gets is queued at once and in order; only its sessions' turns are spread. What comes for them
//! meanwhile they write together: the busier the node, the longer the rests and the fewer the writes. Bounded by the
//! node's sessions: each waits here once.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::yield_now,
    time::{Instant, sleep},
};

use crate::outbox::Wakes;

/// More recipients than this make a crowd.
pub const CROWD: usize = 256;
/// So many sessions have their turn before others have theirs.
const SLICE: usize = 32;
/// So many times as long as a slice took, with all that had its turn meanwhile, its crowd rests.
const REST: u32 = 8;
/// The longest rest after one slice: on the busiest node a crowd still gets on by 1,500 sessions a second.
const LONGEST: Duration = Duration::from_millis(20);
/// Shorter ones are saved up: the timer knows milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);

/// Sessions of crowds that are to be woken. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Crowds {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<VecDeque<Waker>>,
    work: Notify,
}

impl Crowds {
    /// Leaves them to [`Self::run`].
    pub fn wake(&self, sessions: Wakes) {
        self.inner.waiting().extend(sessions.into_wakers());
        self.inner.work.notify_one();
    }

    /// Wakes them, for ever.
    pub async fn run(&self) {
        let mut owed = Rest::default();
        loop {
            let slice: Vec<Waker> = {
                let mut waiting = self.inner.waiting();
                let some = waiting.len().min(SLICE);
                waiting.drain(..some).collect()
            };
            if slice.is_empty() {
                self.inner.work.notified().await;
                continue;
            }
            let began = Instant::now();
            slice.into_iter().for_each(Waker::wake);
            yield_now().await;
            if let Some(rest) = owed.after(began.elapsed()) {
                let began = Instant::now();
                sleep(rest).await;
                owed.rested(began.elapsed());
            }
        }
    }
}

/// Rest that is owed to everybody else.
#[derive(Debug, Default)]
struct Rest(Duration);

impl Rest {
    /// A slice and what ran meanwhile took this long: how long to rest now, if it is worth a timer.
    fn after(&mut self, took: Duration) -> Option<Duration> {
        self.0 += (took * REST).min(LONGEST);
        (self.0 >= SHORTEST).then_some(self.0)
    }

    /// It lasted this long; what it was longer than wanted is not owed to the crowd.
    fn rested(&mut self, lasted: Duration) {
        self.0 = self.0.saturating_sub(lasted);
    }
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::atomic::{AtomicUsize, Ordering},
        task::{Context, Wake},
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_is_woken_a_slice_at_a_time_and_others_have_their_turns_between() {
        let (crowds, sessions) = (Crowds::default(), Arc::new(Woken::default()));
        let mut run = pin!(crowds.run());
        let mut context = Context::from_waker(Waker::noop());
        crowds.wake((0..SLICE * 2 + 3).map(|_| Waker::from(sessions.clone())).collect());
        let mut seen = Vec::new();
        for _ in 0..5 {
            assert!(run.as_mut().poll(&mut context).is_pending(), "it gives way");
            seen.push(sessions.0.load(Ordering::Relaxed));
        }
        assert_eq!(seen, [SLICE, 2 * SLICE, 2 * SLICE + 3, 2 * SLICE + 3, 2 * SLICE + 3]);
        crowds.wake([Waker::from(sessions.clone())].into_iter().collect());
        assert!(run.as_mut().poll(&mut context).is_pending());
        assert_eq!(sessions.0.load(Ordering::Relaxed), 2 * SLICE + 4);
    }

    #[test]
    fn a_crowd_rests_by_how_long_its_turns_took() {
        let (micros, mut owed) = (Duration::from_micros, Rest::default());
        assert_eq!(owed.after(micros(100)), None, "too short for a timer");
        assert_eq!(owed.after(micros(50)), Some(micros(1_200)));
        owed.rested(micros(1_000));
        assert_eq!(owed.after(micros(100)), Some(micros(1_000)), "what was not rested is still owed");
        owed.rested(micros(2_000));
        assert_eq!(owed.after(micros(100)), None, "a timer that is late owes the crowd nothing");
        owed.rested(micros(1_000));
        assert_eq!(owed.after(Duration::from_secs(3)), Some(LONGEST));
    }
}
