//! `simple-im ready`: asks an edge or a worker whether it can serve; for health checks where there is no curl.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the answer may take.
const LIMIT: Duration = Duration::from_secs(2);
/// The most of an answer that is read.
const ANSWER_BYTES: u64 = 16 << 10;

/// What `simple-im ready` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The process's metrics address, host:port.
    pub address: String,
}

/// Asks `/readyz` at this address: an error says what is not ready, or that nothing answered.
pub async fn ask(address: &str) -> Result<()> {
    timeout(LIMIT, readyz(address)).await.unwrap_or_else(|_| bail!("no answer within {LIMIT:?}"))
}

async fn readyz(address: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    stream.write_all(format!("GET /readyz HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES).read_to_string(&mut answer).await?;
    let status = answer.split_whitespace().nth(1).unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim());
    ensure!(status == "200", "expected status 200 from http://{address}/readyz, found {status:?}: {body}");
    Ok(())
}
