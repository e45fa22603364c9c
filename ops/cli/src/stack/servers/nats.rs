//! A private NATS server with JetStream on disk.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::Store;
use crate::stack::find;

/// How much memory its garbage collector lets it have. A full stream is read by eight lanes, and what they read is kept for
/// a while: without a limit that came to 2.1 GiB for a stream of 1 GiB, with this one to 0.7, at the same pace.
const MEMORY: (&str, &str) = ("GOMEMLIMIT", "768MiB");

/// A NATS server's folder, port and program.
#[derive(Clone, Debug)]
pub struct Nats {
    program: PathBuf,
    dir: PathBuf,
    port: u16,
}

impl Nats {
    /// Writes the configuration into `dir` (made if missing), where JetStream keeps its files too.
    pub fn prepare(dir: &Path, port: u16) -> Result<Store> {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let nats = Self { program: find::nats_server()?, dir, port };
        std::fs::write(nats.config(), nats.settings()).context("writing nats.conf")?;
        Ok(Store::Nats(nats))
    }

    fn config(&self) -> PathBuf {
        self.dir.join("nats.conf")
    }

    fn settings(&self) -> String {
        let (port, store) = (self.port, self.dir.join("jetstream"));
        // One setting a line: nats-server does not parse a block on one line.
        // max_file_store only has to be above the sum of the streams' own limits, which are what bounds the disk.
        format!(
            "# Written by simple-im at every start; changes are lost.\n\
             listen: \"127.0.0.1:{port}\"\n\
             server_name: \"simple-im\"\n\
             max_payload: 1048576\n\
             max_pending: 67108864\n\
             write_deadline: \"10s\"\n\
             jetstream {{\n\
             \x20 store_dir: {store:?}\n\
             \x20 max_memory_store: 67108864\n\
             \x20 max_file_store: 17179869184\n\
             }}\n"
        )
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.config()).stdin(Stdio::null()).current_dir(&self.dir);
        let (name, limit) = MEMORY;
        if std::env::var_os(name).is_none() {
            command.env(name, limit);
        }
        command
    }

    /// It answers a ping, and says in its greeting that JetStream is on.
    pub(super) async fn answers(&self) -> Result<()> {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).await?);
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        ensure!(line.starts_with("INFO "), "expected NATS's greeting, found {line:?}");
        ensure!(line.contains("\"jetstream\":true"), "JetStream is not on");
        stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").await?;
        line.clear();
        stream.read_line(&mut line).await?;
        ensure!(line.trim_end() == "PONG", "expected PONG, found {line:?}");
        Ok(())
    }
}
