//! From what a chunk has done to what each node gets: recipients to routes, bodies once a node.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use shared::{
    delivery::{Delivery, Push},
    ids::{Conversation, NodeId, Seq, UserId},
};

use super::outgoing::Outgoing;
use crate::{
    directory::Routes,
    nodes::{NodeInfo, Nodes},
    pipeline::effect::{Effect, Show},
};

/// A body to be kept in Redis for a recipient with no device online.
pub type OfflineBody = (UserId, Conversation, Seq, Bytes);

/// Every user that a chunk's effects are to be shown to.
pub fn recipients(effects: &[Effect]) -> Vec<UserId> {
    let all: BTreeSet<UserId> =
        effects.iter().flat_map(|effect| &effect.shows).flat_map(|show| show.to.iter().copied()).collect();
    all.into_iter().collect()
}

/// Plans what goes where. `Routes::Unknown` makes every live node get everything.
pub fn plan(
    effects: Vec<Effect>,
    routes: &Routes,
    nodes: &Nodes,
    keep_below: usize,
) -> (Outgoing, Vec<OfflineBody>) {
    let live: Vec<NodeId> = nodes.live().into_iter().map(|NodeInfo { node, .. }| node).collect();
    let (mut outgoing, mut offline) = (Outgoing::default(), Vec::new());
    for effect in effects {
        for show in effect.shows {
            let by_node = match routes {
                Routes::Known(routes) => known(&show, routes, &live, nodes, keep_below, &mut offline),
                Routes::Unknown => live.iter().map(|node| (node.clone(), show.to.to_vec())).collect(),
            };
            for (node, to) in by_node {
                outgoing.put(&node, &push(&show, to));
            }
        }
        if let Some(answer) = effect.answer {
            // Also when the node is dead: it may return, and the answer is kept for it.
            let (node, answer) = (answer.node.clone(), answer.into_delivery());
            outgoing.put(&node, &answer);
        }
    }
    (outgoing, offline)
}

fn push(show: &Show, to: Vec<UserId>) -> Delivery {
    Delivery::Push(Push {
        to,
        conversation: show.conversation,
        seq: show.seq,
        from: show.from,
        id: show.id.clone(),
        skip: show.skip,
        receipt: show.receipt,
        again: show.again,
        body: show.body.clone(),
    })
}

fn known(
    show: &Show,
    routes: &HashMap<UserId, Vec<crate::directory::Route>>,
    live: &[NodeId],
    nodes: &Nodes,
    keep_below: usize,
    offline: &mut Vec<OfflineBody>,
) -> Vec<(NodeId, Vec<UserId>)> {
    let mut by_node: Vec<(NodeId, Vec<UserId>)> = Vec::new();
    for user in show.to.iter() {
        let mut online = false;
        for route in routes.get(user).into_iter().flatten() {
            if !live.contains(&route.node) {
                nodes.passed_by(&route.node);
                continue;
            }
            online = true;
            match by_node.iter_mut().find(|(node, _)| *node == route.node) {
                // A user's devices are looked at one after the other, so a repetition is the last one.
                Some((_, users)) if users.last() == Some(user) => {}
                Some((_, users)) => users.push(*user),
                None => by_node.push((route.node.clone(), vec![*user])),
            }
        }
        if !online && *user != show.from && show.to.len() <= keep_below {
            offline.push((*user, show.conversation, show.seq, show.body.clone()));
        }
    }
    by_node
}
