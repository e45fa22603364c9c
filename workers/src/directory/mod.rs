//! All Redis: where users are, which tokens were verified, what waits for whom, and counters. Fast memory that may be
//! wiped, restored from an old snapshot, or be gone, at any moment.
//!
//! | module | holds |
//! |---|---|
//! | [`link`] | the connection: made again for ever, never waited for longer than `timeout_ms` |
//! | [`routes`] | user to device to node and session |
//! | [`marker`] | whether the routes are whole: the epoch, the marker, who has registered |
//! | [`tokens`] | verified tokens (`client_{digest}`) |
//! | [`offline`] | cached bodies for users with no device online |
//! | [`limits`] | counters of failures and look-ups |
//! | [`figures`] | what Redis says of itself |
//!
//! One key a command, so that a cluster serves as well as one server.
//!
//! When it is full, Redis is to evict what has an expiry and nothing else (`maxmemory-policy volatile-ttl`, what ends
//! soonest goes first): counters, so that limits get looser; then tokens and bodies, which PostgreSQL has. Of a revoked
//! token it is the note that goes, and only a check that began before the revocation could bring the token back, for
//! `token_cache_seconds`. Routes, epoch, marker and registrations have no expiry.

pub mod figures;
pub mod limits;
pub mod link;
pub mod marker;
pub mod offline;
pub mod routes;
pub mod tokens;

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

pub use figures::Figures;
pub use limits::Limited;
pub use link::{Link, Unreachable};
pub use routes::{Placed, Route, Routes};
pub use tokens::Client;

use crate::config::WorkerConfig;

/// Redis, shared by everything in this worker.
#[derive(Debug, Clone)]
pub struct Directory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    link: Link,
    prefix: String,
    /// The epoch as it was last read; for heartbeats' replies.
    epoch: RwLock<Option<String>>,
    /// How long a new worker hears heartbeats before it may call the routes whole.
    settle: Duration,
    offline_days: u64,
    token_cache: Duration,
    drops: tokens::Drops,
    counters: limits::Fallback,
}

impl Directory {
    /// Connects in [`Directory::run`], not here: a worker starts while Redis is down.
    ///
    /// # Errors
    /// When `[redis] url` cannot be read.
    pub fn new(config: &WorkerConfig) -> Result<Self, redis::RedisError> {
        let redis = &config.redis;
        let inner = Inner {
            link: Link::new(redis.url.expose(), redis.timeout_ms.get())?,
            prefix: redis.prefix.clone(),
            epoch: RwLock::default(),
            settle: config.worker.node_dead_ms.get(),
            offline_days: redis.offline_days,
            token_cache: config.account.token_cache_seconds.get(),
            drops: tokens::Drops::default(),
            counters: limits::Fallback::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether Redis is connected now.
    pub fn is_up(&self) -> bool {
        self.inner.link.is_up()
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.inner.prefix)
    }

    fn link(&self) -> &Link {
        &self.inner.link
    }
}
