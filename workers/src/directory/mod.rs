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

/// What the names of keys begin with, behind the prefix; counters are left out.
const KINDS: [&str; 4] = ["client_", "route_", "offline_", "im_"];

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
    /// When `[redis]` is of no use: the URL cannot be read, or a certificate.
    pub fn new(config: &WorkerConfig) -> Result<Self, redis::RedisError> {
        let redis = &config.redis;
        let inner = Inner {
            link: Link::new(redis)?,
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

    /// For a tool, which is no worker and keeps nothing whole: connects, reads the epoch once, so that routes can be
    /// read, and stays connected until `ended`. Whether Redis answered within `patience`.
    pub async fn attach(&self, patience: Duration, ended: &tokio_util::sync::CancellationToken) -> bool {
        let (this, token) = (self.clone(), ended.clone());
        tokio::spawn(async move { this.link().keep(&token).await });
        let connected = async {
            while !self.is_up() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(patience, connected).await.is_err() {
            return false;
        }
        self.read_epoch().await.is_ok()
    }

    /// Removes every key of this system; how many. Redis is as if it had been wiped, then.
    ///
    /// # Errors
    /// [`Unreachable`]: some may be gone.
    pub async fn wipe(&self) -> Result<u64, Unreachable> {
        let mut gone = 0;
        for kind in KINDS {
            let pattern = format!("{}{kind}*", self.inner.prefix);
            let mut cursor = "0".to_owned();
            loop {
                let mut pipeline = redis::Pipeline::new();
                pipeline.cmd("SCAN").arg(&cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(1000);
                let ((next, keys),): ((String, Vec<String>),) = self.link().send(&pipeline).await?;
                if !keys.is_empty() {
                    let mut pipeline = redis::Pipeline::with_capacity(keys.len());
                    for key in &keys {
                        pipeline.cmd("UNLINK").arg(key).ignore();
                    }
                    self.link().send::<()>(&pipeline).await?;
                    gone += keys.len() as u64;
                }
                cursor = next;
                if cursor == "0" {
                    break;
                }
            }
        }
        Ok(gone)
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.inner.prefix)
    }

    fn link(&self) -> &Link {
        &self.inner.link
    }
}
