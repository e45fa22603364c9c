//! Whether the routes are whole. An epoch is a random name for one life of the routes; nodes register every session they
//! have under it, and once all live nodes have, the marker says so. A wipe takes both away, and a restart of Redis from
//! a snapshot is told by the start's name in the epoch: routes count only while marker and epoch are the same and
//! belong to the start that is connected. None of these keys has an expiry: a full Redis evicts what has one.
//!
//! A Redis that reads and refuses to write (full, or a replica) keeps marker and epoch and takes no new route: each look
//! writes, and where that fails this worker has no epoch and believes no route.

use std::{
    collections::HashSet,
    sync::PoisonError,
    time::{Duration, Instant},
};

use redis::Pipeline;
use tokio_util::sync::CancellationToken;

use super::{Directory, Unreachable};
use crate::nodes::NodeInfo;

/// The epoch's key.
pub(super) const EPOCH: &str = "im_epoch";
/// The marker's key.
pub(super) const MARKER: &str = "im_marker";
/// The copy of the live nodes, for people.
const LIST: &str = "im_list";
/// Written by every look and read by nobody, see [`Directory::look`].
const LOOKED: &str = "im_looked";

const LOOK: Duration = Duration::from_millis(300);

/// Sets the key to the new value if it holds the old one.
const REPLACE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'NX')
return redis.call('GET', KEYS[1])";

/// Whether an epoch belongs to that start of Redis.
pub(super) fn is_of(epoch: &str, start: &str) -> bool {
    epoch.split_once('.').is_some_and(|(_, of)| of == start)
}

impl Directory {
    /// The epoch as it was read last; `None` while Redis cannot be reached, or written to.
    pub fn epoch(&self) -> Option<String> {
        self.inner.epoch.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the connection, the epoch, the marker and the copy of the live nodes, until shutdown.
    pub async fn run(self, nodes: impl Fn() -> Vec<NodeInfo> + Send + Sync, shutdown: CancellationToken) {
        tokio::join!(self.link().keep(&shutdown), self.look_after(&nodes, &shutdown));
    }

    async fn look_after(
        &self,
        nodes: &(impl Fn() -> Vec<NodeInfo> + Send + Sync),
        shutdown: &CancellationToken,
    ) {
        let begun = Instant::now();
        let mut ticks = tokio::time::interval(LOOK.min(self.inner.settle));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let live = nodes();
            // A worker that has just begun has not heard of every node yet.
            let settled = begun.elapsed() >= self.inner.settle;
            let looked = self.look(&live, settled).await;
            let epoch = looked.unwrap_or_else(|error| {
                tracing::debug!(%error, "the epoch was not read");
                None
            });
            *self.inner.epoch.write().unwrap_or_else(PoisonError::into_inner) = epoch;
            self.drop_tokens_again().await;
        }
    }

    /// Reads the epoch without making one.
    pub(super) async fn read_epoch(&self) -> Result<(), Unreachable> {
        let start = self.link().start().ok_or(Unreachable::Down)?;
        let mut pipeline = Pipeline::new();
        pipeline.cmd("GET").arg(self.key(EPOCH));
        let (epoch,): (Option<String>,) = self.link().send(&pipeline).await?;
        let epoch = epoch.filter(|epoch| is_of(epoch, &start));
        *self.inner.epoch.write().unwrap_or_else(PoisonError::into_inner) = epoch;
        Ok(())
    }

    /// One look: makes the epoch where there is none, and sets or removes the marker.
    async fn look(&self, live: &[NodeInfo], settled: bool) -> Result<Option<String>, Unreachable> {
        let start = self.link().start().ok_or(Unreachable::Down)?;
        let (epoch, marker) = self.current_epoch(&start).await?;
        let registered: HashSet<String> = self
            .link()
            .send::<(HashSet<String>,)>(Pipeline::new().cmd("SMEMBERS").arg(self.registered_key(&epoch)))
            .await?
            .0;
        let whole = live.iter().all(|node| registered.contains(node.node.as_str()));
        let mut pipeline = Pipeline::new();
        if whole && settled && marker.as_deref() != Some(&epoch) {
            tracing::info!(epoch, nodes = live.len(), "every live node has registered; routes count again");
            pipeline.cmd("SET").arg(self.key(MARKER)).arg(&epoch).ignore();
        }
        if !whole && marker.is_some() {
            tracing::info!(epoch, "a live node has not registered; routes do not count until it has");
            pipeline.cmd("DEL").arg(self.key(MARKER)).ignore();
        }
        // Always something that a full Redis refuses, as it refuses routes.
        pipeline.cmd("SET").arg(self.key(LOOKED)).arg(&epoch).ignore();
        if settled {
            self.copy_nodes(live, &mut pipeline).await?;
        }
        self.link().send::<()>(&pipeline).await?;
        Ok(Some(epoch))
    }

    /// The epoch, made if there is none or it belongs to another start of Redis, whose registrations go then; and the
    /// marker.
    async fn current_epoch(&self, start: &str) -> Result<(String, Option<String>), Unreachable> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("GET").arg(self.key(EPOCH)).cmd("GET").arg(self.key(MARKER));
        let (epoch, marker): (Option<String>, Option<String>) = self.link().send(&pipeline).await?;
        if let Some(epoch) = epoch.as_ref().filter(|epoch| is_of(epoch, start)) {
            return Ok((epoch.clone(), marker));
        }
        let fresh = format!("{}.{start}", random_name());
        let mut pipeline = Pipeline::new();
        pipeline
            .cmd("EVAL")
            .arg(REPLACE)
            .arg(1)
            .arg(self.key(EPOCH))
            .arg(epoch.as_deref().unwrap_or_default())
            .arg(fresh);
        if let Some(old) = epoch {
            pipeline.cmd("DEL").arg(self.registered_key(&old)).ignore();
        }
        let (epoch,): (String,) = self.link().send(&pipeline).await?;
        tracing::info!(epoch, "the routes begin anew");
        Ok((epoch, marker))
    }

    async fn copy_nodes(&self, live: &[NodeInfo], pipeline: &mut Pipeline) -> Result<(), Unreachable> {
        let key = self.key(LIST);
        let (listed,): (Vec<String>,) = self.link().send(Pipeline::new().cmd("HKEYS").arg(&key)).await?;
        for node in live {
            let at = format!("{}:{}", node.server, node.port);
            pipeline.cmd("HSET").arg(&key).arg(node.node.as_str()).arg(at).ignore();
        }
        for gone in listed.iter().filter(|listed| !live.iter().any(|node| node.node.as_str() == *listed)) {
            pipeline.cmd("HDEL").arg(&key).arg(gone).ignore();
        }
        Ok(())
    }

    pub(super) fn registered_key(&self, epoch: &str) -> String {
        self.key(&format!("im_registered_{epoch}"))
    }
}

fn random_name() -> String {
    // Without the system's randomness the clock keeps epochs apart well enough: they only must not repeat.
    let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    getrandom::u64().map_or_else(|_| format!("{:x}", clock().as_nanos()), |number| format!("{number:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_belongs_to_one_start_of_redis() {
        assert!(is_of("17.abc", "abc"));
        assert!(!is_of("17.abc", "abd"));
        assert!(!is_of("17", "17"));
    }
}
