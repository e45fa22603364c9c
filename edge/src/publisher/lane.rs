//! One lane: its queue, and how a batch of it is published until the broker confirms it.

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
    telemetry::{Metric, Share},
};
use tokio::sync::Notify;

use super::{
    Settings,
    batch::{Batch, Queue, Tell},
    gate::Gate,
    pressure::Pressure,
};
use crate::{
    backoff::Backoff,
    metric::Metrics,
    outbox::{Close, Item, Outbox},
    trace::{self, Trace},
};

/// A lane's queue, shared by all sessions and what publishes it.
#[derive(Debug)]
pub struct LaneQueue {
    lane: Lane,
    subjects: Subjects,
    node: NodeId,
    settings: Settings,
    metrics: Metrics,
    trace: Trace,
    waiting: Gauge,
    state: Mutex<State>,
    /// Told of every frame.
    work: Arc<Notify>,
    /// Frames of the batch under way.
    under_way: AtomicUsize,
    pressure: Pressure,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    /// Sessions that found it full; all are woken when a batch leaves.
    waiting: Waiting,
    /// The number of the stream for which frames are taken: all that are in the queue are of sessions that began with it.
    stream: u32,
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

    fn wake(&self) {
        self.sessions.iter().for_each(|session| session.wake());
    }
}

/// How far a lane has published.
#[derive(Debug, Default)]
pub struct Sent {
    /// Batches, the one under way included.
    batches: u64,
    /// The stream that holds the last one.
    stream: u32,
    /// Its place in that.
    place: u64,
}

/// Begins with another stream, in all lanes as one: `next` gives its number while none of them takes a frame, so that
/// no session that begins with it finds its frame in a queue that is dropped. Returns the number, and the frames that
/// were dropped or are about to be.
pub fn begin(lanes: &[Arc<LaneQueue>], next: impl FnOnce() -> u32) -> (u32, usize) {
    let mut states: Vec<_> = lanes.iter().map(|lane| lane.state()).collect();
    let stream = next();
    let (mut dropped, mut waiting, mut frames) = (Vec::new(), Vec::new(), 0);
    for (lane, state) in lanes.iter().zip(&mut states) {
        state.stream = stream;
        waiting.push(std::mem::take(&mut state.waiting));
        // What is under way is dropped by what publishes it.
        frames += state.queue.frames() + lane.under_way.load(Ordering::Relaxed);
        while let Some(batch) = state.queue.pop() {
            dropped.push((lane, batch));
        }
    }
    drop(states);
    for (lane, batch) in dropped {
        lane.give_up(&batch.senders);
    }
    waiting.iter().for_each(Waiting::wake);
    (stream, frames)
}

impl LaneQueue {
    /// An empty one.
    pub fn new(
        lane: Lane,
        subjects: Subjects,
        node: NodeId,
        settings: Settings,
        (metrics, trace): (Metrics, Trace),
        work: Arc<Notify>,
    ) -> Self {
        let queue = Queue::new(settings.batch_bytes, settings.queue_frames).traced(trace.is_on());
        let state = Mutex::new(State { queue, waiting: Waiting::default(), stream: 0 });
        let waiting = Metric::EdgeQueueFrames.gauge(&[("lane", &lane.0.to_string())]);
        let under_way = AtomicUsize::new(0);
        let pressure = Pressure::default();
        Self { lane, subjects, node, settings, metrics, trace, waiting, state, work, under_way, pressure }
    }

    /// Which lane.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Whether the broker takes its batches.
    pub fn pressure(&self) -> &Pressure {
        &self.pressure
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

    /// Takes a frame. False: full; the session is woken when there may be room. One of a session that began with an
    /// earlier stream is dropped, and its session ended: its client is to send it again, behind what was lost there.
    pub fn take(&self, frame: &Accepted, session: &Arc<Outbox>) -> bool {
        let mut state = self.state();
        if session.stream() < state.stream {
            drop(state);
            self.metrics.vanished.increment(1);
            session.close(Close::Wiped);
            return true;
        }
        if !state.queue.push(frame, session) {
            state.waiting.add(session);
            return false;
        }
        drop(state);
        trace::frame_taken(frame, self.lane);
        self.waiting.increment(1.0);
        self.work.notify_one();
        true
    }

    /// The oldest batch, and for which stream it was taken. Sessions that found the queue full may try again.
    pub fn next(&self) -> Option<(Batch, u32)> {
        let mut state = self.state();
        let batch = state.queue.pop()?;
        self.under_way.store(batch.frames(), Ordering::Relaxed);
        let (waiting, stream) = (std::mem::take(&mut state.waiting), state.stream);
        drop(state);
        waiting.wake();
        Some((batch, stream))
    }

    /// Publishes the batch until the broker holds it, then tells its senders; or drops it, when the stream for which it
    /// was taken is no more. The broker may have had it in that one: nobody can know.
    pub async fn publish(&self, gate: &Gate, (batch, stream): (Batch, u32), sent: &mut Sent) {
        let Batch { bytes, accepted, kind, senders, marks } = batch;
        sent.batches += 1;
        // The broker drops a second copy of the same id, so that trying again is harmless.
        let id = format!("{}-{}-{}", self.node, self.lane.0, sent.batches);
        let (subject, bytes) = (self.subjects.inbound(self.lane, kind), Bytes::from(bytes));
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
        let (began, mut failed) = (Instant::now(), 0_u32);
        let _under_way = Share::of(&self.metrics.publishes, 1.0);
        let (open, place) = loop {
            let open = gate.open().await;
            if open.stream != stream {
                self.pressure.taken();
                self.under_way.store(0, Ordering::Relaxed);
                self.give_up(&senders);
                return;
            }
            match open.way.publish(&subject, (&id, accepted), bytes.clone()).await {
                Ok(place) => break (open, place),
                Err(reason) => {
                    gate.doubt(&open);
                    failed += 1;
                    self.pressure.refused(began);
                    self.metrics.publish_retries.increment(1);
                    // Once at the start of an outage, not once a try.
                    if failed == 3 {
                        tracing::warn!(
                            lane = self.lane.0,
                            reason,
                            "the broker does not take a batch; trying on"
                        );
                    }
                }
            }
            tokio::time::sleep(backoff.pause()).await;
        };
        self.pressure.taken();
        if failed >= 3 {
            tracing::info!(lane = self.lane.0, failed, "the broker takes batches again");
        }
        let before = if sent.stream == stream { sent.place } else { 0 };
        (sent.stream, sent.place) = (stream, place);
        gate.confirmed(&open, place, before);
        self.trace.accepted(self.lane, place, &senders, &marks);
        self.under_way.store(0, Ordering::Relaxed);
        let frames = self.done(&senders);
        self.metrics.publish_frames.increment(frames);
        self.metrics.publish_batches.increment(1);
        self.metrics.publish_bytes.increment(bytes.len() as u64);
        self.metrics.publish_batch_frames.record(frames as f64);
        self.metrics.publish_seconds.record(began.elapsed().as_secs_f64());
        for sender in senders {
            if !sender.queued.is_empty() {
                self.metrics.publish_queued_acks.increment(sender.queued.len() as u64);
            }
            for message in sender.queued {
                // Full: the ack is lost, and its sender waits for the one that matters, `stored`.
                sender.session.queue(Item::Queued(message), usize::MAX);
            }
            sender.session.published(sender.frames, self.settings.unpublished);
        }
    }

    /// Drops these frames: they count as vanished, and with their sessions they wait no longer.
    fn give_up(&self, senders: &[Tell]) {
        let frames = self.done(senders);
        self.metrics.vanished.increment(frames);
        for sender in senders {
            sender.session.published(sender.frames, self.settings.unpublished);
        }
    }

    /// These frames do not wait for the broker any more; how many they are.
    fn done(&self, senders: &[Tell]) -> u64 {
        let frames = senders.iter().map(|sender| u64::from(sender.frames)).sum();
        self.waiting.decrement(frames as f64);
        frames
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
