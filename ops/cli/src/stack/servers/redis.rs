//! A private Redis server as fast memory: nothing on disk.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use shared::config::Secret;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::{Access, Store};
use crate::record::replace;
use crate::stack::{find, secret};

/// A Redis server's folder, port and program.
#[derive(Clone, Debug)]
pub struct Redis {
    program: PathBuf,
    dir: PathBuf,
    port: u16,
    password: Secret,
    password_file: PathBuf,
}

impl Redis {
    /// Writes the configuration into `dir`, made if missing.
    pub fn prepare(dir: &Path, port: u16) -> Result<Store> {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let password_file = dir.join("password");
        let password = Secret::new(secret::kept_in(&password_file)?);
        let redis = Self { program: find::redis_server()?, dir, port, password, password_file };
        replace(&redis.config(), &redis.settings()).context("writing redis.conf")?;
        Ok(Store::Redis(redis))
    }

    fn config(&self) -> PathBuf {
        self.dir.join("redis.conf")
    }

    fn settings(&self) -> String {
        let (port, dir, password) = (self.port, &self.dir, self.password.expose());
        // No persistence: all that is here can be made again from PostgreSQL, and an old image of the routes
        // would be worse than none.
        // volatile-ttl: when memory is full, only keys that expire anyway go (cached bodies and tokens,
        // counters), each of which has a fallback. Routes have no expiry, so a route is never evicted, which
        // would look like "offline"; when nothing is left to evict, writing fails, and that is seen.
        format!(
            "# Written by simple-im at every start; changes are lost.\n\
             bind 127.0.0.1\n\
             port {port}\n\
             requirepass {password}\n\
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
        format!("redis://:{}@127.0.0.1:{}", self.password.expose(), self.port)
    }

    pub(super) fn access(&self) -> Access {
        let url = format!("redis://127.0.0.1:{}", self.port);
        Access { url, password_file: Some(self.password_file.clone()) }
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(self.config()).stdin(Stdio::null()).current_dir(&self.dir);
        command
    }

    pub(super) async fn answers(&self) -> Result<()> {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).await?);
        stream.write_all(format!("AUTH {}\r\nPING\r\n", self.password.expose()).as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        ensure!(line.trim_end() == "+OK", "expected +OK, found {line:?}");
        line.clear();
        stream.read_line(&mut line).await?;
        ensure!(line.trim_end() == "+PONG", "expected +PONG, found {line:?}");
        Ok(())
    }
}
