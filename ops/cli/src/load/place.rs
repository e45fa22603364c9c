//! The stack that a run drives: one that runs already, or one of its own.

use std::{
    fs,
    net::{SocketAddr, ToSocketAddrs},
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    process::Stdio,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use super::Options;
use crate::{
    record::{Kind, Stack},
    stack::ports::Ports,
};

/// A running stack.
#[derive(Debug)]
pub struct Place {
    /// Its folder.
    pub dir: PathBuf,
    /// What runs there.
    pub stack: Stack,
    /// It was started for this run, and ends with it.
    own: bool,
}

/// Where an edge is reached.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Clients.
    pub tcp: SocketAddr,
    /// The HTTP API, `host:port`.
    pub http: String,
    /// Its process.
    pub pid: u32,
}

impl Place {
    /// The stack that is wanted.
    ///
    /// # Errors
    /// When none runs there, or its own does not start.
    pub async fn open(options: &Options) -> Result<Self> {
        if options.start {
            return Self::start(options).await;
        }
        let dir = options.stack.clone();
        let stack = Stack::read(&dir)?.with_context(|| {
            format!(
                "no stack runs on {}: ops/up --data {0} starts one, and --start one of its own",
                dir.display()
            )
        })?;
        Ok(Self { dir, stack, own: false })
    }

    async fn start(options: &Options) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let dir = std::env::temp_dir().join(format!("simple-im-load-{}-{now}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("making {}", dir.display()))?;
        let mut place = Self { dir, stack: Stack::of_this_process(), own: true };
        match place.bring_up(options).await {
            Ok(()) => Ok(place),
            Err(error) => {
                place.close().await.ok();
                Err(error)
            }
        }
    }

    async fn bring_up(&mut self, options: &Options) -> Result<()> {
        Ports::free(&self.dir, options.edges, options.workers)?.keep()?;
        let (edges, workers) = (options.edges.to_string(), options.workers.to_string());
        let mut command = self.command("up")?;
        let up = command.args(["--detach", "--edges", &edges, "--workers", &workers]).output().await?;
        if !up.status.success() {
            let said = [up.stdout, up.stderr].concat();
            bail!("the stack did not start:\n{}", String::from_utf8_lossy(&said));
        }
        self.stack = Stack::read(&self.dir)?.context("the started stack has no stack.toml")?;
        Ok(())
    }

    fn command(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(name).arg("--data").arg(&self.dir).stdin(Stdio::null());
        Ok(command)
    }

    /// Ends the stack if it is the run's own, with all that it holds.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn close(self) -> Result<()> {
        if !self.own {
            return Ok(());
        }
        if self.dir.join(crate::record::FILE).exists() {
            let down = self.command("down")?.output().await.context("running simple-im down")?;
            ensure!(
                down.status.success(),
                "the stack did not end:\n{}",
                String::from_utf8_lossy(&down.stderr)
            );
        }
        fs::remove_dir_all(&self.dir).with_context(|| format!("removing {}", self.dir.display()))
    }

    /// Where its edges are reached.
    ///
    /// # Errors
    /// When it has none.
    pub fn edges(&self) -> Result<Vec<Edge>> {
        let mut edges = Vec::new();
        for process in self.stack.process.iter().filter(|process| process.kind == Kind::Edge) {
            let (Some(tcp), Some(http)) = (&process.addresses.tcp, &process.addresses.http) else { continue };
            ensure!(
                process.addresses.ca.is_none(),
                "expected a stack without TLS, which this load does not speak, found {} with it",
                process.name
            );
            let tcp =
                tcp.to_socket_addrs().with_context(|| tcp.clone())?.next().context("an edge's address")?;
            edges.push(Edge { tcp, http: http.clone(), pid: process.identity.pid });
        }
        ensure!(!edges.is_empty(), "the stack on {} has no edge", self.dir.display());
        Ok(edges)
    }

    /// How many processes of this kind it has.
    pub fn count(&self, kind: Kind) -> usize {
        self.stack.process.iter().filter(|process| process.kind == kind).count()
    }

    /// A store's URL.
    ///
    /// # Errors
    /// When it has none.
    pub fn url(&self, kind: Kind) -> Result<&str> {
        let process = self.stack.process.iter().find(|process| process.kind == kind);
        let url = process.and_then(|process| process.addresses.url.as_deref());
        url.with_context(|| format!("the stack on {} has no {kind:?}", self.dir.display()))
    }

    /// A connection to its database.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn database(&self) -> Result<tokio_postgres::Client> {
        let url = self.url(Kind::Postgres)?;
        let (client, connection) =
            tokio_postgres::connect(url, tokio_postgres::NoTls).await.context("connecting to PostgreSQL")?;
        // Ends with the client.
        drop(tokio::spawn(connection));
        Ok(client)
    }
}
