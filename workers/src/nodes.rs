//! Which edges live: their heartbeats, in this worker's memory.
//!
//! Redis holds a copy for people to read (`im_list`); nothing is ever decided by that copy.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::StreamExt;
use shared::{
    ids::NodeId,
    rpc::{self, Heartbeat, HeartbeatReply},
    subject::Subjects,
    telemetry::Metric,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A node as its last heartbeat described it.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named by their types")]
pub struct NodeInfo {
    pub node: NodeId,
    pub server: String,
    pub port: u16,
    pub sessions: u64,
    pub draining: bool,
}

/// The nodes this worker has heard of.
#[derive(Debug, Clone)]
pub struct Nodes {
    known: Arc<Mutex<HashMap<NodeId, Known>>>,
    /// A delivery has passed by a node of which nothing had been heard.
    passed_a_stranger: Arc<AtomicBool>,
    dead_after: Duration,
    acquainted: Arc<watch::Sender<bool>>,
}

#[derive(Debug)]
struct Known {
    info: NodeInfo,
    heard: Instant,
    /// It was silent for so long that deliveries have passed it by: it resyncs before it gets new ones.
    missed: bool,
    /// As the last census found it.
    alive: bool,
}

impl Nodes {
    /// A node is dead when nothing was heard of it for `dead_after`.
    pub fn new(dead_after: Duration) -> Self {
        Self {
            known: Arc::default(),
            passed_a_stranger: Arc::default(),
            dead_after,
            acquainted: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Waits until every live node has had the time to be heard of: one of them twice, or the dead time has passed.
    ///
    /// A worker that delivers before that takes nodes for dead that are not, and what it does not send to them nobody
    /// sends.
    pub async fn acquainted(&self) {
        let mut acquainted = self.acquainted.subscribe();
        // Nobody heard within the dead time: there is nobody to deliver to. The sender lives as long as this.
        let heard = tokio::time::timeout(self.dead_after, acquainted.wait_for(|heard| *heard)).await;
        if heard.is_err() {
            tracing::info!("no edge was heard of twice; deliveries go to those that come");
        }
    }

    /// Every node heard of within the dead time, in no order.
    pub fn live(&self) -> Vec<NodeInfo> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .values()
            .filter(|node| node.heard.elapsed() < self.dead_after)
            .map(|node| node.info.clone())
            .collect()
    }

    /// Whether this very start of a node lives.
    pub fn is_live(&self, node: &NodeId) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(node).is_some_and(|node| node.heard.elapsed() < self.dead_after)
    }

    /// Notes that a delivery passed this node by because it was dead, or not heard of yet.
    pub fn passed_by(&self, node: &NodeId) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = known.get_mut(node) {
            node.missed = true;
            return;
        }
        self.passed_a_stranger.store(true, Ordering::Relaxed);
    }

    /// Takes the note that deliveries passed this node by, if it lives again.
    pub fn take_missed(&self, node: &NodeId) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get_mut(node)
            .is_some_and(|node| node.heard.elapsed() < self.dead_after && std::mem::take(&mut node.missed))
    }

    /// Takes a heartbeat in. A node that had been dead may have been passed by.
    pub fn heard(&self, beat: &Heartbeat) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let info = NodeInfo {
            node: beat.node.clone(),
            server: beat.server.clone(),
            port: beat.port,
            sessions: beat.sessions,
            draining: beat.draining,
        };
        // A broadcast goes to those that are known: whoever is first heard of later may have been passed by.
        let stranger = !known.contains_key(&beat.node)
            && (*self.acquainted.borrow() || self.passed_a_stranger.load(Ordering::Relaxed));
        let missed = stranger
            || known
                .get(&beat.node)
                .is_some_and(|node| node.missed || node.heard.elapsed() >= self.dead_after);
        if known
            .insert(beat.node.clone(), Known { info, heard: Instant::now(), missed, alive: true })
            .is_some()
        {
            // All beat at the same interval, so the others have been heard of as well.
            self.acquainted.send_replace(true);
        }
        // An incarnation never returns after a minute of silence; without this the map would grow with every restart.
        known.retain(|_, node| node.heard.elapsed() < self.dead_after.max(Duration::from_secs(60)) * 2);
    }

    /// Counts the living, and those that have died since the last time.
    fn census(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (node, state) in known.iter_mut() {
            let alive = state.heard.elapsed() < self.dead_after;
            if state.alive && !alive {
                Metric::WorkerNodesDead.counter(&[]).increment(1);
                tracing::warn!(node = %node, "nothing was heard of a node for {:?}: it counts as dead", self.dead_after);
            }
            state.alive = alive;
        }
        Metric::WorkerNodes.gauge(&[]).set(known.values().filter(|node| node.alive).count() as f64);
    }

    /// Listens to heartbeats until shutdown. `epoch` is the directory's, for the replies.
    ///
    /// # Errors
    /// When the subscription cannot be made or ends, which the broker client does only when it is closed.
    pub async fn listen(
        self,
        nats: async_nats::Client,
        subjects: Subjects,
        epoch: impl Fn() -> Option<String> + Send,
        shutdown: CancellationToken,
    ) -> Result<(), async_nats::SubscribeError> {
        let mut beats = nats.subscribe(subjects.heartbeats()).await?;
        let mut census = tokio::time::interval(self.dead_after / 4);
        loop {
            let message = tokio::select! {
                () = shutdown.cancelled() => break,
                _ = census.tick() => {
                    self.census();
                    continue;
                }
                message = beats.next() => match message {
                    Some(message) => message,
                    None => break,
                },
            };
            let Ok(beat) = rpc::from_slice::<Heartbeat>(&message.payload) else {
                tracing::warn!(subject = %message.subject, "a heartbeat that cannot be read");
                continue;
            };
            self.heard(&beat);
            if let Some(reply) = message.reply {
                let payload = rpc::to_vec(&HeartbeatReply { epoch: epoch() }).into();
                // A lost reply is answered by the next heartbeat.
                if let Err(error) = nats.publish(reply, payload).await {
                    tracing::debug!(%error, "a heartbeat's reply was not sent");
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(node: &str) -> Heartbeat {
        Heartbeat {
            node: NodeId::new(node).unwrap(),
            server: "127.0.0.1".into(),
            port: 1987,
            sessions: 0,
            draining: false,
            epoch: None,
        }
    }

    #[tokio::test]
    async fn all_nodes_are_known_once_one_has_been_heard_twice() {
        let nodes = Nodes::new(Duration::from_secs(60));
        let waiting = tokio::spawn({
            let nodes = nodes.clone();
            async move { nodes.acquainted().await }
        });
        nodes.heard(&beat("e1-1"));
        nodes.heard(&beat("e2-1"));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        nodes.heard(&beat("e1-1"));
        waiting.await.unwrap();
        Nodes::new(Duration::ZERO).acquainted().await;
    }

    #[test]
    fn silence_makes_dead_and_a_return_owes_a_resync() {
        let nodes = Nodes::new(Duration::ZERO);
        let node = NodeId::new("e1-1").unwrap();
        nodes.heard(&beat("e1-1"));
        assert!(!nodes.is_live(&node), "with a dead time of zero every node is dead at once");
        let nodes = Nodes { dead_after: Duration::from_secs(60), ..nodes };
        assert!(nodes.is_live(&node));
        assert!(!nodes.take_missed(&node));
        nodes.passed_by(&node);
        nodes.heard(&beat("e1-1"));
        assert!(nodes.take_missed(&node));
        assert!(!nodes.take_missed(&node));
    }

    #[test]
    fn a_node_passed_by_before_it_was_heard_of_owes_a_resync_too() {
        let nodes = Nodes::new(Duration::from_secs(60));
        let node = NodeId::new("e2-1").unwrap();
        nodes.passed_by(&node);
        nodes.heard(&beat("e2-1"));
        assert!(nodes.take_missed(&node));
    }
}
