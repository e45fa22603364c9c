//! `session.cursor` and `session.close`: what sessions have to tell, coalesced and tried until a worker has it.
//!
//! Gathers for `node.cursor_ms`; the end of a session sends it at once. What moves a cursor over frames that the device
//! sent itself may stay [`OWN`] times as long: whoever writes to many would have a cursor moved for every message, which
//! costs half as much as storing it. So may all of them, [`MANY`] times as long, while thousands of devices read.
//! Capacity: [`CAPACITY`] entries; when full the new ones are dropped and counted, since losing one only repeats a
//! delivery.

mod batch;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use shared::{
    ids::NodeId,
    rpc::{Close, Cursors, Done, Registration, Told},
    telemetry::{self, Metric, Share},
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use self::batch::Batch;
use super::{CallError, Calls};
use crate::{backoff::Backoff, metric::Metrics, session::tracks::Clock};

/// The most entries that gather.
pub const CAPACITY: usize = 200_000;
/// How many times as long moves over own frames may stay.
const OWN: u32 = 10;
/// How many times as long moves may stay while there are more than one call holds.
const MANY: u32 = 4;
/// Entries of one call.
const PER_CALL: usize = 1000;
/// Calls under way at a time.
const CALLS: usize = 4;

/// Gathers what sessions have to tell. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Notes {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    gathering: Mutex<Batch>,
    generation: AtomicU64,
    flushed: AtomicU64,
    own_generation: AtomicU64,
    own_flushed: AtomicU64,
    urgent: AtomicBool,
    wake: Notify,
    metrics: Metrics,
}

impl Notes {
    /// An empty one; [`Notes::run`] sends what it gathers.
    pub fn new(metrics: Metrics) -> Self {
        let inner = Inner {
            gathering: Mutex::default(),
            generation: AtomicU64::new(1),
            flushed: AtomicU64::new(0),
            own_generation: AtomicU64::new(1),
            own_flushed: AtomicU64::new(0),
            urgent: AtomicBool::new(false),
            wake: Notify::new(),
            metrics,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Which generation gathers now and which have reached a worker.
    pub fn clock(&self) -> Clock {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let inner = &self.inner;
        Clock {
            gathering: load(&inner.generation),
            flushed: load(&inner.flushed),
            own_gathering: load(&inner.own_generation),
            own_flushed: load(&inner.own_flushed),
        }
    }

    /// Acknowledgements of a session.
    pub fn cursors(&self, cursors: Cursors) {
        self.gather(|batch| batch.cursors(cursors));
    }

    /// Receipts that have been written.
    pub fn told(&self, told: Vec<Told>) {
        self.gather(|batch| batch.cursors(Cursors { told, ..Cursors::default() }));
    }

    /// A session has ended: its last acknowledgements go out now, then its route.
    pub fn closed(&self, session: Registration) {
        self.inner.urgent.store(true, Ordering::Relaxed);
        self.gather(|batch| batch.close(session));
    }

    fn gather(&self, add: impl FnOnce(&mut Batch) -> usize) {
        let dropped = add(&mut self.inner.gathering.lock().unwrap_or_else(PoisonError::into_inner));
        self.inner.metrics.notes_dropped.increment(dropped as u64);
        self.inner.wake.notify_one();
    }

    /// What has gathered and is due; what is not due stays.
    fn take(&self, due: &Due, now: Instant, last: bool) -> Taken {
        let mut gathering = self.inner.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        let next = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let own = (last || now >= due.own || gathering.own().is_urgent()).then(|| {
            gathering.hurry();
            next(&self.inner.own_generation)
        });
        let with_moves = last || own.is_some() || now >= due.moves || !gathering.may_wait(PER_CALL);
        let generation = with_moves.then(|| next(&self.inner.generation));
        let batch = gathering.take(with_moves);
        let left = [(gathering.has_moves(), due.moves), (!gathering.own().is_empty(), due.own)];
        let left = left.into_iter().filter_map(|(some, due)| some.then_some(due)).min();
        Taken { batch, generation, own, left }
    }

    /// Sends what gathers, every `interval`, until `shutdown`; then what is left, and ends.
    pub async fn run(self, calls: Calls, node: NodeId, interval: Duration, shutdown: CancellationToken) {
        let mut due = Due { moves: Instant::now(), own: Instant::now() };
        let mut left = None;
        loop {
            self.until_due(interval, left, &shutdown).await;
            let last = shutdown.is_cancelled();
            let now = Instant::now();
            let taken = self.take(&due, now, last);
            left = taken.left;
            if taken.generation.is_some() {
                due.moves = now + interval * MANY;
            }
            if taken.own.is_some() {
                due.own = now + interval * OWN;
            }
            if !taken.batch.is_empty() {
                let waiting = Share::of(&self.inner.metrics.notes_waiting, taken.batch.entries() as f64);
                flush(&calls, &node, taken.batch).await;
                drop(waiting);
            }
            for (flushed, generation) in
                [(&self.inner.flushed, taken.generation), (&self.inner.own_flushed, taken.own)]
            {
                if let Some(generation) = generation {
                    flushed.store(generation, Ordering::Relaxed);
                }
            }
            if last {
                return;
            }
        }
    }

    /// Until something has gathered and is due, or all ends. `left`: when what had to wait is.
    async fn until_due(&self, interval: Duration, left: Option<Instant>, shutdown: &CancellationToken) {
        let left = async {
            match left {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let something = async {
            self.inner.wake.notified().await;
            let pause = tokio::time::sleep(interval);
            tokio::pin!(pause);
            while !self.inner.urgent.swap(false, Ordering::Relaxed) {
                tokio::select! {
                    () = &mut pause => return,
                    () = self.inner.wake.notified() => {}
                }
            }
        };
        tokio::select! {
            () = something => {}
            () = left => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// What was taken.
struct Taken {
    batch: Batch,
    /// The generation of moves that it is, if it has them.
    generation: Option<u64>,
    /// The same of moves over own frames.
    own: Option<u64>,
    /// When what was left is due, if something was.
    left: Option<Instant>,
}

/// Until when moves may wait.
struct Due {
    moves: Instant,
    own: Instant,
}

/// Cursors first, then routes: who connects elsewhere now finds where it was.
async fn flush(calls: &Calls, node: &NodeId, batch: Batch) {
    let batch::Calls { first, later, closed } = batch.into_calls(PER_CALL);
    for stage in [first, later] {
        let sent = stream::iter(stage).map(async |part: Cursors| {
            let moves = part.moves.len() as u64;
            let result = if send(calls, "session.cursor", part).await { "ok" } else { "error" };
            telemetry::count(Metric::EdgeCursorMoves, &[("result", result)], moves);
        });
        sent.buffer_unordered(CALLS).collect::<()>().await;
    }
    let closed = closed.into_iter().map(|sessions| Close { node: node.clone(), sessions });
    let sent = stream::iter(closed).map(|part| send(calls, "session.close", part)).buffer_unordered(CALLS);
    // Refusals have been logged; there is nothing else to do about them.
    sent.collect::<Vec<_>>().await;
}

/// Tries until a worker has it, or says that it never will.
async fn send<T: serde::Serialize>(calls: &Calls, call: &'static str, part: T) -> bool {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        match calls.call::<_, Done>(call, &part, calls.timeout()).await {
            Ok(Done {}) => return true,
            Err(CallError::Refused { code, reason, .. })
                if code != shared::command::Code::Unavailable.as_str() =>
            {
                tracing::error!(call, code, reason, "a worker refuses what a session had to tell");
                return false;
            }
            Err(error) => tracing::debug!(%error, "tried again in a moment"),
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}
