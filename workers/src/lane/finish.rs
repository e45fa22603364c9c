//! After the commit: routes, deliveries in the order of the chunks, confirmations, and then the acknowledgement.
//!
//! One task a committer sends, so that the next chunk commits meanwhile; confirmations are awaited beside each other. Where
//! one of these tasks crashes, the finisher is broken and its committer's session ends: what was not acknowledged comes
//! again.

use std::{sync::Arc, time::Instant};

use async_nats::jetstream::message::Acker;
use futures::future::join_all;
use shared::telemetry::{Metric, Moment, Share};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    delivery::{
        Deliveries,
        route::{self, Wide},
    },
    directory::{Directory, Routes},
    fail::{self, Step},
    metric::{Metrics, metrics},
    pipeline::effect::Effect,
    trace::{self, ChunkNo, Trace},
};

/// Committed chunks not yet acknowledged, a committer; over that it waits. A node that hangs holds chunks until it is
/// declared dead, at up to some hundred chunks a second.
pub(crate) const UNFINISHED: u32 = 1_024;
/// Committed chunks waiting to be sent; over that the committer waits.
const UNSENT: usize = 16;

/// When a chunk began.
#[derive(Debug, Clone, Copy)]
pub struct Since {
    /// When its batches were taken to be processed.
    pub pulled: Instant,
    /// When its oldest frame was accepted by an edge.
    pub accepted: Moment,
    /// Its number in the trace.
    pub number: ChunkNo,
}

/// What is left to do for a committed chunk.
struct Committed {
    effects: Vec<Effect>,
    ackers: Vec<Acker>,
    since: Since,
    permit: OwnedSemaphorePermit,
    unfinished: Share,
    /// Tells of a crash for as long as the chunk is worked on.
    broken: CancellationToken,
}

/// A committer's way to its deliveries.
#[derive(Debug)]
pub struct Finisher {
    queue: mpsc::Sender<Committed>,
    unfinished: Arc<Semaphore>,
    broken: CancellationToken,
}

/// A chunk cannot be handed over: the finisher's task has crashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what delivers committed chunks has crashed; what was not acknowledged comes again")]
pub struct Broken;

/// What a finisher works with.
#[derive(Debug, Clone)]
pub struct Tools {
    /// To the nodes.
    pub deliveries: Deliveries,
    /// Where recipients are.
    pub directory: Directory,
    /// Groups below this size have their bodies kept in Redis for those who are offline.
    pub keep_below: usize,
    /// What is remembered of messages that went by.
    pub trace: Trace,
}

impl Finisher {
    /// Starts the sending task; it ends when the finisher is dropped and its queue is done.
    pub fn start(tools: Tools) -> Self {
        Self::start_with(move |chunk| send(tools.clone(), chunk))
    }

    fn start_with<Sent>(mut send: impl FnMut(Committed) -> Sent + Send + 'static) -> Self
    where
        Sent: Future<Output = ()> + Send,
    {
        let (queue, mut committed) = mpsc::channel::<Committed>(UNSENT);
        let broken = CancellationToken::new();
        let crashed = broken.clone().drop_guard();
        tokio::spawn(async move {
            while let Some(chunk) = committed.recv().await {
                send(chunk).await;
            }
            crashed.disarm();
        });
        Self { queue, unfinished: Arc::new(Semaphore::new(UNFINISHED as usize)), broken }
    }

    /// Hands over a committed chunk; waits while too many are unfinished.
    ///
    /// # Errors
    /// [`Broken`].
    pub async fn finish(&self, effects: Vec<Effect>, ackers: Vec<Acker>, since: Since) -> Result<(), Broken> {
        // The semaphore is never closed.
        let permit = self.unfinished.clone().acquire_owned().await.map_err(|_| Broken)?;
        let (broken, unfinished) = (self.broken.clone(), Metrics::one_more(&metrics().unfinished));
        self.queue
            .send(Committed { effects, ackers, since, permit, unfinished, broken })
            .await
            .map_err(|_| Broken)
    }

    /// Waits until everything handed over is confirmed and acknowledged, or given up by a crash: then a lane may go.
    pub async fn idle(&self) {
        drop(self.unfinished.acquire_many(UNFINISHED).await);
    }

    /// Waits for a crash: from then on something may be left unacknowledged that only a new taking brings again.
    pub async fn broken(&self) -> Broken {
        self.broken.cancelled().await;
        Broken
    }

    /// Whether it has crashed.
    pub fn is_broken(&self) -> bool {
        self.broken.is_cancelled()
    }
}

async fn send(tools: Tools, chunk: Committed) {
    let Committed { effects, ackers, since, permit, unfinished, broken } = chunk;
    let number = since.number;
    let sending = Instant::now();
    let wide = Wide::with(tools.deliveries.nodes().live_count(), tools.keep_below);
    let users = route::recipients(&effects, wide);
    let routes = if users.is_empty() {
        Routes::Known(Default::default())
    } else {
        tools.directory.routes(&users).await
    };
    fail::reached(Step::Routed);
    tools.trace.step(number, trace::Step::Routed);
    metrics().routes_seconds.record(sending.elapsed());
    if matches!(routes, Routes::Unknown) {
        Metric::WorkerBroadcasts.counter(&[]).increment(1);
    }
    let (outgoing, offline) = route::plan(effects, &routes, tools.deliveries.nodes(), tools.keep_below, wide);
    metrics().delivery_frames.increment(outgoing.size().frames);
    metrics().delivery_bytes.increment(outgoing.size().bytes);
    let delivering = Instant::now();
    let mut settled = Vec::new();
    for (node, mut batches) in outgoing.into_nodes() {
        batches.accepted = Some(since.accepted);
        let sent = tools.deliveries.send(&node, batches).await;
        tools.trace.sent(number, &node, &sent);
        settled.push(sent);
    }
    fail::reached(Step::Sent);
    tools.trace.step(number, trace::Step::Sent);
    let crashed = broken.drop_guard();
    tokio::spawn(async move {
        if !offline.is_empty() {
            // The bodies are in PostgreSQL too; the directory counts its errors.
            if let Err(error) = tools.directory.offline_put(&offline).await {
                tracing::debug!(chunk = number.0, %error, "bodies were not cached");
            }
        }
        let confirming = Instant::now();
        join_all(settled.into_iter().map(|one| tools.deliveries.settle(one))).await;
        metrics().delivery_seconds.record(confirming.elapsed());
        metrics().deliver_seconds.record(delivering.elapsed());
        fail::reached(Step::Confirmed);
        tools.trace.step(number, trace::Step::Confirmed);
        let acking = Instant::now();
        for acker in ackers {
            // Unacknowledged it comes again when the lane is taken anew, and is recognised as stored.
            if let Err(error) = acker.ack().await {
                Metric::WorkerAcksFailed.counter(&[]).increment(1);
                tracing::warn!(chunk = number.0, %error, "an acknowledgement was not taken by the broker");
            }
        }
        fail::reached(Step::Acknowledged);
        tools.trace.step(number, trace::Step::Acknowledged);
        metrics().ack_seconds.record(acking.elapsed());
        metrics().chunk_seconds.record(since.pulled.elapsed());
        crashed.disarm();
        drop((permit, unfinished));
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn now() -> Since {
        let pulled = Instant::now();
        Since { pulled, accepted: Moment::now(), number: Trace::default().begin(pulled) }
    }

    #[tokio::test]
    async fn a_crash_is_told_and_holds_nothing_back() {
        let finisher = Finisher::start_with(|chunk: Committed| async move {
            assert!(
                !chunk.effects.is_empty() || chunk.since.pulled.elapsed() < Duration::from_secs(60),
                "a crash"
            );
        });
        finisher.finish(Vec::new(), Vec::new(), now()).await.unwrap();
        finisher.idle().await;
        assert!(!finisher.is_broken());

        let long_ago = Instant::now().checked_sub(Duration::from_secs(100)).unwrap();
        finisher.finish(Vec::new(), Vec::new(), Since { pulled: long_ago, ..now() }).await.unwrap();
        assert_eq!(finisher.broken().await, Broken);
        finisher.idle().await;
        assert_eq!(finisher.finish(Vec::new(), Vec::new(), now()).await, Err(Broken));
        finisher.idle().await;
    }

    #[tokio::test]
    async fn one_that_is_dropped_is_not_broken() {
        let finisher = Finisher::start_with(|_| async {});
        let broken = finisher.broken.clone();
        finisher.finish(Vec::new(), Vec::new(), now()).await.unwrap();
        finisher.idle().await;
        drop(finisher);
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert!(!broken.is_cancelled());
    }
}
