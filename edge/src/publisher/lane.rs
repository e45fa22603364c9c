//! One lane: its queue, and the task that publishes batch after batch, each until the broker confirms it.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use metrics::Gauge;
use shared::{
    ids::{NodeId, SessionNo},
    message::Accepted,
    subject::{Lane, Subjects},
    telemetry::Metric,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    Settings,
    batch::{Batch, Queue},
    sink::Sink,
};
use crate::{
    backoff::Backoff,
    metric::Metrics,
    outbox::{Item, Outbox},
};

/// A lane's queue, shared by its task and all sessions.
#[derive(Debug)]
pub struct LaneQueue {
    lane: Lane,
    subjects: Subjects,
    node: NodeId,
    settings: Settings,
    metrics: Metrics,
    waiting: Gauge,
    state: Mutex<State>,
    work: Notify,
    /// Frames of the batch under way.
    under_way: AtomicUsize,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    /// Sessions that found it full; all are woken when a batch leaves.
    waiting: Waiting,
}

/// Sessions in the order in which they came. Bounded by `limits.connections`: each stands here once, however often it
/// tries, and those that are gone are forgotten.
#[derive(Debug, Default)]
struct Waiting {
    sessions: Vec<Arc<Outbox>>,
    known: HashSet<SessionNo>,
    sweep_at: usize,
}

impl Waiting {
    fn add(&mut self, session: &Arc<Outbox>) {
        if !self.known.insert(session.who.session) {
            return;
        }
        if self.sessions.len() >= self.sweep_at {
            self.sessions.retain(|session| !session.is_gone());
            self.known = self.sessions.iter().map(|session| session.who.session).collect();
            self.known.insert(session.who.session);
            self.sweep_at = 64.max(self.sessions.len() * 2);
        }
        self.sessions.push(session.clone());
    }
}

impl LaneQueue {
    /// An empty one.
    pub fn new(lane: Lane, subjects: Subjects, node: NodeId, settings: Settings, metrics: Metrics) -> Self {
        let queue = Queue::new(settings.batch_bytes, settings.queue_frames);
        let state = Mutex::new(State { queue, waiting: Waiting::default() });
        let waiting = Metric::EdgeQueueFrames.gauge(&[("lane", &lane.0.to_string())]);
        let under_way = AtomicUsize::new(0);
        Self { lane, subjects, node, settings, metrics, waiting, state, work: Notify::new(), under_way }
    }

    /// Which lane.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Frames that the broker has not confirmed.
    pub fn waiting(&self) -> usize {
        self.state().queue.frames() + self.under_way.load(Ordering::Relaxed)
    }

    /// Sessions to be woken when there may be room.
    #[cfg(test)]
    pub fn sessions_waiting(&self) -> usize {
        self.state().waiting.sessions.len()
    }

    /// Takes a frame. False: full; the session is woken when there may be room.
    pub fn take(&self, frame: &Accepted, session: &Arc<Outbox>) -> bool {
        let mut state = self.state();
        if !state.queue.push(frame, session) {
            state.waiting.add(session);
            return false;
        }
        drop(state);
        self.waiting.increment(1.0);
        self.work.notify_one();
        true
    }

    /// Publishes until `ending`, then what is left, and ends.
    pub async fn run(self: Arc<Self>, sink: Arc<dyn Sink>, ending: CancellationToken) {
        let mut published = 0_u64;
        loop {
            let Some(batch) = self.next() else {
                if ending.is_cancelled() {
                    return;
                }
                tokio::select! {
                    () = self.work.notified() => {}
                    () = ending.cancelled() => {}
                }
                continue;
            };
            published += 1;
            // The broker drops a second copy of the same id, so that trying again is harmless.
            let id = format!("{}-{}-{published}", self.node, self.lane.0);
            self.publish(&*sink, batch, &id).await;
        }
    }

    /// The oldest batch. Sessions that found the queue full may try again.
    fn next(&self) -> Option<Batch> {
        let mut state = self.state();
        let batch = state.queue.pop()?;
        self.under_way.store(batch.frames(), Ordering::Relaxed);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.sessions.iter().for_each(|session| session.wake());
        Some(batch)
    }

    /// Publishes the batch until the broker holds it, then tells its senders.
    async fn publish(&self, sink: &dyn Sink, batch: Batch, id: &str) {
        let Batch { bytes, kind, senders } = batch;
        let (subject, bytes) = (self.subjects.inbound(self.lane, kind), Bytes::from(bytes));
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
        let (began, mut failed) = (Instant::now(), 0_u32);
        while let Err(reason) = sink.publish(&subject, id, bytes.clone(), self.settings.timeout).await {
            failed += 1;
            self.metrics.publish_retries.increment(1);
            // Once at the start of an outage, not once a try.
            if failed == 3 {
                tracing::warn!(lane = self.lane.0, reason, "the broker does not take a batch; trying on");
            }
            tokio::time::sleep(backoff.pause()).await;
        }
        if failed >= 3 {
            tracing::info!(lane = self.lane.0, failed, "the broker takes batches again");
        }
        let frames: u64 = senders.iter().map(|sender| u64::from(sender.frames)).sum();
        self.under_way.store(0, Ordering::Relaxed);
        self.waiting.decrement(frames as f64);
        self.metrics.publish_frames.increment(frames);
        self.metrics.publish_batches.increment(1);
        self.metrics.publish_bytes.increment(bytes.len() as u64);
        self.metrics.publish_batch_frames.record(frames as f64);
        self.metrics.publish_seconds.record(began.elapsed().as_secs_f64());
        for sender in senders {
            for message in sender.queued {
                // Full: the ack is lost, and its sender waits for the one that matters, `stored`.
                sender.session.queue(Item::Queued(message), usize::MAX);
            }
            sender.session.published(sender.frames, self.settings.unpublished);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
