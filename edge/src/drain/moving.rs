//! `[[n]] t = "move"` to every session, each with its own time, and the end of those that stay beyond theirs.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use shared::{
    message::write,
    telemetry::{self, Metric},
};

use super::{LOOK, left, list, pace::Pace};
use crate::{
    config,
    context::Context,
    node::peers::Peer,
    outbox::{Close, Item, Outbox},
};

/// With no other node to go to: how long after its end a session is to come back, for this node to be there again.
const RETURN: Duration = Duration::from_secs(1);

/// A session that has been told.
struct Told {
    session: Arc<Outbox>,
    /// When it is closed if it is still there.
    close: Instant,
    to: Option<Peer>,
}

/// Tells every session, also those whose login was under way; returns once all are gone or `end` has come. Names those
/// that stayed though there was a node to go to.
pub(super) async fn sessions(context: &Context, plan: &config::Drain, end: Instant) -> Option<String> {
    let drain = &context.drain;
    let first = drain.peers().await;
    let (began, grace) = (Instant::now(), plan.grace_ms.get());
    let time = left(end).saturating_sub(grace).max(left(end) / 2);
    let mut pace = Pace::new(plan.pace, context.registry.len(), time);
    tracing::info!(
        sessions = context.registry.len(),
        nodes = first.len(),
        per_second = pace.rate().round(),
        "sessions are told to move"
    );
    let (mut known, mut told) = (HashSet::new(), Vec::<Told>::new());
    let mut stayed = Vec::new();
    // Told in the order of their turns, so that those whose time is over stand before the others.
    let mut closed = 0;
    loop {
        let peers = drain.peers().await;
        let mut new = Vec::new();
        context.registry.for_all(|session| {
            if known.insert(session.who.session) {
                new.push(session.clone());
            }
        });
        for session in new {
            let one = tell(session, &mut pace, &peers, began, grace);
            context.metrics.moves.increment(u64::from(one.to.is_some()));
            told.push(one);
        }
        let now = Instant::now();
        while let Some(due) = told.get(closed).filter(|told| told.close <= now || now >= end) {
            if !due.session.is_gone() {
                due.session.close(Close::Drain);
                stayed.extend(due.to.as_ref().map(|_| name(&due.session)));
            }
            closed += 1;
        }
        if context.registry.is_empty() || now >= end {
            break;
        }
        tokio::time::sleep(LOOK.min(left(end))).await;
    }
    let nowhere = told.iter().filter(|told| told.to.is_none()).count();
    let moved = told.len() - nowhere - stayed.len();
    for (result, count) in [("moved", moved), ("sent_away", nowhere), ("stayed", stayed.len())] {
        telemetry::count(Metric::EdgeDrainSessions, &[("result", result)], count as u64);
    }
    (!stayed.is_empty()).then(|| {
        format!("{} sessions that did not move when told to, and were closed{}", stayed.len(), list(&stayed))
    })
}

fn tell(session: Arc<Outbox>, pace: &mut Pace, peers: &[Peer], began: Instant, grace: Duration) -> Told {
    let (turn, to) = pace.turn(peers);
    let to = to.map(|at| peers[at].clone());
    let due = (began + turn).max(Instant::now());
    let (come, close) = if to.is_some() { (due, due + grace) } else { (due + RETURN, due) };
    let after = come.saturating_duration_since(Instant::now()).as_millis();
    let mut body = Vec::new();
    let address = to.as_ref().map(|peer| (peer.server.as_str(), peer.port));
    write::moved(address, u64::try_from(after).unwrap_or(u64::MAX), &mut body);
    session.queue(Item::Notice(body.into()), usize::MAX);
    Told { session, close, to }
}

/// A session as people look for it.
pub(super) fn name(session: &Outbox) -> String {
    let who = &session.who;
    format!("session {} of user {} on {:?}", who.session, who.user, who.device.as_str())
}
