//! From what a chunk has done to what each node gets: recipients to routes, bodies once a node.
//!
//! Where a frame has so many recipients that most nodes have some of them, nobody asks where each is: every live node gets
//! it with all recipients, and passes over those it does not have ([`Wide`]).

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

/// Recipients a live node from which on a frame is wide. To find a recipient in Redis costs Redis and the worker some
/// microseconds; a node that does not have it passes over it in some tens of nanoseconds.
const WIDE: usize = 32;

/// How many recipients make a frame wide: it goes to every live node, and its recipients are not looked for.
#[derive(Debug, Clone, Copy)]
pub struct Wide(usize);

impl Wide {
    /// With so many live nodes. Frames of groups whose bodies are kept for who is away (those below `keep_below` members)
    /// are never wide, as it has to be known who is.
    pub fn with(live: usize, keep_below: usize) -> Self {
        Self(keep_below.max(WIDE * live.max(1)))
    }

    fn is(self, show: &Show) -> bool {
        show.to.len() >= self.0
    }
}

/// Every user whose routes a chunk's effects need.
pub fn recipients(effects: &[Effect], wide: Wide) -> Vec<UserId> {
    let shows = effects.iter().flat_map(|effect| &effect.shows).filter(|show| !wide.is(show));
    let all: BTreeSet<UserId> = shows.flat_map(|show| show.to.iter().copied()).collect();
    all.into_iter().collect()
}

/// Plans what goes where. `Routes::Unknown` makes every live node get everything. `wide` is what [`recipients`] was told.
pub fn plan(
    effects: Vec<Effect>,
    routes: &Routes,
    nodes: &Nodes,
    keep_below: usize,
    wide: Wide,
) -> (Outgoing, Vec<OfflineBody>) {
    let live: Vec<NodeId> = nodes.live().into_iter().map(|NodeInfo { node, .. }| node).collect();
    let (mut outgoing, mut offline) = (Outgoing::default(), Vec::new());
    for effect in effects {
        for show in effect.shows {
            let by_node = match routes {
                Routes::Known(routes) if !wide.is(&show) => {
                    known(&show, routes, &live, nodes, keep_below, &mut offline)
                }
                Routes::Known(_) | Routes::Unknown => {
                    live.iter().map(|node| (node.clone(), show.to.to_vec())).collect()
                }
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
        if !online && *user != show.from && show.to.len() < keep_below {
            offline.push((*user, show.conversation, show.seq, show.body.clone()));
        }
    }
    by_node
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use shared::{
        delivery::decode,
        ids::{GroupId, MessageId},
    };

    use super::*;
    use crate::{nodes::tests::beat, pipeline::effect::Outcome};

    fn to_group(recipients: i64) -> Vec<Effect> {
        let show = Show {
            to: (1..=recipients).map(UserId).collect::<Arc<[_]>>(),
            conversation: Conversation::Group(GroupId(7)),
            seq: Seq(3),
            from: UserId(1),
            id: MessageId::new("m").unwrap(),
            skip: None,
            receipt: false,
            again: false,
            body: "[[gm]]\n".into(),
        };
        vec![Effect { outcome: Outcome::Stored, shows: vec![show], answer: None }]
    }

    fn nodes(names: [&str; 2]) -> Nodes {
        let nodes = Nodes::new(Duration::from_secs(60));
        for name in names {
            nodes.heard(&beat(name));
        }
        nodes
    }

    type Got = Vec<(String, Vec<UserId>)>;

    /// Who is looked for, which nodes get a frame for so many, none of whom has a route, and how many bodies are kept for
    /// who is away.
    fn planned(recipients: i64, keep_below: usize) -> (Vec<UserId>, Got, usize) {
        let nodes = nodes(["e1-0", "e2-0"]);
        let wide = Wide::with(nodes.live_count(), keep_below);
        let effects = to_group(recipients);
        let looked_for = super::recipients(&effects, wide);
        let (outgoing, offline) = plan(effects, &Routes::Known(HashMap::new()), &nodes, keep_below, wide);
        let got = outgoing.into_nodes().map(|(node, batches)| {
            let all = batches.batches.iter().flat_map(|batch| decode(batch).unwrap());
            let to = all.flat_map(|one| match one {
                Delivery::Push(push) => push.to,
                other => panic!("expected a push, found {other:?}"),
            });
            (node.to_string(), to.collect())
        });
        let mut got: Vec<_> = got.collect();
        got.sort();
        (looked_for, got, offline.len())
    }

    #[test]
    fn a_wide_frame_goes_to_every_node_and_nobody_is_looked_for() {
        let all: Vec<UserId> = (1..=64).map(UserId).collect();
        let to_both = vec![("e1-0".to_owned(), all.clone()), ("e2-0".to_owned(), all.clone())];
        assert_eq!(planned(64, 10), (vec![], to_both, 0));
        assert_eq!(planned(63, 10), (all[..63].to_vec(), vec![], 0));
    }

    #[test]
    fn where_bodies_are_kept_it_is_known_who_is_away() {
        let all: Vec<UserId> = (1..=99).map(UserId).collect();
        // Not for the sender's own devices.
        assert_eq!(planned(99, 100), (all, vec![], 98));
        assert_eq!(planned(100, 100).0, vec![]);
    }
}
