//! Which versions of everything took part.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::Command,
    time::timeout,
};

use super::place::Place;
use crate::record::Kind;

/// How long one may take to say.
const PATIENCE: Duration = Duration::from_secs(5);

/// As they say themselves.
///
/// # Errors
/// When a store does not answer.
pub async fn of(place: &Place) -> Result<Value> {
    let database = place.database().await?;
    let row = database.query_one("SHOW server_version", &[]).await?;
    let postgres: String = row.get(0);
    let redis = timeout(PATIENCE, redis(place.url(Kind::Redis)?)).await.context("Redis's version")??;
    let nats = timeout(PATIENCE, nats(place.url(Kind::Nats)?)).await.context("NATS's version")??;
    Ok(json!({
        "simple-im": env!("CARGO_PKG_VERSION"),
        "commit": commit().await,
        "profile": if cfg!(debug_assertions) { "debug" } else { "release" },
        "nats": nats,
        "postgres": postgres.split(' ').next(),
        "redis": redis,
    }))
}

async fn redis(url: &str) -> Result<String> {
    let mut link = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let said: String = redis::cmd("INFO").arg("server").query_async(&mut link).await?;
    let version = said.lines().find_map(|line| line.strip_prefix("redis_version:"));
    Ok(version.unwrap_or("unknown").trim().to_owned())
}

/// It says so to everyone who connects, in JSON after `INFO`.
async fn nats(url: &str) -> Result<String> {
    let address = url.trim_start_matches("nats://");
    let address = address.rsplit_once('@').map_or(address, |(_, address)| address);
    let mut line = String::new();
    BufReader::new(TcpStream::connect(address).await?).read_line(&mut line).await?;
    let info: Value = serde_json::from_str(line.trim_start_matches("INFO").trim())?;
    Ok(info["version"].as_str().unwrap_or("unknown").to_owned())
}

/// The checkout that the binary lies in, where it does.
async fn commit() -> Option<String> {
    let folder = std::env::current_exe().ok()?.parent()?.to_owned();
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(["describe", "--always", "--dirty", "--abbrev=12"]).stdin(Stdio::null());
    let said = timeout(PATIENCE, git.output()).await.ok()?.ok()?;
    let text = String::from_utf8(said.stdout).ok()?;
    (said.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
