//! What goes to which node, and its confirmation.
//!
//! A node that does not confirm gets nothing newer until it has confirmed a resync, which makes its sessions read from
//! PostgreSQL; a node that is declared dead is owed nothing, its users count as offline. What was skipped meanwhile is
//! confirmed by a resync sent *after* it was skipped, or by the node's death. Answers, which no session could read, are
//! kept and follow the resync.

pub mod answers;
pub mod confirm;
pub mod outgoing;
pub mod route;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::PublishError;
use bytes::Bytes;
use shared::{
    delivery,
    ids::NodeId,
    subject::Subjects,
    telemetry::{Metric, Moment},
};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::{metric::metrics, nodes::Nodes};
use answers::{Answers, Kept};
use confirm::{Confirmations, Reply, Unconfirmed};
use outgoing::Batches;

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
    /// Answers that their nodes may not have had.
    answers: Kept,
    /// Batches sent to each node. Starting anew for a node that was away costs it a resync.
    sent: HashMap<NodeId, u64>,
    /// The losses of the broker that have been acted on.
    losses: u64,
}

/// Resolves once a node has confirmed, or needs to no more.
#[derive(Debug)]
pub enum Settled {
    /// Sent, with the answers that were among it.
    Sent(NodeId, Sent, Answers),
    /// Skipped: waits for the resync.
    Skipped(watch::Receiver<bool>),
    /// Nothing is owed.
    Nothing,
}

/// The replies to what was sent, in order.
#[derive(Debug)]
pub struct Sent {
    replies: Vec<Reply>,
    /// The losses of the broker before it was sent.
    losses: u64,
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
        let broken = Mutex::new(Broken { losses: *losses.borrow(), ..Broken::default() });
        Self { inner: Arc::new(Inner { confirmations, subjects, nodes, timeout, broken, losses }) }
    }

    /// Repairs nodes that were passed by and live again, without waiting for something to be sent to them. Until
    /// `ended`.
    pub async fn mend(self, every: Duration, ended: CancellationToken) {
        let mut ticks = tokio::time::interval(every);
        while ended.run_until_cancelled(ticks.tick()).await.is_some() {
            let mut broken = self.inner.broken.lock().await;
            self.after_a_loss(&mut broken);
            broken.answers.forget_old(Instant::now());
            broken.sent.retain(|node, _| self.inner.nodes.is_live(node));
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
    pub async fn send(&self, node: &NodeId, what: impl Into<Batches>) -> Settled {
        let Batches { batches, answers, accepted } = what.into();
        // Held over the sending, so that a repair's last resync stands before everything sent after it and after
        // everything skipped before it.
        let mut broken = self.inner.broken.lock().await;
        if !self.inner.nodes.is_live(node) {
            broken.answers.keep(node, answers, Instant::now());
            self.inner.nodes.passed_by(node);
            return Settled::Nothing;
        }
        self.after_a_loss(&mut broken);
        if let Some(repair) = broken.nodes.get(node).cloned() {
            broken.answers.keep(node, answers, Instant::now());
            return Settled::Skipped(repair);
        }
        if self.inner.nodes.take_missed(node) {
            tracing::info!(node = %node, "a node lives again; its sessions are told to read their backlog");
            broken.answers.keep(node, answers, Instant::now());
            return Settled::Skipped(self.repair(&mut broken, node));
        }
        match self.request(&mut broken, node, batches, accepted).await {
            Ok(sent) => Settled::Sent(node.clone(), sent, answers),
            Err(error) => {
                tracing::warn!(node = %node, %error, "a delivery was not sent");
                broken.answers.keep(node, answers, Instant::now());
                Settled::Skipped(self.repair(&mut broken, node))
            }
        }
    }

    /// Numbered, so that the node knows by the next one that it has missed one: what waits in the client while the
    /// broker is away is sent once it is back, before anybody here knows that something before it was lost.
    async fn request(
        &self,
        broken: &mut Broken,
        node: &NodeId,
        batches: Vec<Bytes>,
        accepted: Option<Moment>,
    ) -> Result<Sent, PublishError> {
        let sent = broken.sent.entry(node.clone()).or_default();
        let subject = self.inner.subjects.node_of(node, &self.inner.nodes.speaks(node));
        let losses = *self.inner.losses.borrow();
        let mut replies = Vec::with_capacity(batches.len());
        for batch in batches {
            *sent += 1;
            replies.push(self.inner.confirmations.request(&subject, (*sent, accepted), batch).await?);
        }
        Ok(Sent { replies, losses })
    }

    /// Waits until the node has confirmed, has been resynced, or is dead.
    pub async fn settle(&self, settled: Settled) {
        let mut repair = match settled {
            Settled::Nothing => return,
            Settled::Skipped(repair) => repair,
            Settled::Sent(node, sent, answers) => match self.confirmed(&node, sent).await {
                Ok(()) => {
                    metrics().confirmed.increment(1);
                    return;
                }
                Err(why) => {
                    Metric::WorkerDeliveries.counter(&[("result", why.as_str())]).increment(1);
                    tracing::warn!(node = %node, reason = why.as_str(), "a node did not confirm a delivery");
                    let mut broken = self.inner.broken.lock().await;
                    // Some may have arrived: an answer that comes twice does no harm.
                    broken.answers.keep(&node, answers, Instant::now());
                    self.repair(&mut broken, &node)
                }
            },
        };
        // An error means that the repairing task has ended without a word, which only the process's end makes happen.
        if repair.wait_for(|done| *done).await.is_err() {
            tracing::warn!("a node's repair was abandoned");
        }
    }

    /// Waits for every confirmation, no longer than the node lives and the broker stays.
    async fn confirmed(&self, node: &NodeId, sent: Sent) -> Result<(), Unconfirmed> {
        let all = async {
            for reply in sent.replies {
                reply.within(self.inner.timeout).await?;
            }
            Ok(())
        };
        let mut losses = self.inner.losses.clone();
        tokio::select! {
            biased;
            all = all => all,
            () = self.inner.nodes.until_dead(node) => Err(Unconfirmed::Late),
            // The confirmation may have been lost with it.
            _ = losses.wait_for(|losses| *losses != sent.losses) => Err(Unconfirmed::Late),
        }
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

    /// Resyncs until the node confirms one that was sent after the last delivery was skipped, and the answers behind it,
    /// or is dead.
    async fn resync(&self, node: &NodeId) {
        let mut batch = Vec::new();
        delivery::encode(&delivery::Delivery::Resync, &mut batch);
        let batch = Bytes::from(batch);
        loop {
            let first = {
                // Looked at under the lock: were the node heard in between, what it missed would be taken for made good
                // by this repair.
                let mut broken = self.inner.broken.lock().await;
                if !self.inner.nodes.is_live(node) {
                    self.inner.nodes.passed_by(node);
                    broken.nodes.remove(node);
                    return;
                }
                Metric::WorkerResyncs.counter(&[]).increment(1);
                self.request(&mut broken, node, vec![batch.clone()], None).await
            };
            if let Ok(sent) = first
                && self.confirmed(node, sent).await.is_ok()
                && self.last_resync(node, batch.clone()).await
            {
                return;
            }
            tokio::time::sleep(self.inner.timeout / 8).await;
        }
    }

    /// The node answers again: from here on deliveries are sent, behind one more resync for what was skipped while the
    /// first was under way, and the answers that were kept. Whether it confirmed them.
    async fn last_resync(&self, node: &NodeId, resync: Bytes) -> bool {
        let (last, answers) = {
            let mut broken = self.inner.broken.lock().await;
            let answers = broken.answers.take(node);
            let mut batches = vec![resync];
            batches.extend(answers::batches(&answers));
            let last = self.request(&mut broken, node, batches, None).await;
            broken.nodes.remove(node);
            (last, answers)
        };
        if let Ok(sent) = last
            && self.confirmed(node, sent).await.is_ok()
        {
            return true;
        }
        // It stopped again. Another repair may begin for what is sent meanwhile; this one goes on for what it owes
        // itself, and a second resync does no harm.
        self.inner.broken.lock().await.answers.put_back(node, answers);
        false
    }
}
