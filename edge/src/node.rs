//! This start of this node: its name, its heartbeat, and what follows when nobody answered for a while.
//!
//! | module | holds |
//! |---|---|
//! | [`epoch`] | under which directory epoch its sessions stand, and writing them there again |
//! | [`seen`] | telling a few times a day which devices are there |
//! | [`peers`] | other nodes, for sessions that must leave this one |

pub mod epoch;
pub mod peers;
pub mod seen;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::FutureExt;
use shared::{
    contract::Speaks,
    ids::{InvalidId, NodeId},
    rpc::{self, Heartbeat, HeartbeatReply},
    subject::Subjects,
    telemetry::{self, Metric},
};
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{broker::Link, calls::CallError, context::Context, ready::Readiness};

/// A name for this start alone: `{name}-{8 hex digits}`.
///
/// # Errors
/// The name is no part of a node id.
pub fn identity(name: &str) -> Result<NodeId, InvalidId> {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one((std::process::id(), std::time::SystemTime::now()));
    NodeId::new(&format!("{name}-{:08x}", random & 0xffff_ffff))
}

/// Tells the workers that this node lives, and learns from their answers.
#[derive(Debug)]
pub struct Pulse {
    /// The node.
    pub context: Arc<Context>,
    /// Where its heartbeat goes.
    pub subjects: Subjects,
    /// The address handed out at login.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// The address handed out to simple_im's original clients, if they are served.
    pub compat: Option<rpc::Address>,
    /// What the heartbeat decides.
    pub ready: Readiness,
    /// Whether workers of contract 2 may be there, who hear another subject.
    pub before: bool,
    /// How the connection to the broker fares.
    pub link: watch::Receiver<Link>,
    /// When this start of the node was, Unix seconds.
    pub started: i64,
}

impl Pulse {
    /// Beats every `interval` until `shutdown`, at once when the node begins to drain, and once more at the end, to say that
    /// it is gone. Without an answer for `lease`, or with the broker lost in between,
    /// deliveries may have been missed: once an answer comes, every session reads its backlog.
    pub async fn run(mut self, interval: Duration, lease: Duration, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut state = State { seen: *self.link.borrow(), answered: Instant::now(), missed: None };
        let (drain, mut told) = (self.context.drain.clone(), false);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return self.farewell(lease).await,
                // Whoever hands out addresses is to know it now.
                () = drain.begun(), if !told => told = true,
                // A change of the link is looked at without waiting for the next tick.
                changed = self.link.changed() => if changed.is_err() { return },
                _ = ticks.tick() => {}
            }
            let link = *self.link.borrow_and_update();
            self.link_changed(&mut state, link);
            if !link.up {
                self.ready.unmet("expected a connection to NATS, found none");
                continue;
            }
            match self.beat(lease, false).await {
                Ok(reply) => self.answered(&mut state, reply, lease),
                Err(error) => {
                    tracing::debug!(%error, "a heartbeat has no answer");
                    // Without any worker the next one to come does not know this node yet, and what it delivers
                    // before the first heartbeat passes this node by.
                    let nobody = matches!(error, CallError::NoWorkers { .. });
                    if nobody || state.answered.elapsed() > lease {
                        state.missed.get_or_insert("lease");
                        self.ready.set(false);
                    }
                }
            }
        }
    }

    /// Workers wait for no confirmation of a node that is gone, and need not find out by its silence.
    async fn farewell(&self, lease: Duration) {
        if self.link.borrow().up
            && let Err(error) = self.beat(lease, true).await
        {
            tracing::debug!(%error, "the workers find out by silence that this node is gone");
        }
    }

    fn link_changed(&self, state: &mut State, link: Link) {
        telemetry::set(Metric::EdgeBrokerConnected, &[], f64::from(u8::from(link.up)));
        if link.lost != state.seen.lost {
            state.missed.get_or_insert("disconnected");
        }
        if link.dropped != state.seen.dropped {
            state.missed.get_or_insert("slow_consumer");
        }
        state.seen = link;
    }

    async fn beat(&self, lease: Duration, gone: bool) -> Result<HeartbeatReply, CallError> {
        let context = &self.context;
        let beat = Heartbeat {
            node: context.node.clone(),
            server: self.server.clone(),
            port: self.port,
            sessions: context.registry.len() as u64,
            draining: context.drain.has_begun(),
            epoch: context.epochs.registered(),
            gone,
            speaks: Speaks::this(),
            started: self.started,
            compat: self.compat.clone(),
        };
        let (began, payload) = (Instant::now(), Bytes::from(rpc::to_vec(&beat)));
        let mut subjects = vec![self.subjects.heartbeat(&context.node)];
        if self.before {
            subjects.push(self.subjects.heartbeat_before(&context.node));
        }
        let asked = subjects
            .into_iter()
            .map(|subject| context.calls.once("heartbeat", subject, payload.clone(), lease / 2).boxed());
        // Workers of this contract answer on the first one alone.
        let reply = futures::future::select_ok(asked).await.map(|(reply, _)| reply);
        let result = match reply {
            // This process stood still: who answered may have given it up since, and does not know that it is back.
            Ok(_) if began.elapsed() > lease => Err(CallError::TimedOut { call: "heartbeat", after: lease }),
            Ok(reply) => rpc::from_slice(&reply.payload)
                .map_err(|error| CallError::Broken { call: "heartbeat", reason: error.to_string() }),
            Err(error) => Err(error),
        };
        let outcome = if result.is_ok() { "ok" } else { "error" };
        telemetry::count(Metric::EdgeHeartbeats, &[("result", outcome)], 1);
        telemetry::observe(Metric::EdgeHeartbeatSeconds, &[], began.elapsed().as_secs_f64());
        result
    }

    fn answered(&self, state: &mut State, reply: HeartbeatReply, lease: Duration) {
        // The node's subscription was restored on the same connection before this heartbeat went out.
        if let Some(why) = state.answer(Instant::now(), lease) {
            telemetry::count(Metric::EdgeBrokerLosses, &[("reason", why)], 1);
            self.context.resync(why);
        }
        if let Some(epoch) = reply.epoch {
            self.context.epochs.seen(epoch);
        }
        match reply.speaks.misfit() {
            Some(why) => {
                self.ready.unmet(&format!("a worker answers that this node cannot work with: {why}"))
            }
            None => self.ready.set(true),
        }
    }
}

#[derive(Debug)]
struct State {
    seen: Link,
    answered: Instant,
    /// Why deliveries may have been missed.
    missed: Option<&'static str>,
}

impl State {
    /// An answer has come `now`; why deliveries may have been missed before it, if they may. No heartbeat need have
    /// failed for that: in a process that stood still none was sent.
    fn answer(&mut self, now: Instant, lease: Duration) -> Option<&'static str> {
        if now.saturating_duration_since(self.answered) > lease {
            self.missed.get_or_insert("lease");
        }
        self.answered = now;
        self.missed.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_after_more_than_the_lease_means_that_deliveries_were_missed() {
        let (began, lease) = (Instant::now(), Duration::from_secs(2));
        let mut state = State { seen: Link::default(), answered: began, missed: None };
        assert_eq!(state.answer(began + lease, lease), None);
        // Stopped for a minute between two heartbeats, neither of which failed.
        let back = began + lease + Duration::from_secs(60);
        assert_eq!(state.answer(back, lease), Some("lease"));
        assert_eq!(state.answer(back + lease, lease), None, "once");
        state.missed = Some("disconnected");
        assert_eq!(state.answer(back + lease * 3, lease), Some("disconnected"), "what was seen first");
    }

    #[test]
    fn two_starts_have_two_names() {
        let (one, other) = (identity("e1").unwrap(), identity("e1").unwrap());
        assert_ne!(one, other);
        assert!(one.as_str().starts_with("e1-") && one.as_str().len() == 11, "{one}");
        assert!(identity("e.1").is_err());
    }
}
