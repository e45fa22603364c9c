//! The worker's own figures: handles taken once, since a look-up by name costs more than adding. What each means stands
//! in [`shared::telemetry::Metric`]; what happens rarely is counted by name where it happens.

use std::sync::LazyLock;

use metrics::{Counter, Gauge, Histogram};
use shared::{
    command::Code,
    subject::BatchKind,
    telemetry::{Metric, Share},
};

use crate::{
    account::WAITING,
    config::WorkerConfig,
    delivery::answers::IN_ALL,
    lane::{committer::PULLED, finish::UNFINISHED},
    pipeline::effect::Outcome,
};

/// The handles.
#[expect(missing_docs, reason = "named as in shared::telemetry::Metric")]
pub struct Metrics {
    pub chunks_ok: Counter,
    pub chunks_lost: Counter,
    pub chunk_frames: Histogram,
    pub decode_seconds: Histogram,
    pub store_seconds: Histogram,
    pub routes_seconds: Histogram,
    pub deliver_seconds: Histogram,
    pub ack_seconds: Histogram,
    pub chunk_seconds: Histogram,
    pub lane_wait_seconds: Histogram,
    pub pulled: Gauge,
    pub unfinished: Gauge,
    pub committers: Gauge,
    pub confirmed: Counter,
    pub delivery_frames: Counter,
    pub delivery_bytes: Counter,
    pub delivery_seconds: Histogram,
    pub directory_seconds: Histogram,
    pub pool_used: Gauge,
    pub pool_idle: Gauge,
    pub pool_wait_seconds: Histogram,
    pub statement_seconds: Histogram,
    pub rpc_under_way: Gauge,
    pub passwords_under_way: Gauge,
    pub password_seconds: Histogram,
    pub answers_kept: Gauge,
    frames: [[Counter; 4]; 4],
}

/// Frames by kind and outcome, counted up before they are told: one step of a counter a chunk, not a frame.
#[derive(Debug, Default)]
pub struct Tally([[u64; 4]; 4]);

impl Tally {
    /// So many frames of this kind, `None` where it could not be read, with this outcome.
    pub fn add(&mut self, kind: Option<BatchKind>, outcome: Outcome, count: u64) {
        let kind = match kind {
            Some(BatchKind::Message) => 0,
            Some(BatchKind::GroupMessage) => 1,
            Some(BatchKind::Request | BatchKind::Mixed) => 2,
            None => 3,
        };
        let outcome = match outcome {
            Outcome::Stored => 0,
            Outcome::Duplicate => 1,
            Outcome::Refused(_) => 2,
            Outcome::Dead => 3,
        };
        self.0[kind][outcome] += count;
    }
}

/// Handles of the recorder that is installed when this is first asked for: a process installs one before anything else.
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);
    &METRICS
}

/// Says how much there may be of what is bounded, once at the start.
pub fn limits(config: &WorkerConfig) {
    let committers = config.worker.committers;
    for (metric, limit) in [
        (Metric::WorkerLanes, usize::from(config.nats.lanes)),
        (Metric::WorkerCommittersLimit, committers),
        (Metric::WorkerPulledLimit, committers * PULLED),
        (Metric::WorkerUnfinishedLimit, committers * UNFINISHED as usize),
        (Metric::WorkerPoolLimit, config.postgres.pool as usize),
        (Metric::WorkerRpcLimit, config.rpc.concurrency),
        (Metric::WorkerPasswordsLimit, config.account.hashers * (WAITING + 1)),
        (Metric::WorkerAnswersLimit, IN_ALL),
    ] {
        metric.gauge(&[]).set(limit as f64);
    }
}

impl Metrics {
    fn new() -> Self {
        let counter = |metric: Metric| metric.counter(&[]);
        let histogram = |metric: Metric| metric.histogram(&[]);
        let chunks = |result: &'static str| Metric::WorkerChunks.counter(&[("result", result)]);
        let step = |step: &'static str| Metric::WorkerChunkSeconds.histogram(&[("step", step)]);
        let pool = |state: &'static str| Metric::WorkerPoolConnections.gauge(&[("state", state)]);
        let frames = |kind: &'static str| {
            ["stored", "duplicate", "refused", "dead"]
                .map(|outcome| Metric::WorkerFrames.counter(&[("outcome", outcome), ("kind", kind)]))
        };
        Self {
            chunks_ok: chunks("ok"),
            chunks_lost: chunks("lost"),
            chunk_frames: histogram(Metric::WorkerChunkFrames),
            decode_seconds: step("decode"),
            store_seconds: step("store"),
            routes_seconds: step("routes"),
            deliver_seconds: step("deliver"),
            ack_seconds: step("ack"),
            chunk_seconds: step("all"),
            lane_wait_seconds: histogram(Metric::WorkerLaneWaitSeconds),
            pulled: Metric::WorkerPulled.gauge(&[]),
            unfinished: Metric::WorkerUnfinished.gauge(&[]),
            committers: Metric::WorkerCommitters.gauge(&[]),
            confirmed: Metric::WorkerDeliveries.counter(&[("result", "confirmed")]),
            delivery_frames: counter(Metric::WorkerDeliveryFrames),
            delivery_bytes: counter(Metric::WorkerDeliveryBytes),
            delivery_seconds: histogram(Metric::WorkerDeliverySeconds),
            directory_seconds: histogram(Metric::WorkerDirectorySeconds),
            pool_used: pool("used"),
            pool_idle: pool("idle"),
            pool_wait_seconds: histogram(Metric::WorkerPoolWaitSeconds),
            statement_seconds: histogram(Metric::WorkerStatementSeconds),
            rpc_under_way: Metric::WorkerRpcUnderWay.gauge(&[]),
            passwords_under_way: Metric::WorkerPasswordsUnderWay.gauge(&[]),
            password_seconds: histogram(Metric::WorkerPasswordSeconds),
            answers_kept: Metric::WorkerAnswersKept.gauge(&[]),
            frames: ["m", "gm", "r", "unknown"].map(frames),
        }
    }

    /// What became of frames.
    pub fn frames(&self, tally: &Tally) {
        for (counter, count) in self.frames.iter().flatten().zip(tally.0.iter().flatten()) {
            if *count > 0 {
                counter.increment(*count);
            }
        }
    }

    /// A frame was refused by a rule, and by which.
    pub fn refused(&self, code: Code) {
        Metric::WorkerRefusals.counter(&[("code", code.as_str())]).increment(1);
    }

    /// One more of what this gauge counts, until dropped.
    pub fn one_more(gauge: &Gauge) -> Share {
        Share::of(gauge, 1.0)
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_tells_kinds_and_outcomes_apart() {
        let mut tally = Tally::default();
        tally.add(Some(BatchKind::GroupMessage), Outcome::Stored, 7);
        tally.add(Some(BatchKind::GroupMessage), Outcome::Stored, 1);
        tally.add(None, Outcome::Dead, 1);
        assert_eq!(tally.0, [[0; 4], [8, 0, 0, 0], [0; 4], [0, 0, 0, 1]]);
    }
}
