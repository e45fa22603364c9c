//! Waking the sessions of a crowd: a slice at a time, so that nobody else waits until a group of thousands has written.
//!
//! What a crowd gets is queued at once and in order; only its sessions' turns are spread. What comes for them
//! meanwhile they write together. Bounded by the node's sessions: each waits here once.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use tokio::{sync::Notify, task::yield_now};

use crate::outbox::Wakes;

/// More recipients than this make a crowd.
pub const CROWD: usize = 256;
/// So many sessions have their turn before others have theirs.
const SLICE: usize = 64;

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
            slice.into_iter().for_each(Waker::wake);
            yield_now().await;
        }
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

    #[test]
    fn a_crowd_is_woken_a_slice_at_a_time_and_others_have_their_turns_between() {
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
}
