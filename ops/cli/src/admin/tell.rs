//! Telling edges over the broker, and which of them live.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use shared::{
    control::{Control, Controlled},
    ids::NodeId,
    rpc::{self, ERROR_HEADER, Heartbeat},
};
use tokio::time::{Instant, timeout_at};

use super::desk::Desk;

/// How long heartbeats are listened to: more than two of them, by default.
pub const LISTEN: Duration = Duration::from_millis(1500);
/// How long one node may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// The nodes heard within `time`, each with its last heartbeat.
pub async fn live(desk: &Desk, time: Duration) -> Result<BTreeMap<NodeId, Heartbeat>> {
    let mut heartbeats = desk.nats().await?.subscribe(desk.subjects.heartbeats()).await?;
    let (end, mut nodes) = (Instant::now() + time, BTreeMap::new());
    while let Ok(Some(message)) = timeout_at(end, heartbeats.next()).await {
        // What cannot be read, or speaks for another, is a worker's to complain about.
        if let Ok(beat) = rpc::from_slice::<Heartbeat>(&message.payload)
            && desk.subjects.is_beat_of(message.subject.as_str(), &beat.node, &beat.speaks)
        {
            nodes.insert(beat.node.clone(), beat);
        }
    }
    Ok(nodes)
}

/// What came of telling every node.
#[derive(Debug, Default)]
pub struct Told {
    /// Sessions that it concerned.
    pub sessions: u64,
    /// Nodes that live and did not answer every time.
    pub silent: Vec<NodeId>,
    /// Nodes that answered.
    pub nodes: usize,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} connections closed on {} nodes", self.sessions, self.nodes)?;
        if !self.silent.is_empty() {
            let silent: Vec<&str> = self.silent.iter().map(NodeId::as_str).collect();
            write!(f, "; no answer from {}", silent.join(", "))?;
        }
        Ok(())
    }
}

/// Tells every node, at once; then waits as long as it takes to know who lives.
pub async fn everywhere(desk: &Desk, what: &[Control]) -> Result<Told> {
    if what.is_empty() {
        return Ok(Told::default());
    }
    let nats = desk.nats().await?;
    let inbox = nats.new_inbox();
    let mut answers = nats.subscribe(format!("{inbox}.*")).await?;
    for (number, one) in what.iter().enumerate() {
        // The broker lets an edge answer once to each.
        let reply = format!("{inbox}.{number}");
        nats.publish_with_reply(desk.subjects.control_all(), reply, rpc::to_vec(one).into()).await?;
    }
    nats.flush().await?;
    let live = live(desk, LISTEN).await?;
    let (mut told, mut answered) = (Told::default(), BTreeMap::<NodeId, usize>::new());
    let end = Instant::now() + Duration::from_millis(50);
    while let Ok(Some(message)) = timeout_at(end, answers.next()).await {
        // Without a payload that can be read it is the broker's "nobody there", or an edge that cannot read this.
        if let Ok(Controlled { node, sessions }) = rpc::from_slice(&message.payload) {
            told.sessions += sessions;
            *answered.entry(node).or_default() += 1;
        }
    }
    told.nodes = answered.len();
    told.silent = live.into_keys().filter(|node| answered.get(node) != Some(&what.len())).collect();
    Ok(told)
}

/// Tells one node; how many sessions it concerns.
pub async fn one(desk: &Desk, node: &NodeId, what: &Control) -> Result<u64> {
    let asked = desk.nats().await?.request(desk.subjects.control(node), rpc::to_vec(what).into());
    let answer = tokio::time::timeout(ANSWER, asked).await;
    let answer = answer.with_context(|| format!("{node} has not answered within {ANSWER:?}"))?;
    let answer = answer.with_context(|| format!("asking {node}"))?;
    if answer.headers.is_some_and(|headers| headers.get(ERROR_HEADER).is_some()) {
        bail!("{node} does not know this: {}", String::from_utf8_lossy(&answer.payload));
    }
    let done: Controlled = rpc::from_slice(&answer.payload).with_context(|| format!("{node}'s answer"))?;
    Ok(done.sessions)
}
