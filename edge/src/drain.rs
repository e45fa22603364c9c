//! The ordered end of a node. It says that it is not ready, waits for balancers to notice, tells its sessions one after the
//! other where to go, and closes those that stay; then it publishes what they sent, passes on what they had to tell, says
//! that it is gone, and ends. All of it has a deadline, and what misses it is named.
//!
//! | module | holds |
//! |---|---|
//! | [`asked`] | the one way in, for a signal and for an operator's word; what the rest of the node asks meanwhile |
//! | [`pace`] | which session goes where and when |
//! | [`moving`] | telling them, and closing those that stay |

pub mod asked;
pub mod moving;
pub mod pace;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shared::telemetry::{self, Metric};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

pub use asked::Drain;

use crate::{config, context::Context, listener, outbox::Close, ready::Readiness};

/// What is kept of the deadline for what follows the sessions, at most; a third of it where it is short.
const TAIL: Duration = Duration::from_secs(5);
/// After the node has said that it is gone it still confirms what workers sent before they heard that.
const ECHO: Duration = Duration::from_millis(50);
/// How often sessions that are to end are looked for.
const LOOK: Duration = Duration::from_millis(50);
/// The least that a step gets when the deadline has passed.
const LEAST: Duration = Duration::from_millis(100);
/// Sessions named in one line.
const NAMED: usize = 20;

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
    /// What it says of itself.
    pub ready: Readiness,
    /// How it is to end.
    pub plan: config::Drain,
    /// Accepts connections until `closing`, and hands over those still open.
    pub accepting: JoinHandle<JoinSet<()>>,
    /// Ends the listeners.
    pub closing: CancellationToken,
    /// The task that sends the sessions' notes.
    pub notes: JoinHandle<()>,
    /// Ends that task.
    pub notes_end: CancellationToken,
    /// Ends the heartbeat, whose last one says that the node is gone.
    pub farewell: CancellationToken,
    /// Ends what is left: deliveries, registration, the figures.
    pub rest: CancellationToken,
    /// The tasks that these end, by name; the heartbeat first.
    pub tasks: Vec<(&'static str, JoinHandle<()>)>,
}

impl Draining {
    /// Ends all of it in order.
    pub async fn run(mut self) -> DrainOutcome {
        let begun = Instant::now();
        let end = begun + self.plan.deadline_seconds.get();
        let tail = TAIL.min(self.plan.deadline_seconds.get() / 3);
        self.ready.draining();
        self.context.drain.refuse();
        telemetry::set(Metric::EdgeDraining, &[], 1.0);
        let mut outcome = DrainOutcome::default();
        tokio::time::sleep(self.plan.notice_ms.get().min(left(end - tail))).await;
        outcome.stragglers.extend(moving::sessions(&self.context, &self.plan, end - tail).await);
        self.connections(end - tail, &mut outcome).await;

        for (lane, frames) in self.context.publisher.drain(left(end - tail / 2)).await {
            self.context.metrics.vanished.increment(frames as u64);
            outcome.stragglers.push(format!("lane {}: {frames} frames that the broker did not take", lane.0));
        }
        self.notes_end.cancel();
        if timeout(left(end - tail / 4), self.notes).await.is_err() {
            outcome.stragglers.push("acknowledgements and ended sessions that no worker took".to_owned());
        }
        self.farewell.cancel();
        for (at, (name, task)) in self.tasks.into_iter().enumerate() {
            match timeout(left(end), task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => outcome.stragglers.push(format!("{name}: {error}")),
                Err(_) => outcome.stragglers.push(format!("{name}: still running")),
            }
            if at == 0 {
                tokio::time::sleep(ECHO).await;
                self.rest.cancel();
            }
        }
        self.rest.cancel();
        tracing::info!(took = ?begun.elapsed(), stragglers = outcome.stragglers.len(), "drained");
        outcome
    }

    /// Ends the listeners and every connection that is left.
    async fn connections(&mut self, end: Instant, outcome: &mut DrainOutcome) {
        self.closing.cancel();
        let mut connections = (&mut self.accepting).await.unwrap_or_default();
        let deadline = Instant::now() + left(end);
        loop {
            // Again and again: a login that was under way becomes a session.
            self.context.registry.for_all(|session| session.close(Close::Drain));
            match timeout(LOOK, connections.join_next()).await {
                Ok(None) => return,
                Ok(Some(ended)) => listener::reaped(&self.context, ended),
                Err(_) if Instant::now() >= deadline => break,
                Err(_) => {}
            }
        }
        let mut named = Vec::new();
        self.context.registry.for_all(|session| named.push(moving::name(session)));
        telemetry::count(Metric::EdgeDrainSessions, &[("result", "cut_off")], named.len() as u64);
        let open = connections.len();
        outcome.stragglers.push(format!("{open} connections cut off at the deadline{}", list(&named)));
        connections.shutdown().await;
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).max(LEAST)
}

/// The first few of them.
fn list(named: &[String]) -> String {
    if named.is_empty() {
        return String::new();
    }
    let more = if named.len() > NAMED { ", …" } else { "" };
    format!(", among them {}{more}", named[..named.len().min(NAMED)].join(", "))
}

#[cfg(test)]
mod tests;
