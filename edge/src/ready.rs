//! Whether this node can serve: the broker is connected, a worker answered a heartbeat within the lease, and it does
//! not drain.

use shared::telemetry::{self, Condition};

/// Shared by whoever learns it (the heartbeat) and whoever tells it (`/readyz` on both ports).
#[derive(Debug, Clone)]
pub struct Readiness {
    process: telemetry::Readiness,
    workers: Condition,
    stays: Condition,
}

impl Default for Readiness {
    fn default() -> Self {
        let process = telemetry::Readiness::new();
        let stays = process.condition("drain");
        stays.met();
        Self { workers: process.condition("workers"), stays, process }
    }
}

impl Readiness {
    /// Whether the node can serve now.
    pub fn is_ready(&self) -> bool {
        self.process.is_ready()
    }

    /// Says that it can, or cannot.
    pub fn set(&self, ready: bool) {
        if ready {
            self.workers.met();
        } else {
            self.unmet("expected a worker to answer this node's heartbeat, found none that does");
        }
    }

    /// Says that it cannot, and why.
    pub fn unmet(&self, reason: &str) {
        self.workers.unmet(reason);
    }

    /// Says that it drains: it can serve no new session any more, whatever else becomes of it.
    pub fn draining(&self) {
        self.stays.unmet("expected a node that takes sessions, found it draining");
    }

    /// The same, for the process's own port.
    pub fn process(&self) -> telemetry::Readiness {
        self.process.clone()
    }
}
