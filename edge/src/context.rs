//! What every session of a node shares.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use shared::{ids::NodeId, message::parse};
use tokio::sync::Semaphore;

use crate::{
    calls::{Calls, logins::Logins, notes::Notes},
    config::Limits,
    metric::Metrics,
    node::epoch::Epochs,
    publisher::Publisher,
    registry::Registry,
};

/// Backlog reads of a node under way at a time; others wait. Keeps a resync of all sessions from burying the workers.
pub const BACKLOG_READS: usize = 128;

/// One node. Sessions hold it by `Arc`.
#[derive(Debug)]
pub struct Context {
    /// This start of this node.
    pub node: NodeId,
    /// What a client may do.
    pub limits: Limits,
    /// The part of it that the parser enforces.
    pub parse: parse::Limits,
    /// Its sessions.
    pub registry: Arc<Registry>,
    /// The way to the broker's stream.
    pub publisher: Publisher,
    /// Questions to the workers.
    pub calls: Calls,
    /// Logins among them.
    pub logins: Logins,
    /// What sessions have to tell.
    pub notes: Notes,
    /// Under which directory epoch sessions stand there.
    pub epochs: Epochs,
    /// Its numbers.
    pub metrics: Metrics,
    /// Permits for backlog reads.
    pub backlog_reads: Semaphore,
    /// Whether it takes no new sessions.
    pub draining: AtomicBool,
}

impl Context {
    /// Whether it takes no new sessions.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Every session is to read its backlog.
    pub fn resync(&self, why: &'static str) {
        let mut sessions = 0_u64;
        self.registry.for_all(|session| {
            session.behind(why);
            sessions += 1;
        });
        tracing::info!(why, sessions, "every session reads its backlog");
    }
}
