//! Which edges live: their heartbeats, in this worker's memory.
//!
//! Silence makes dead, but only time in which the broker was heard counts: the worker hears ticks of its own, sent by the
//! way that heartbeats come ([`hearing`]). After an outage, or a time in which this process stood still, every node has
//! most of its dead time again to be heard.
//!
//! Redis holds a copy for people to read (`im_list`); nothing is ever decided by that copy.

pub mod hearing;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt;
use hearing::{Heard, Hearing};
use shared::{
    contract::Speaks,
    ids::NodeId,
    rpc::{self, Heartbeat, HeartbeatReply},
    subject::Subjects,
    telemetry::Metric,
};
use tokio::{sync::watch, time::MissedTickBehavior};
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
    pub speaks: Speaks,
    pub compat: Option<rpc::Address>,
}

/// Ticks in a node's dead time.
const TICKS: u32 = 6;
/// A node is forgotten after so long: an incarnation never returns after a minute of silence, and without this the map
/// would grow with every restart.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// The nodes this worker has heard of.
#[derive(Debug, Clone)]
pub struct Nodes {
    state: Arc<Mutex<State>>,
    /// A delivery has passed by a node of which nothing had been heard.
    passed_a_stranger: Arc<AtomicBool>,
    dead_after: Duration,
    acquainted: Arc<watch::Sender<bool>>,
    /// A tick was heard: somebody may be dead now.
    ticked: Arc<watch::Sender<()>>,
}

#[derive(Debug)]
struct State {
    hearing: Hearing,
    known: HashMap<NodeId, Known>,
}

#[derive(Debug)]
struct Known {
    info: NodeInfo,
    heard: Heard,
    /// It was silent for so long that deliveries have passed it by: it resyncs before it gets new ones.
    missed: bool,
    /// As the last census found it.
    alive: bool,
    /// It has said itself that it has ended.
    gone: bool,
}

impl Nodes {
    /// A node is dead when nothing was heard of it for `dead_after` in which the broker was.
    pub fn new(dead_after: Duration) -> Self {
        let state = State { hearing: Hearing::new(dead_after / TICKS), known: HashMap::new() };
        Self {
            state: Arc::new(Mutex::new(state)),
            passed_a_stranger: Arc::default(),
            dead_after,
            acquainted: Arc::new(watch::Sender::new(false)),
            ticked: Arc::default(),
        }
    }

    /// Waits until every live node has had the time to be heard of: one of them twice, or the broker for the dead time.
    ///
    /// A worker that delivers before that takes nodes for dead that are not, and what it does not send to them nobody
    /// sends.
    pub async fn acquainted(&self) {
        // No error: the sender lives as long as this.
        self.acquainted.subscribe().wait_for(|acquainted| *acquainted).await.ok();
    }

    /// Every node heard of within the dead time, in no order.
    pub fn live(&self) -> Vec<NodeInfo> {
        let state = self.state();
        state.known.values().filter(|node| self.alive(&state, node)).map(|node| node.info.clone()).collect()
    }

    /// How many there are.
    pub fn live_count(&self) -> usize {
        let state = self.state();
        state.known.values().filter(|node| self.alive(&state, node)).count()
    }

    /// Whether this very start of a node lives.
    pub fn is_live(&self, node: &NodeId) -> bool {
        let state = self.state();
        state.known.get(node).is_some_and(|node| self.alive(&state, node))
    }

    /// Which contract this node speaks, as far as it has been heard of; else this build's own.
    pub fn speaks(&self, node: &NodeId) -> Speaks {
        self.state().known.get(node).map_or_else(Speaks::this, |node| node.info.speaks.clone())
    }

    /// Waits until this node is dead; at once when it is.
    pub async fn until_dead(&self, node: &NodeId) {
        let mut ticked = self.ticked.subscribe();
        while self.is_live(node) && ticked.changed().await.is_ok() {}
    }

    /// Whether this worker has heard nothing of the broker for as long as it takes a node to die. Others that hear it
    /// can do what this one cannot.
    pub fn is_deaf(&self) -> bool {
        self.state().hearing.silence(Instant::now()) > self.dead_after
    }

    /// Notes that a delivery passed this node by because it was dead, or not heard of yet.
    pub fn passed_by(&self, node: &NodeId) {
        if let Some(node) = self.state().known.get_mut(node) {
            node.missed = true;
            return;
        }
        self.passed_a_stranger.store(true, Ordering::Relaxed);
    }

    /// Takes the note that deliveries passed this node by, if it lives again.
    pub fn take_missed(&self, node: &NodeId) -> bool {
        let mut state = self.state();
        let State { hearing, known } = &mut *state;
        known.get_mut(node).is_some_and(|node| {
            let alive = !node.gone && hearing.since(node.heard) < self.dead_after;
            alive && std::mem::take(&mut node.missed)
        })
    }

    /// Takes a heartbeat in. A node that had been dead may have been passed by.
    pub fn heard(&self, beat: &Heartbeat) {
        let mut state = self.state();
        let info = NodeInfo {
            node: beat.node.clone(),
            server: beat.server.clone(),
            port: beat.port,
            sessions: beat.sessions,
            draining: beat.draining,
            speaks: beat.speaks.clone(),
            compat: beat.compat.clone(),
        };
        let before = state.known.get(&beat.node);
        // A broadcast goes to those that are known: whoever is first heard of later may have been passed by.
        let stranger =
            before.is_none() && (*self.acquainted.borrow() || self.passed_a_stranger.load(Ordering::Relaxed));
        let missed = stranger || before.is_some_and(|node| node.missed || !self.alive(&state, node));
        if before.is_some() {
            // All beat at the same interval, so the others have been heard of as well.
            self.acquainted.send_replace(true);
        }
        if let Some(why) = beat.speaks.misfit().filter(|_| before.is_none()) {
            Metric::WorkerMisfits.counter(&[]).increment(1);
            tracing::error!(node = %beat.node, why, "a node that this worker cannot work with");
        }
        let heard = state.hearing.now(Instant::now());
        let known = Known { info, heard, missed, alive: !beat.gone, gone: beat.gone };
        state.known.insert(beat.node.clone(), known);
        drop(state);
        if beat.gone {
            tracing::info!(node = %beat.node, "a node has ended in order");
            // Whoever waits for its confirmations need not.
            self.ticked.send_replace(());
        }
    }

    /// Takes a tick of this worker's own in: time has passed in which nodes could be heard.
    pub fn tick(&self, now: Instant) {
        let mut state = self.state();
        let State { hearing, known } = &mut *state;
        hearing.tick(now);
        for (node, state) in known.iter_mut() {
            let alive = !state.gone && hearing.since(state.heard) < self.dead_after;
            if state.alive && !alive {
                Metric::WorkerNodesDead.counter(&[]).increment(1);
                tracing::warn!(node = %node, "nothing was heard of a node for {:?}: it counts as dead", self.dead_after);
            }
            state.alive = alive;
        }
        known.retain(|_, node| hearing.since(node.heard) < FORGOTTEN.max(self.dead_after * 2));
        Metric::WorkerNodes.gauge(&[]).set(known.values().filter(|node| node.alive).count() as f64);
        if hearing.total() >= self.dead_after && !self.acquainted.send_replace(true) {
            tracing::info!("no edge was heard of twice; deliveries go to those that come");
        }
        drop(state);
        self.ticked.send_replace(());
    }

    fn alive(&self, state: &State, node: &Known) -> bool {
        !node.gone && state.hearing.since(node.heard) < self.dead_after
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds this; a poisoned lock would still hold a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to heartbeats until `ended`, and answers them until `shutdown`: while a worker drains it still delivers,
    /// and has to know who lives. `epoch` is the directory's, for the replies.
    ///
    /// # Errors
    /// When a subscription cannot be made or ends, which the broker client does only when it is closed.
    pub async fn listen(
        self,
        nats: async_nats::Client,
        subjects: Subjects,
        epoch: impl Fn() -> Option<String> + Send,
        shutdown: CancellationToken,
        ended: CancellationToken,
    ) -> Result<(), async_nats::SubscribeError> {
        let own = nats.new_inbox();
        let mut beats = nats.subscribe(subjects.heartbeats()).await?;
        // After that subscription on the same connection: whenever ticks are heard, so are heartbeats.
        let mut ticks = nats.subscribe(own.clone()).await?;
        let mut send = tokio::time::interval(self.dead_after / TICKS);
        send.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                // Beats that have waited are heard before the ticks behind them make their nodes older.
                biased;
                () = ended.cancelled() => break,
                message = beats.next() => match message {
                    Some(message) => message,
                    None => break,
                },
                tick = ticks.next() => match tick {
                    Some(_) => {
                        self.tick(Instant::now());
                        continue;
                    }
                    None => break,
                },
                _ = send.tick() => {
                    // A tick that is lost counts as a silence, which is what it is.
                    if let Err(error) = nats.publish(own.clone(), Bytes::new()).await {
                        tracing::debug!(%error, "a tick was not sent");
                    }
                    continue;
                }
            };
            let Ok(beat) = rpc::from_slice::<Heartbeat>(&message.payload) else {
                tracing::warn!(subject = %message.subject, "a heartbeat that cannot be read");
                continue;
            };
            // Who may say it is decided by the subject: an edge must not speak for another one.
            let subject = message.subject.as_str();
            if subjects.is_spare_beat_of(subject, &beat.node, &beat.speaks) {
                continue;
            }
            if !subjects.is_beat_of(subject, &beat.node, &beat.speaks) {
                tracing::warn!(subject = %message.subject, node = %beat.node, "a heartbeat of another node");
                continue;
            }
            self.heard(&beat);
            if let Some(reply) = message.reply
                && !shutdown.is_cancelled()
            {
                let payload = rpc::to_vec(&HeartbeatReply { epoch: epoch(), speaks: Speaks::this() }).into();
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
pub(crate) mod tests;
