//! The ordered end of a node: sessions, which are told where to go, then what they sent, then what they had to tell. Each step has a deadline, and
//! what misses it is named.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use shared::message::write;

use crate::{
    context::Context,
    listener,
    node::peers::Peer,
    outbox::{Close, Item},
};

/// How long each step may take.
const STEP: Duration = Duration::from_secs(5);
/// How far the moves of all sessions are spread, at most, so that they do not all arrive elsewhere at once.
const SPREAD: Duration = Duration::from_secs(3);
/// How long after its time to move a session may stay.
const GRACE: Duration = Duration::from_secs(1);

/// What missed its deadline; empty: all ended in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DrainOutcome {
    /// One line each, for people.
    pub stragglers: Vec<String>,
}

/// Everything that ends.
#[derive(Debug)]
pub struct Draining {
    /// The node.
    pub context: Arc<Context>,
    /// Where its sessions can go.
    pub peers: Vec<Peer>,
    /// Its connections; nothing is accepted any more.
    pub connections: JoinSet<()>,
    /// The task that sends the sessions' notes.
    pub notes: JoinHandle<()>,
    /// Ends that task.
    pub notes_end: CancellationToken,
    /// Ends what is left: deliveries, heartbeat, registration.
    pub rest: CancellationToken,
    /// The tasks that this ends, by name.
    pub tasks: Vec<(&'static str, JoinHandle<()>)>,
}

impl Draining {
    /// Ends all of it in order.
    pub async fn run(mut self) -> DrainOutcome {
        let mut outcome = DrainOutcome::default();
        self.sessions(&mut outcome).await;
        for (lane, frames) in self.context.publisher.drain(STEP).await {
            self.context.metrics.vanished.increment(frames as u64);
            outcome.stragglers.push(format!("lane {}: {frames} frames that the broker did not take", lane.0));
        }
        self.notes_end.cancel();
        if timeout(STEP, self.notes).await.is_err() {
            outcome.stragglers.push("acknowledgements and ended sessions that no worker took".to_owned());
        }
        self.rest.cancel();
        for (name, task) in self.tasks {
            match timeout(STEP, task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => outcome.stragglers.push(format!("{name}: {error}")),
                Err(_) => outcome.stragglers.push(format!("{name}: still running")),
            }
        }
        outcome
    }

    /// Tells every session where to go, if there is another node, and closes those that stay.
    async fn sessions(&mut self, outcome: &mut DrainOutcome) {
        if !self.peers.is_empty() {
            let moving = self.tell_to_move();
            let leaving = async {
                while let Some(ended) = self.connections.join_next().await {
                    listener::reaped(&self.context, ended);
                }
            };
            // Who stays longer is closed below.
            timeout(moving + GRACE, leaving).await.ok();
        }
        self.context.registry.for_all(|session| session.close(Close::Drain));
        let ending = async {
            while let Some(ended) = self.connections.join_next().await {
                listener::reaped(&self.context, ended);
            }
        };
        if timeout(STEP, ending).await.is_ok() {
            return;
        }
        let mut named = Vec::new();
        self.context.registry.for_all(|session| named.push(session.who.session.to_string()));
        let (open, shown) = (self.connections.len(), named.len().min(20));
        let sessions = named[..shown].join(", ");
        outcome.stragglers.push(format!("{open} connections, among them sessions {sessions}"));
        self.connections.shutdown().await;
    }

    /// `[[n]] t = "move"` to all, evenly over the other nodes and over time; returns when the last one is to move.
    fn tell_to_move(&self) -> Duration {
        let sessions = self.context.registry.len().max(1) as u64;
        let spread = SPREAD.min(Duration::from_millis(sessions - 1));
        let mut told = 0_u64;
        self.context.registry.for_all(|session| {
            let peer = &self.peers[told as usize % self.peers.len()];
            let after = spread.as_millis() as u64 * told / sessions;
            let mut body = Vec::new();
            write::moved(&peer.server, peer.port, after, &mut body);
            session.queue(Item::Notice(body.into()), usize::MAX);
            told += 1;
        });
        self.context.metrics.moves.increment(told);
        spread
    }
}
