//! `session.backlog`: reads that gather while the last calls are under way go out as one.
//!
//! A session has one read under way at most, so no more wait here than there are connections. A call that fails is made
//! again with back-off, its reads in smaller and smaller lots: one that takes too long, or that no worker can answer,
//! ends up alone and holds nobody else up.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, FutureExt};
use serde::Serialize;
use shared::{
    delivery::{
        Delivery,
        pages::{How, decode_pages},
    },
    rpc::{self, BACKLOG_READS, Backlog},
    telemetry::{self, Metric, Share},
};
use tokio::sync::mpsc;

use super::{
    CallError, Calls,
    turns::{Again, Turn, Turns},
};
use crate::{
    backoff::Backoff,
    metric::Metrics,
    outbox::{Close, Item, Outbox, Page},
    vital::Vital,
};

/// Calls under way at a time.
const CALLS: usize = 4;
/// Reads that wait for a call. When full, each further one waits in a task of its own.
const QUEUE: usize = 4096;
/// Into so many lots a failed call is cut.
const LOTS: usize = 4;

/// Reads under way at a time.
pub(crate) const LIMIT: usize = CALLS * BACKLOG_READS;

const CALL: &str = "session.backlog";

/// Hands backlog reads to the workers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Backlogs {
    queue: mpsc::Sender<Wanted>,
    metrics: Metrics,
}

/// One session's read.
#[derive(Debug)]
struct Wanted {
    session: Arc<Outbox>,
    read: Backlog,
    since: Instant,
    /// It counts as waiting while no call carries it.
    waiting: Share,
}

/// What calls are made with.
#[derive(Debug, Clone)]
struct Reading {
    calls: Calls,
    again: Again,
    metrics: Metrics,
}

/// [`rpc::BacklogBatch`], of reads that stay where they are.
#[derive(Debug, Serialize)]
struct Batch<'a> {
    reads: Vec<&'a Backlog>,
}

impl Backlogs {
    /// Starts the task that gathers them; it ends when the last handle is gone.
    pub fn start(calls: Calls, metrics: &Metrics, vital: &Vital) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(vital.clone().task("backlogs", gather(calls, metrics.clone(), waiting)));
        Self { queue, metrics: metrics.clone() }
    }

    /// Reads after `pause`, as often as it takes, and puts the page into the session's outbox.
    pub fn read(&self, session: Arc<Outbox>, read: Backlog, pause: Duration) {
        let waiting = Share::of(&self.metrics.backlog_reads_waiting, 1.0);
        let mut wanted = Wanted { session, read, since: Instant::now() + pause, waiting };
        if pause.is_zero() {
            wanted = match self.queue.try_send(wanted) {
                Ok(()) => return,
                Err(full) => full.into_inner(),
            };
        }
        let queue = self.queue.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            // Only a node that has ended reads no more.
            queue.send(wanted).await.ok();
        });
    }
}

async fn gather(calls: Calls, metrics: Metrics, mut waiting: mpsc::Receiver<Wanted>) {
    let mut turns = Turns::new(CALLS, BACKLOG_READS);
    let reading = Reading { calls, again: turns.again(), metrics };
    while let Some((wanted, turn)) = turns.next(&mut waiting).await {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        tokio::spawn(carry_out(reading.clone(), wanted, turn, backoff));
    }
}

/// Reads for these sessions, until each has its page or is gone.
fn carry_out(
    reading: Reading,
    mut wanted: Vec<Wanted>,
    turn: Turn,
    mut backoff: Backoff,
) -> BoxFuture<'static, ()> {
    let work = async move {
        let mut lots = LOTS;
        loop {
            wanted.retain(|one| !one.session.is_gone());
            if wanted.is_empty() {
                return;
            }
            let before = wanted.len();
            match call(&reading, &mut wanted).await {
                Ok(pages) => wanted = hand_out(&reading.metrics, wanted, pages),
                Err(error) => {
                    tracing::debug!(%error, reads = before, "backlog reads are tried again");
                    // Where nobody is there it is none of the reads' fault.
                    if matches!(error, CallError::NoWorkers { .. } | CallError::Away { .. }) {
                        lots = 1;
                    }
                }
            }
            if wanted.len() == before {
                break;
            }
        }
        drop(turn);
        tokio::time::sleep(backoff.pause()).await;
        let size = wanted.len().div_ceil(lots);
        while !wanted.is_empty() {
            let lot = wanted.split_off(wanted.len().saturating_sub(size));
            let (reading, backoff) = (reading.clone(), backoff.clone());
            tokio::spawn(async move {
                if let Some(turn) = reading.again.turn().await {
                    carry_out(reading, lot, turn, backoff).await;
                }
            });
        }
    };
    work.boxed()
}

/// A page for each.
async fn call(reading: &Reading, wanted: &mut [Wanted]) -> Result<Vec<(Vec<Delivery>, How)>, CallError> {
    let (calls, metrics) = (&reading.calls, &reading.metrics);
    wanted.iter_mut().for_each(|one| one.waiting.set(0.0));
    let under_way = Share::of(&metrics.backlog_reads, wanted.len() as f64);
    let batch = Batch { reads: wanted.iter().map(|one| &one.read).collect() };
    let answer = calls.raw(CALL, rpc::to_vec(&batch), calls.timeout()).await;
    drop(under_way);
    wanted.iter_mut().for_each(|one| one.waiting.set(1.0));
    let outcome = if answer.is_ok() { "ok" } else { "error" };
    telemetry::count(Metric::EdgeBacklogReads, &[("result", outcome)], wanted.len() as u64);
    let broken = |reason: String| {
        tracing::error!(reason, "a worker's backlogs cannot be read");
        CallError::Broken { call: CALL, reason }
    };
    let pages = decode_pages(&answer?.payload).map_err(|error| broken(error.to_string()))?;
    if pages.len() != wanted.len() {
        return Err(broken(format!("expected {} pages, found {}", wanted.len(), pages.len())));
    }
    Ok(pages)
}

/// Gives the sessions their pages; those that were not read are left.
fn hand_out(metrics: &Metrics, wanted: Vec<Wanted>, pages: Vec<(Vec<Delivery>, How)>) -> Vec<Wanted> {
    let mut left = Vec::new();
    for (one, (deliveries, how)) in wanted.into_iter().zip(pages) {
        let page = match how {
            How::Done => Page::Read(deliveries, false),
            How::More => Page::Read(deliveries, true),
            How::Replaced => Page::Over(Close::Replaced),
            How::Revoked => Page::Over(Close::Revoked),
            How::Unread => {
                left.push(one);
                continue;
            }
        };
        metrics.backlog_read_seconds.record(one.since.elapsed());
        one.session.queue(Item::Page(page), usize::MAX);
    }
    left
}

#[cfg(test)]
mod tests;
