//! `session.cursor` and `session.close`: what sessions have to tell, coalesced and tried until a worker has it.
//!
//! Gathers for `node.cursor_ms`; the end of a session sends it at once. Capacity: [`CAPACITY`] entries; when full the
//! new ones are dropped and counted, since losing one only repeats a delivery.

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
    telemetry::{self, Metric},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::batch::Batch;
use super::{CallError, Calls};
use crate::{backoff::Backoff, metric::Metrics, session::tracks::Clock};

/// The most entries that gather.
pub const CAPACITY: usize = 200_000;
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
            urgent: AtomicBool::new(false),
            wake: Notify::new(),
            metrics,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Which generation gathers now and which have reached a worker.
    pub fn clock(&self) -> Clock {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Clock { gathering: load(&self.inner.generation), flushed: load(&self.inner.flushed) }
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

    fn take(&self) -> Batch {
        let mut gathering = self.inner.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.generation.fetch_add(1, Ordering::Relaxed);
        std::mem::take(&mut gathering)
    }

    /// Sends what gathers, every `interval`, until `shutdown`; then what is left, and ends.
    pub async fn run(self, calls: Calls, node: NodeId, interval: Duration, shutdown: CancellationToken) {
        loop {
            self.until_due(interval, &shutdown).await;
            let last = shutdown.is_cancelled();
            let generation = self.inner.generation.load(Ordering::Relaxed);
            let batch = self.take();
            if !batch.is_empty() {
                flush(&calls, &node, batch).await;
            }
            self.inner.flushed.store(generation, Ordering::Relaxed);
            if last {
                return;
            }
        }
    }

    /// Until something has gathered and is due, or all ends.
    async fn until_due(&self, interval: Duration, shutdown: &CancellationToken) {
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
            () = shutdown.cancelled() => {}
        }
    }
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
