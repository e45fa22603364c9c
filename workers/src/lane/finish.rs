//! After the commit: routes, deliveries in the order of the chunks, confirmations, and then the acknowledgement.
//!
//! One task a committer sends, so that the next chunk commits meanwhile; confirmations are awaited beside each other.

use std::{sync::Arc, time::Instant};

use async_nats::jetstream::message::Acker;
use futures::future::join_all;
use shared::telemetry::Metric;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{
    delivery::{Deliveries, route},
    directory::{Directory, Routes},
    fail::{self, Step},
    pipeline::effect::Effect,
};

/// Committed chunks not yet acknowledged, a committer; over that it waits. A node that hangs holds chunks until it is
/// declared dead, at up to some hundred chunks a second.
const UNFINISHED: u32 = 1_024;
/// Committed chunks waiting to be sent; over that the committer waits.
const UNSENT: usize = 16;

/// What is left to do for a committed chunk.
struct Committed {
    effects: Vec<Effect>,
    ackers: Vec<Acker>,
    since: Instant,
    permit: OwnedSemaphorePermit,
}

/// A committer's way to its deliveries.
#[derive(Debug)]
pub struct Finisher {
    queue: mpsc::Sender<Committed>,
    unfinished: Arc<Semaphore>,
}

/// What a finisher works with.
#[derive(Debug, Clone)]
pub struct Tools {
    /// To the nodes.
    pub deliveries: Deliveries,
    /// Where recipients are.
    pub directory: Directory,
    /// Groups up to this size have their bodies kept in Redis for those who are offline.
    pub keep_below: usize,
}

impl Finisher {
    /// Starts the sending task; it ends when the finisher is dropped and its queue is done.
    pub fn start(tools: Tools) -> Self {
        let (queue, mut committed) = mpsc::channel::<Committed>(UNSENT);
        tokio::spawn(async move {
            while let Some(chunk) = committed.recv().await {
                send(&tools, chunk).await;
            }
        });
        Self { queue, unfinished: Arc::new(Semaphore::new(UNFINISHED as usize)) }
    }

    /// Hands over a committed chunk; waits while too many are unfinished.
    pub async fn finish(&self, effects: Vec<Effect>, ackers: Vec<Acker>, since: Instant) {
        // Neither can fail: the semaphore is never closed, and the task ends only after this handle is dropped.
        let Ok(permit) = self.unfinished.clone().acquire_owned().await else { return };
        if self.queue.send(Committed { effects, ackers, since, permit }).await.is_err() {
            tracing::error!(
                "a committed chunk found nobody to deliver it; it is delivered when its lane is taken anew"
            );
        }
    }

    /// Waits until everything handed over is confirmed and acknowledged: then a lane may go.
    pub async fn idle(&self) {
        drop(self.unfinished.acquire_many(UNFINISHED).await);
    }
}

async fn send(tools: &Tools, chunk: Committed) {
    let Committed { effects, ackers, since, permit } = chunk;
    let sending = Instant::now();
    let users = route::recipients(&effects);
    let routes = if users.is_empty() {
        Routes::Known(Default::default())
    } else {
        tools.directory.routes(&users).await
    };
    fail::reached(Step::Routed);
    Metric::WorkerChunkSeconds.histogram(&[("step", "routes")]).record(sending.elapsed());
    if matches!(routes, Routes::Unknown) {
        Metric::WorkerBroadcasts.counter(&[]).increment(1);
    }
    let (outgoing, offline) = route::plan(effects, &routes, tools.deliveries.nodes(), tools.keep_below);
    Metric::WorkerDeliveryFrames.counter(&[]).increment(outgoing.size().frames);
    Metric::WorkerDeliveryBytes.counter(&[]).increment(outgoing.size().bytes);
    let mut settled = Vec::new();
    for (node, batches) in outgoing.into_nodes() {
        settled.push(tools.deliveries.send(&node, batches).await);
    }
    fail::reached(Step::Sent);
    let tools = tools.clone();
    tokio::spawn(async move {
        if !offline.is_empty() {
            // The bodies are in PostgreSQL too; the directory counts its errors.
            if let Err(error) = tools.directory.offline_put(&offline).await {
                tracing::debug!(%error, "bodies were not cached");
            }
        }
        let confirming = Instant::now();
        join_all(settled.into_iter().map(|one| tools.deliveries.settle(one))).await;
        Metric::WorkerDeliverySeconds.histogram(&[]).record(confirming.elapsed());
        fail::reached(Step::Confirmed);
        for acker in ackers {
            // Unacknowledged it comes again when the lane is taken anew, and is recognised as stored.
            if let Err(error) = acker.ack().await {
                Metric::WorkerAcksFailed.counter(&[]).increment(1);
                tracing::warn!(%error, "an acknowledgement was not taken by the broker");
            }
        }
        fail::reached(Step::Acknowledged);
        Metric::WorkerChunkSeconds.histogram(&[("step", "all")]).record(since.elapsed());
        drop(permit);
    });
}
