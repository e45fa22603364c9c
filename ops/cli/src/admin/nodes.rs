//! `admin nodes`: edges that live, and draining one.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use shared::{control::Control, ids::NodeId, rpc::Heartbeat};
use tokio::time::Instant;

use super::{
    desk::Desk,
    table::Table,
    tell::{self, LISTEN},
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The edges whose heartbeat is heard within a moment.
    List,
    /// End an edge as SIGTERM does: no new sessions, clients move to other nodes, and the process ends.
    Drain {
        /// Its id, or its name where one node alone is called so.
        node: String,
        /// Wait so long until it is gone, seconds; 0: do not wait.
        #[arg(long, default_value_t = 60, value_name = "SECONDS")]
        wait: u64,
        /// Even if it is the only one that takes sessions.
        #[arg(long)]
        last: bool,
    },
}

pub async fn run(desk: &Desk, command: Command) -> Result<()> {
    match command {
        Command::List => desk.audited("nodes list", "", list(desk)).await,
        Command::Drain { node, wait, last } => {
            desk.audited("nodes drain", &node, drain(desk, &node, Duration::from_secs(wait), last)).await
        }
    }
}

async fn list(desk: &Desk) -> Result<String> {
    let nodes = tell::live(desk, LISTEN).await?;
    let mut table =
        Table::new(["node", "address", "sessions", "state", "version", "up"]).counting(&["sessions"]);
    for beat in nodes.values() {
        table.row([
            beat.node.to_string(),
            format!("{}:{}", beat.server, beat.port),
            beat.sessions.to_string(),
            if beat.draining { "draining" } else { "open" }.to_owned(),
            beat.speaks.release.clone(),
            if beat.started == 0 { String::new() } else { age(beat.started) },
        ]);
    }
    desk.show(&table)?;
    let sessions: u64 = nodes.values().map(|beat| beat.sessions).sum();
    Ok(format!("{} nodes, {sessions} sessions", nodes.len()))
}

async fn drain(desk: &Desk, named: &str, wait: Duration, last: bool) -> Result<String> {
    let nodes = tell::live(desk, LISTEN).await?;
    let node = meant(&nodes, named)?;
    let others = nodes.values().filter(|beat| beat.node != node && !beat.draining).count();
    if others == 0 && !last {
        bail!(
            "{node} is the only node that takes sessions: its clients would have nowhere to go (--last does it)"
        );
    }
    let sessions = tell::one(desk, &node, &Control::Drain).await?;
    let began = Instant::now();
    while began.elapsed() < wait {
        // Gone: its name is never used again.
        if !tell::live(desk, LISTEN).await?.contains_key(&node) {
            let seconds = began.elapsed().as_secs();
            return Ok(format!("{node} is gone after {seconds} s; it had {sessions} sessions"));
        }
    }
    if wait.is_zero() {
        return Ok(format!("{node} drains; it had {sessions} sessions"));
    }
    bail!("{node} drains and is still there after {} s", wait.as_secs())
}

/// The node with this id, or the only one with this name.
fn meant(nodes: &BTreeMap<NodeId, Heartbeat>, named: &str) -> Result<NodeId> {
    let is = |node: &&NodeId| {
        node.as_str() == named || node.as_str().rsplit_once('-').is_some_and(|(name, _)| name == named)
    };
    let mut found = nodes.keys().filter(is);
    let first = found.next().with_context(|| {
        let live: Vec<&str> = nodes.keys().map(NodeId::as_str).collect();
        format!("expected one of the nodes that live ({}), found {named:?}", live.join(", "))
    })?;
    match found.next() {
        None => Ok(first.clone()),
        Some(other) => bail!("{named:?} is the name of both {first} and {other}: name one of them"),
    }
}

/// How long ago that was.
fn age(since: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let seconds = now.saturating_sub(since.unsigned_abs());
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &[&str]) -> BTreeMap<NodeId, Heartbeat> {
        let beat = |name: &&str| {
            let node = NodeId::new(name).unwrap();
            (node.clone(), Heartbeat::first(node, "", 1))
        };
        names.iter().map(beat).collect()
    }

    #[test]
    fn a_node_is_named_by_its_id_or_by_a_name_that_only_it_has() {
        let nodes = nodes(&["e1-00000001", "e2-00000002", "e2-00000003", "a-b-00000004"]);
        for (named, node) in [("e1", "e1-00000001"), ("e2-00000003", "e2-00000003"), ("a-b", "a-b-00000004")]
        {
            assert_eq!(meant(&nodes, named).unwrap().as_str(), node);
        }
        for named in ["e2", "e", "e1-", "e3-00000001", "a", ""] {
            assert!(meant(&nodes, named).is_err(), "{named}");
        }
    }
}
