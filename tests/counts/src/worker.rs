//! A chunk before and after PostgreSQL.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use shared::{
    ids::{GroupId, Seq, UserId},
    message::{Ask, Body, Request, Target},
    rpc::Heartbeat,
    subject::Lane,
};
use workers::{
    delivery::route::{self, Wide},
    directory::{Route, Routes},
    message,
    nodes::Nodes,
    pipeline::{
        Item,
        cache::Cache,
        decode::{self, Decoded},
        digest,
        effect::{Effect, Outcome, Show},
        plan,
    },
};

use crate::{
    broker::group_push,
    counting::Counting,
    samples::{ALL, PAIRS, TS, accepted, all_accepted, counted, id, node, traffic, who},
};

/// Recipients of a message of whom an offline body is kept.
const KEEP_BELOW: usize = 100;

/// All of them.
pub fn all(counting: &mut Counting) {
    let frames = all_accepted();
    let batches: Vec<Bytes> = frames.chunks(50).map(batch).collect();
    counting.bench(
        "worker.decode",
        ALL,
        || (),
        |()| {
            let mut decoded = Decoded::default();
            for (place, payload) in (1..).zip(&batches) {
                decode::batch(Lane(0), place, true, payload, 1, &mut decoded);
            }
            assert!(decoded.dead.is_empty() && decoded.items.len() == ALL, "every frame is one of this lane");
            decoded
        },
    );
    let texts: Vec<Item> = frames.iter().cloned().map(item).collect();
    counting.bench("worker.plan", ALL, || (), |()| plan::stages(&texts));
    let mixed = mixed();
    counting.bench("worker.plan.requests", mixed.len(), || (), |()| plan::stages(&mixed));
    counting.bench("worker.digest", ALL, || (), |()| frames.iter().map(digest::of).collect::<Vec<_>>());
    let cache = Cache::default();
    counting.bench("worker.effect", ALL, || (), |()| effects(&cache, &texts));
    routes(counting, &cache, &texts);
}

/// Who gets it, and where they are.
fn routes(counting: &mut Counting, cache: &Cache, texts: &[Item]) {
    let nodes = nodes();
    // With so many nodes no group here is wide.
    let (narrow, wide) = (Wide::with(100, KEEP_BELOW), Wide::with(1, KEEP_BELOW));
    let known: HashMap<UserId, Vec<Route>> = (1..=2 * PAIRS).map(|user| route(UserId(user))).collect();
    let known = Routes::Known(known);
    counting.bench("worker.recipients", ALL, || effects(cache, texts), |all| route::recipients(&all, narrow));
    counting.bench(
        "worker.route",
        ALL,
        || effects(cache, texts),
        |all| route::plan(all, &known, &nodes, KEEP_BELOW, narrow).0.into_nodes().collect::<Vec<_>>(),
    );
    counting.bench(
        "worker.route.group.copy",
        10 * 100,
        || (1..=10).map(|seq| to_group(Seq(seq))).collect(),
        |all| route::plan(all, &known, &nodes, KEEP_BELOW, narrow).0.into_nodes().collect::<Vec<_>>(),
    );
    counting.bench(
        "worker.route.wide.copy",
        10 * 100,
        || (1..=10).map(|seq| to_group(Seq(seq))).collect(),
        |all| route::plan(all, &known, &nodes, KEEP_BELOW, wide).0.into_nodes().collect::<Vec<_>>(),
    );
}

fn batch(frames: &[shared::message::Accepted]) -> Bytes {
    let written = frames.iter().map(|frame| {
        let mut out = Vec::new();
        shared::message::accepted::encode(frame, &mut out);
        out
    });
    counted(written).into()
}

fn item(accepted: shared::message::Accepted) -> Item {
    Item { lane: Lane(0), fresh: true, accepted }
}

/// Messages with a request in every tenth place.
fn mixed() -> Vec<Item> {
    let one = |(at, (from, to, seq)): (usize, (UserId, UserId, Seq))| {
        let mut frame = accepted(from, Target::User(to), seq);
        if at % 10 == 9 {
            frame.what = Body::Request(Request { id: id(from, seq), what: Ask::Block { to } });
        }
        item(frame)
    };
    traffic().enumerate().map(one).collect()
}

/// As if every message had just been stored.
fn effects(cache: &Cache, items: &[Item]) -> Vec<Effect> {
    items
        .iter()
        .zip(traffic())
        .filter_map(|(item, (.., seq))| {
            let Body::Message(text) = &item.accepted.what else { return None };
            let show = message::show(cache, &item.accepted, text, seq, TS, false);
            let place = (show.conversation, seq);
            Some(Effect::text(&item.accepted, Outcome::Stored, place, TS, vec![show]))
        })
        .collect()
}

/// A message to a group of a hundred.
fn to_group(seq: Seq) -> Effect {
    let from = UserId(1);
    let to: Arc<[UserId]> = (1..=100).map(UserId).collect();
    let frame = accepted(from, Target::Group(GroupId(77)), seq);
    let shared::delivery::Delivery::Push(push) = group_push(to.to_vec(), seq) else {
        unreachable!("expected a push")
    };
    let show = Show {
        to,
        conversation: push.conversation,
        seq,
        from,
        id: push.id,
        skip: push.skip,
        receipt: false,
        again: false,
        body: push.body,
    };
    Effect::text(&frame, Outcome::Stored, (push.conversation, seq), TS, vec![show])
}

fn route(user: UserId) -> (UserId, Vec<Route>) {
    let who = who(user);
    (user, vec![Route { device: who.device, node: who.node, session: who.session }])
}

/// The two nodes, alive.
fn nodes() -> Nodes {
    let nodes = Nodes::new(Duration::from_secs(3));
    for user in [1, 2] {
        let first = Heartbeat::first(node(UserId(user)), "127.0.0.1", 1987);
        nodes.heard(&Heartbeat { sessions: 100, speaks: Default::default(), ..first });
    }
    nodes
}
