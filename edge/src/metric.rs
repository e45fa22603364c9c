//! The edge's own figures: handles taken once, since a look-up by name costs more than adding. What each means stands
//! in [`shared::telemetry::Metric`].

use metrics::{Counter, Gauge, Histogram};
use shared::{
    command::Code,
    subject::BatchKind,
    telemetry::{self, Metric, Moment},
};

use crate::{
    calls::{backlogs, notes::CAPACITY},
    config::EdgeConfig,
    listener::Way,
};

/// A delivery whose way is measured from accepting its frame to writing it. One of each kind a batch is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// When the oldest frame of its chunk was accepted.
    pub accepted: Moment,
    /// What it is.
    pub what: Marked,
    /// Of which kind of frame.
    pub kind: MarkedKind,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// The answer to its sender.
    Answer,
    /// A delivery to a recipient.
    Push,
}

/// Kinds of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkedKind {
    /// Messages to a user.
    Message,
    /// Messages to a group.
    Group,
    /// Requests.
    Request,
}

/// As [`MarkedKind`] and the accepted frames' counters have them.
const KINDS: [&str; 3] = ["m", "gm", "r"];

/// The handles. Made once a node, after the recorder has been installed.
#[derive(Clone)]
#[expect(missing_docs, reason = "named as in shared::telemetry::Metric")]
pub struct Metrics {
    pub connections: Gauge,
    pub ways: [Gauge; 3],
    pub opened: Counter,
    pub refused_connections: Counter,
    pub sessions: Gauge,
    pub backlog_sessions: Gauge,
    pub paused_sessions: Gauge,
    pub login_seconds: Histogram,
    pub heartbeats: Counter,
    pub publish_batches: Counter,
    pub publish_frames: Counter,
    pub publish_queued_acks: Counter,
    pub publish_bytes: Counter,
    pub publish_retries: Counter,
    pub publish_seconds: Histogram,
    pub publish_batch_frames: Histogram,
    pub vanished: Counter,
    pub streams_wiped: Counter,
    pub written: Counter,
    pub noted: Counter,
    pub duplicates: Counter,
    pub nobody: Counter,
    pub overflows: Counter,
    pub backlog_frames: Counter,
    pub acks: Counter,
    pub reads: Counter,
    pub acks_unmatched: Counter,
    pub notes_dropped: Counter,
    pub panics: Counter,
    pub backlog_read_seconds: Histogram,
    pub backlog_reads_waiting: Gauge,
    pub backlog_reads: Gauge,
    pub notes_waiting: Gauge,
    pub publishes: Gauge,
    pub moves: Counter,
    accepted: [Counter; 3],
    answer_seconds: [Histogram; 3],
    delivery_seconds: [Histogram; 3],
}

impl Metrics {
    /// Handles of the recorder that is installed now.
    pub fn new() -> Self {
        let counter = |metric: Metric| metric.counter(&[]);
        let drop = |reason: &'static str| Metric::EdgeDrops.counter(&[("reason", reason)]);
        let opened = |result: &'static str| Metric::EdgeConnectionsOpened.counter(&[("result", result)]);
        let reads = |state: &'static str| Metric::EdgeBacklogReadsUnderWay.gauge(&[("state", state)]);
        let acks = |level: &'static str| Metric::EdgeAcks.counter(&[("level", level)]);
        Self {
            connections: Metric::EdgeConnections.gauge(&[]),
            ways: Way::ALL.map(|way| Metric::EdgeWayConnections.gauge(&[("way", way.as_str())])),
            opened: opened("accepted"),
            refused_connections: opened("refused"),
            sessions: Metric::EdgeSessions.gauge(&[]),
            backlog_sessions: Metric::EdgeBacklogSessions.gauge(&[]),
            paused_sessions: Metric::EdgePausedSessions.gauge(&[]),
            login_seconds: Metric::EdgeLoginSeconds.histogram(&[]),
            heartbeats: counter(Metric::EdgeHeartbeatsAnswered),
            publish_batches: counter(Metric::EdgePublishBatches),
            publish_frames: counter(Metric::EdgePublishFrames),
            publish_queued_acks: counter(Metric::EdgePublishQueuedAcks),
            publish_bytes: counter(Metric::EdgePublishBytes),
            publish_retries: counter(Metric::EdgePublishRetries),
            publish_seconds: Metric::EdgePublishSeconds.histogram(&[]),
            publish_batch_frames: Metric::EdgePublishBatchFrames.histogram(&[]),
            vanished: counter(Metric::EdgeFramesVanished),
            streams_wiped: counter(Metric::EdgeStreamsWiped),
            written: counter(Metric::EdgeFramesWritten),
            noted: drop("noted"),
            duplicates: drop("duplicate"),
            nobody: drop("nobody"),
            overflows: counter(Metric::EdgeOutboxOverflows),
            backlog_frames: counter(Metric::EdgeBacklogFrames),
            acks: acks("ack"),
            reads: acks("read"),
            acks_unmatched: counter(Metric::EdgeAcksUnmatched),
            notes_dropped: counter(Metric::EdgeNotesDropped),
            panics: counter(Metric::EdgeSessionPanics),
            backlog_read_seconds: Metric::EdgeBacklogReadSeconds.histogram(&[]),
            backlog_reads_waiting: reads("waiting"),
            backlog_reads: reads("reading"),
            notes_waiting: Metric::EdgeNotesWaiting.gauge(&[]),
            publishes: Metric::EdgePublishesUnderWay.gauge(&[]),
            moves: counter(Metric::EdgeMoves),
            accepted: KINDS.map(|kind| Metric::EdgeFramesAccepted.counter(&[("kind", kind)])),
            answer_seconds: KINDS.map(|kind| Metric::EdgeAckSeconds.histogram(&[("kind", kind)])),
            delivery_seconds: KINDS.map(|kind| Metric::EdgeDeliverySeconds.histogram(&[("kind", kind)])),
        }
    }

    /// A frame was taken for publishing.
    pub fn accepted(&self, kind: BatchKind) {
        let [message, group, request] = &self.accepted;
        match kind {
            BatchKind::Message => message.increment(1),
            BatchKind::GroupMessage => group.increment(1),
            BatchKind::Request | BatchKind::Mixed => request.increment(1),
        }
    }

    /// What was marked has been written.
    pub fn arrived(&self, mark: Mark) {
        let seconds = match mark.what {
            Marked::Answer => &self.answer_seconds,
            Marked::Push => &self.delivery_seconds,
        };
        let kind = match mark.kind {
            MarkedKind::Message => 0,
            MarkedKind::Group => 1,
            MarkedKind::Request => 2,
        };
        seconds[kind].record(mark.accepted.elapsed());
    }

    /// A connection ended, and why.
    pub fn closed(&self, reason: &'static str) {
        telemetry::count(Metric::EdgeConnectionsClosed, &[("reason", reason)], 1);
    }

    /// So did the session on it.
    pub fn session_ended(&self, reason: &'static str) {
        telemetry::count(Metric::EdgeSessionsEnded, &[("reason", reason)], 1);
    }

    /// A frame or request was refused by this node.
    pub fn refused(&self, code: Code) {
        telemetry::count(Metric::EdgeFramesRefused, &[("code", code.as_str())], 1);
    }

    /// A session began to read from the backlog, and why.
    pub fn behind(&self, reason: &'static str) {
        telemetry::count(Metric::EdgeBacklogEntered, &[("reason", reason)], 1);
    }
}

/// Says how much there may be of what is bounded, once at the start.
pub fn limits(config: &EdgeConfig, http_connections: usize) {
    for (metric, limit) in [
        (Metric::EdgeConnectionsLimit, config.limits.connections),
        (Metric::EdgePublishesLimit, usize::from(config.nats.lanes)),
        (Metric::EdgeQueueLimit, config.publisher.queue_frames),
        (Metric::EdgeBacklogReadsLimit, backlogs::LIMIT),
        (Metric::EdgeNotesLimit, CAPACITY),
        (Metric::EdgeHttpConnectionsLimit, http_connections),
    ] {
        telemetry::set(metric, &[], limit as f64);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}
