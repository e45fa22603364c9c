//! Asking Redis: INFO, TIME, and CONFIG where it may be asked.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;
use shared::config::Strength;
use tokio::time::timeout;
use workers::{config, directory::link::client};

use super::Redis;
use crate::doctor::clock::Clock;
use crate::doctor::place::{PATIENCE, is_remote, now_us};

/// What asking gave.
#[derive(Clone, Debug)]
pub struct Told {
    /// The server.
    pub redis: Redis,
    /// Its clock.
    pub clock: Option<Clock>,
}

/// Asks everything.
///
/// # Errors
/// When it does not answer, or wants another password.
pub async fn gather(redis: &config::Redis) -> Result<Told> {
    timeout(PATIENCE, ask(redis)).await.context("it took too long")?
}

async fn ask(settings: &config::Redis) -> Result<Told> {
    let client = client(settings)?;
    let mut link = client.get_multiplexed_async_connection().await.context("connecting")?;
    let text: String = redis::cmd("INFO").query_async(&mut link).await.context("INFO")?;
    let info: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
    let word = |name: &str| info.get(name).copied().unwrap_or_default().to_owned();
    let number = |name: &str| info.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    let saves = setting(&mut link, "save").await.map(|rules| !rules.is_empty());
    let appends = number("aof_enabled") != 0;
    let before = now_us();
    let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(&mut link).await.context("TIME")?;
    let clock = Clock::read("redis", seconds * 1_000_000 + micros, (before, now_us()));
    let redis = Redis {
        version: word("redis_version"),
        role: word("role"),
        policy: word("maxmemory_policy"),
        max_memory: number("maxmemory"),
        memory: number("used_memory"),
        max_clients: number("maxclients"),
        clients: number("connected_clients"),
        persists: if appends { Some(true) } else { saves },
        // Given none, it has answered all the same.
        auth: [settings.url.strength(), settings.password.strength()]
            .into_iter()
            .any(|worth| worth != Strength::None),
        tls: settings.url.expose().starts_with("rediss://"),
        remote: is_remote(settings.url.expose()),
    };
    Ok(Told { redis, clock: Some(clock) })
}

/// Nothing where the role may not ask.
async fn setting(link: &mut MultiplexedConnection, name: &str) -> Option<String> {
    let told: (String, String) = redis::cmd("CONFIG").arg(&["GET", name]).query_async(link).await.ok()?;
    Some(told.1)
}
