//! Waking the sessions of a crowd: a slice at a time and with rests, so that nobody else waits until a group of thousands
//! has written.
//!
//! What a crowd gets is queued at once and in order; only its sessions' turns are spread. What comes for them
//! meanwhile they write together: the busier the node, the longer the rests and the fewer the writes. Whoever writes to a
//! crowd is read again once it has had its turns, so that neither it nor others wait ever longer. Bounded by the node's
//! sessions, of which each waits here once, and by the frames that writers had under way when they were held.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use shared::ids::SessionNo;
use tokio::{sync::Notify, task::yield_now, time::Instant};

use crate::{
    outbox::{Outbox, Wakes},
    rest::Rest,
};

/// More recipients than this make a crowd.
pub const CROWD: usize = 256;
/// So many sessions have their turn before others have theirs.
const SLICE: usize = 32;
/// A rest lasts so many times as long as the slice's turns, with all others that were had meanwhile: a third of the time
/// is the crowd's.
const RESTS: u32 = 2;

/// Sessions of crowds that are to be woken. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Crowds {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<Waiting>,
    work: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    turns: VecDeque<Turn>,
    /// How often a writer is among them.
    writers: HashMap<SessionNo, usize>,
}

impl Waiting {
    /// Whether this turn was the writer's last.
    fn last_of(&mut self, writer: SessionNo) -> bool {
        match self.writers.get_mut(&writer) {
            Some(more) if *more > 1 => {
                *more -= 1;
                false
            }
            _ => {
                self.writers.remove(&writer);
                true
            }
        }
    }
}

#[derive(Debug)]
enum Turn {
    /// A session that has something to write.
    Session(Waker),
    /// All sessions of a crowd have had theirs: whoever wrote to it is read again.
    Writer(Arc<Outbox>),
}

impl Crowds {
    /// Leaves them to [`Self::run`]. `writer`, if it is on this node, is not read until they have had their turns: who
    /// writes faster than a crowd can be told would only make it wait the longer.
    pub fn wake(&self, sessions: Wakes, writer: Option<Arc<Outbox>>) {
        let mut waiting = self.inner.waiting();
        waiting.turns.extend(sessions.into_wakers().into_iter().map(Turn::Session));
        if let Some(writer) = writer {
            writer.hold();
            *waiting.writers.entry(writer.who.session).or_default() += 1;
            waiting.turns.push_back(Turn::Writer(writer));
        }
        drop(waiting);
        self.inner.work.notify_one();
    }

    /// Wakes them, for ever.
    pub async fn run(&self) {
        let mut rest = Rest::of_times(RESTS);
        loop {
            let slice: Vec<Turn> = {
                let mut waiting = self.inner.waiting();
                let some = waiting.turns.len().min(SLICE);
                waiting.turns.drain(..some).collect()
            };
            if slice.is_empty() {
                self.inner.work.notified().await;
                continue;
            }
            let began = Instant::now();
            for turn in slice {
                match turn {
                    Turn::Session(session) => session.wake(),
                    Turn::Writer(writer) => {
                        let mut waiting = self.inner.waiting();
                        // Under the lock: what it writes next may be here at once, and holds it again.
                        if waiting.last_of(writer.who.session) {
                            writer.release();
                        }
                    }
                }
            }
            yield_now().await;
            rest.after(began.elapsed()).await;
        }
    }
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
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
    use crate::testing::session;

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
        crowds.wake((0..SLICE * 2 + 3).map(|_| Waker::from(sessions.clone())).collect(), None);
        let mut seen = Vec::new();
        for _ in 0..5 {
            assert!(run.as_mut().poll(&mut context).is_pending(), "it gives way");
            seen.push(sessions.0.load(Ordering::Relaxed));
        }
        assert_eq!(seen, [SLICE, 2 * SLICE, 2 * SLICE + 3, 2 * SLICE + 3, 2 * SLICE + 3]);
        crowds.wake([Waker::from(sessions.clone())].into_iter().collect(), None);
        assert!(run.as_mut().poll(&mut context).is_pending());
        assert_eq!(sessions.0.load(Ordering::Relaxed), 2 * SLICE + 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_is_held_until_every_crowd_that_it_wrote_to_has_had_its_turns() {
        let (crowds, sessions) = (Crowds::default(), Arc::new(Woken::default()));
        let writer = session(1, "phone", 1);
        let crowd = |size| (0..size).map(|_| Waker::from(sessions.clone())).collect();
        let mut run = pin!(crowds.run());
        let mut context = Context::from_waker(Waker::noop());
        crowds.wake(crowd(SLICE), Some(writer.clone()));
        crowds.wake(crowd(SLICE - 2), Some(writer.clone()));
        assert!(run.as_mut().poll(&mut context).is_pending());
        assert!(!writer.may_be_read(1), "the whole slice were others");
        assert!(run.as_mut().poll(&mut context).is_pending());
        assert_eq!(sessions.0.load(Ordering::Relaxed), 2 * SLICE - 2);
        assert!(writer.may_be_read(1));
        assert!(writer.poll_woken(&mut context).is_ready(), "it is to read on");
    }
}
