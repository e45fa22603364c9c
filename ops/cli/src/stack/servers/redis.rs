//! A private Redis server as fast memory: nothing on disk.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::Store;
use crate::stack::find;

/// A Redis server's folder, port and program.
#[derive(Clone, Debug)]
pub struct Redis {
    program: PathBuf,
    dir: PathBuf,
    port: u16,
}

impl Redis {
    /// Writes the configuration into `dir`, made if missing.
    pub fn prepare(dir: &Path, port: u16) -> Result<Store> {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let redis = Self { program: find::redis_server()?, dir, port };
        std::fs::write(redis.config(), redis.settings()).context("writing redis.conf")?;
        Ok(Store::Redis(redis))
    }

    fn config(&self) -> PathBuf {
        self.dir.join("redis.conf")
    }

    fn settings(&self) -> String {
        let (port, dir) = (self.port, &self.dir);
        // No persistence: all that is here can be made again from PostgreSQL, and an old image of the routes
        // would be worse than none.
        // volatile-ttl: when memory is full, only keys that expire anyway go (cached bodies and tokens,
        // counters), each of which has a fallback. Routes have no expiry, so a route is never evicted, which
        // would look like "offline"; when nothing is left to evict, writing fails, and that is seen.
        format!(
            "# Written by simple-im at every start; changes are lost.\n\
             bind 127.0.0.1\n\
             port {port}\n\
             dir {dir:?}\n\
             daemonize no\n\
             save \"\"\n\
             appendonly no\n\
             maxmemory 256mb\n\
             maxmemory-policy volatile-ttl\n\
             tcp-backlog 511\n\
             tcp-keepalive 60\n\
             timeout 0\n\
             loglevel notice\n"
        )
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(self.config()).stdin(Stdio::null()).current_dir(&self.dir);
        command
    }

    pub(super) async fn answers(&self) -> Result<()> {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).await?);
        stream.write_all(b"PING\r\n").await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        ensure!(line.trim_end() == "+PONG", "expected +PONG, found {line:?}");
        Ok(())
    }
}
