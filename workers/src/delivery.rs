//! What goes to which node, and its confirmation.
//!
//! A node that does not confirm gets nothing newer until it has confirmed a resync, which makes its sessions read from
//! PostgreSQL; a node that is declared dead is owed nothing, its users count as offline. What was skipped meanwhile is
//! confirmed by a resync sent *after* it was skipped, or by the node's death.

pub mod confirm;
pub mod outgoing;
pub mod route;

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use shared::{delivery, ids::NodeId, subject::Subjects, telemetry::Metric};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::nodes::Nodes;
use confirm::{Confirmations, Unconfirmed};

/// Sends to nodes and follows up on those that do not confirm. One a worker process.
#[derive(Debug, Clone)]
pub struct Deliveries {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    confirmations: Confirmations,
    subjects: Subjects,
    nodes: Nodes,
    timeout: Duration,
    broken: Mutex<Broken>,
    /// How often the broker was lost.
    losses: watch::Receiver<u64>,
}

/// What is to be made good before anything newer is sent.
#[derive(Debug, Default)]
struct Broken {
    /// Nodes under resync, each with a signal that turns true when what was skipped until then is made good.
    nodes: HashMap<NodeId, watch::Receiver<bool>>,
    /// The losses of the broker that have been acted on.
    losses: u64,
}

/// Resolves once a node has confirmed, or needs to no more.
#[derive(Debug)]
pub enum Settled {
    /// The replies to what was sent, in order.
    Sent(NodeId, Vec<confirm::Reply>),
    /// Skipped: waits for the resync.
    Skipped(watch::Receiver<bool>),
    /// Nothing is owed.
    Nothing,
}

impl Deliveries {
    /// `timeout`: how long a node may take to confirm.
    ///
    /// `losses` counts how often the broker was lost: what had been sent then may be gone.
    pub fn new(
        confirmations: Confirmations,
        subjects: Subjects,
        nodes: Nodes,
        timeout: Duration,
        losses: watch::Receiver<u64>,
    ) -> Self {
        let broken = Mutex::new(Broken { nodes: HashMap::new(), losses: *losses.borrow() });
        Self { inner: Arc::new(Inner { confirmations, subjects, nodes, timeout, broken, losses }) }
    }

    /// Repairs nodes that were passed by and live again, without waiting for something to be sent to them. Until
    /// shutdown.
    pub async fn mend(self, every: Duration, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(every);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let mut broken = self.inner.broken.lock().await;
            self.after_a_loss(&mut broken);
            for node in self.inner.nodes.live() {
                if self.inner.nodes.take_missed(&node.node) {
                    tracing::info!(node = %node.node, "a node was passed by; its sessions are told to read");
                    drop(self.repair(&mut broken, &node.node));
                }
            }
        }
    }

    /// What had been sent when the broker was lost may be gone, and what is sent now must not overtake it: every node
    /// is resynced first.
    fn after_a_loss(&self, broken: &mut Broken) {
        let losses = *self.inner.losses.borrow();
        if losses == broken.losses {
            return;
        }
        broken.losses = losses;
        for node in self.inner.nodes.live() {
            drop(self.repair(broken, &node.node));
        }
    }

    /// The nodes this worker knows.
    pub fn nodes(&self) -> &Nodes {
        &self.inner.nodes
    }

    /// Sends batches to a node, in order, and does not wait for the confirmation: await [`Self::settle`] for that.
    pub async fn send(&self, node: &NodeId, batches: Vec<Bytes>) -> Settled {
        if !self.inner.nodes.is_live(node) {
            self.inner.nodes.passed_by(node);
            return Settled::Nothing;
        }
        // Held over the sending, so that a repair's last resync stands before everything sent after it and after
        // everything skipped before it.
        let mut broken = self.inner.broken.lock().await;
        self.after_a_loss(&mut broken);
        if let Some(repair) = broken.nodes.get(node) {
            return Settled::Skipped(repair.clone());
        }
        if self.inner.nodes.take_missed(node) {
            tracing::info!(node = %node, "a node lives again; its sessions are told to read their backlog");
            return Settled::Skipped(self.repair(&mut broken, node));
        }
        let subject = self.inner.subjects.node(node);
        let mut replies = Vec::with_capacity(batches.len());
        for batch in batches {
            match self.inner.confirmations.request(&subject, batch).await {
                Ok(reply) => replies.push(reply),
                Err(error) => {
                    tracing::warn!(node = %node, %error, "a delivery was not sent");
                    return Settled::Skipped(self.repair(&mut broken, node));
                }
            }
        }
        Settled::Sent(node.clone(), replies)
    }

    /// Waits until the node has confirmed, has been resynced, or is dead.
    pub async fn settle(&self, settled: Settled) {
        let mut repair = match settled {
            Settled::Nothing => return,
            Settled::Skipped(repair) => repair,
            Settled::Sent(node, replies) => match self.confirmed(replies).await {
                Ok(()) => {
                    Metric::WorkerDeliveries.counter(&[("result", "confirmed")]).increment(1);
                    return;
                }
                Err(why) => {
                    Metric::WorkerDeliveries.counter(&[("result", why.as_str())]).increment(1);
                    tracing::warn!(node = %node, reason = why.as_str(), "a node did not confirm a delivery");
                    self.repair(&mut *self.inner.broken.lock().await, &node)
                }
            },
        };
        // An error means that the repairing task has ended without a word, which only the process's end makes happen.
        if repair.wait_for(|done| *done).await.is_err() {
            tracing::warn!("a node's repair was abandoned");
        }
    }

    async fn confirmed(&self, replies: Vec<confirm::Reply>) -> Result<(), Unconfirmed> {
        for reply in replies {
            reply.within(self.inner.timeout).await?;
        }
        Ok(())
    }

    /// The repair under way for this node, begun now if there is none.
    fn repair(&self, broken: &mut Broken, node: &NodeId) -> watch::Receiver<bool> {
        if let Some(repair) = broken.nodes.get(node) {
            return repair.clone();
        }
        let (done, repair) = watch::channel(false);
        broken.nodes.insert(node.clone(), repair.clone());
        let (this, node) = (self.clone(), node.clone());
        tokio::spawn(async move {
            this.resync(&node).await;
            // Nobody waiting is fine: the chunk was settled by other means.
            done.send_replace(true);
        });
        repair
    }

    /// Resyncs until the node confirms one that was sent after the last delivery was skipped, or is dead.
    async fn resync(&self, node: &NodeId) {
        let subject = self.inner.subjects.node(node);
        let mut batch = Vec::new();
        delivery::encode(&delivery::Delivery::Resync, &mut batch);
        let batch = Bytes::from(batch);
        loop {
            Metric::WorkerResyncs.counter(&[]).increment(1);
            if self.resynced(&subject, batch.clone()).await {
                // It answers again: from here on deliveries are sent, behind one more resync for what was skipped
                // while this one was under way.
                let last = {
                    let mut broken = self.inner.broken.lock().await;
                    let last = self.inner.confirmations.request(&subject, batch.clone()).await;
                    broken.nodes.remove(node);
                    last
                };
                if let Ok(reply) = last
                    && reply.within(self.inner.timeout).await.is_ok()
                {
                    return;
                }
                // It stopped again. Another repair may begin for what is sent meanwhile; this one goes on for what it
                // owes itself, and a second resync does no harm.
            }
            if !self.inner.nodes.is_live(node) {
                self.inner.nodes.passed_by(node);
                self.inner.broken.lock().await.nodes.remove(node);
                return;
            }
            tokio::time::sleep(self.inner.timeout / 8).await;
        }
    }

    async fn resynced(&self, subject: &str, batch: Bytes) -> bool {
        match self.inner.confirmations.request(subject, batch).await {
            Ok(reply) => reply.within(self.inner.timeout).await.is_ok(),
            Err(_) => false,
        }
    }
}
