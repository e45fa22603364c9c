//! A stack of the run's own: three edges, three workers and private stores under `simple-im up`, with a proxy on every
//! road that a fault may cut.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use shared::client::http::Api;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::proxy::Proxy;
use crate::process::Identity;
use crate::ready;
use crate::record::{Kind, Process, Stack, replace};
use crate::stack::ports::Ports;

/// How many edges and workers.
pub const EDGES: u16 = 3;
/// How many workers.
pub const WORKERS: u16 = 3;
/// How long all processes may take to be ready again after a fault.
const READY: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Passwords are digested as lightly as is allowed: this run is not about them.
const WORKER: &str = "[account]\nargon2_kib = 8\nargon2_passes = 1\n";
/// Few unacknowledged deliveries, so that slow clients fall behind within seconds.
const EDGE: &str = "[limits]\nunacked = 48\n";

/// The running stack.
#[derive(Debug)]
pub struct World {
    dir: PathBuf,
    program: PathBuf,
    proxies: BTreeMap<(String, &'static str), Proxy>,
}

impl World {
    /// Starts it in this folder, its edges with TLS or without.
    pub async fn start(dir: PathBuf, tls: bool) -> Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let own = Ports::free(&dir, EDGES, WORKERS)?;
        let mut proxies = BTreeMap::new();
        for (letter, count, store) in
            [('e', EDGES, "nats"), ('w', WORKERS, "nats"), ('w', WORKERS, "postgres")]
        {
            for number in 1..=count {
                let port = own.of_name(store).unwrap_or_default();
                proxies.insert((format!("{letter}{number}"), store), Proxy::to(port).await?);
            }
        }
        own.keep()?;
        let mut through: BTreeMap<&str, BTreeMap<&str, u16>> = BTreeMap::new();
        for ((process, store), proxy) in &proxies {
            through.entry(process).or_default().insert(store, proxy.port());
        }
        replace(&dir.join("through.toml"), &toml::to_string(&through)?)?;
        fs::write(dir.join("worker.toml"), WORKER)?;
        fs::write(dir.join("edge.toml"), EDGE)?;
        let world = Self { dir, program: std::env::current_exe()?, proxies };
        let (edges, workers) = (EDGES.to_string(), WORKERS.to_string());
        let mut up = world.command("up");
        up.args(["--detach", "--edges", &edges, "--workers", &workers]).args(tls.then_some("--tls"));
        let output = up.output().await.context("running simple-im up")?;
        if !output.status.success() {
            bail!(
                "the stack did not start:\n{}",
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat())
            );
        }
        Ok(world)
    }

    /// Ends it.
    pub async fn stop(&self) -> Result<()> {
        // A process that cannot reach its store would be waited for.
        self.proxies.values().for_each(|proxy| proxy.cut(false));
        let output = self.command("down").output().await.context("running simple-im down")?;
        ensure!(
            output.status.success(),
            "the stack did not end:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(name).arg("--data").arg(&self.dir).stdin(Stdio::null());
        command
    }

    /// The folder of the binaries that it runs: those beside this one.
    pub fn binaries(&self) -> &Path {
        self.program.parent().unwrap_or(Path::new("."))
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What runs now.
    pub fn stack(&self) -> Result<Stack> {
        Stack::read(&self.dir)?.context("the stack's stack.toml is gone")
    }

    /// One process as it runs now.
    pub fn process(&self, name: &str) -> Result<Process> {
        let stack = self.stack()?;
        stack.process.into_iter().find(|it| it.name == name).with_context(|| format!("no process {name}"))
    }

    /// A store's URL.
    pub fn url(&self, store: &str) -> Result<String> {
        self.process(store)?.addresses.url.with_context(|| format!("{store} has no URL"))
    }

    /// The edges' addresses: TCP, HTTP, metrics.
    pub fn edges(&self) -> Result<Vec<[String; 3]>> {
        let stack = self.stack()?;
        let edges = stack
            .process
            .into_iter()
            .filter(|it| it.kind == Kind::Edge)
            .filter_map(|it| Some([it.addresses.tcp?, it.addresses.http?, it.addresses.metrics?]));
        Ok(edges.collect())
    }

    /// Their HTTP APIs as clients speak to them.
    pub fn apis(&self) -> Result<Vec<Api>> {
        let stack = self.stack()?;
        stack.process.iter().filter(|it| it.kind == Kind::Edge).map(|it| it.addresses.api()).collect()
    }

    /// Which processes the edges are.
    pub fn edges_running(&self) -> Result<Vec<Identity>> {
        let stack = self.stack()?;
        Ok(stack.process.into_iter().filter(|it| it.kind == Kind::Edge).map(|it| it.identity).collect())
    }

    /// The proxy between a process and a store.
    pub fn proxy(&self, process: &str, store: &'static str) -> Result<&Proxy> {
        let proxy = self.proxies.get(&(process.to_owned(), store));
        proxy.with_context(|| format!("no proxy between {process} and {store}"))
    }

    /// While this file is there, the supervisor does not start the process.
    pub fn hold(&self, name: &str, hold: bool) -> Result<()> {
        let dir = self.dir.join("hold");
        if hold {
            fs::create_dir_all(&dir)?;
            fs::write(dir.join(name), "")?;
        } else {
            fs::remove_file(dir.join(name))?;
        }
        Ok(())
    }

    /// Waits until every process runs and every edge and worker says that it is ready.
    pub async fn all_ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY;
        loop {
            let Err(error) = self.is_ready().await else { return Ok(()) };
            if Instant::now() >= deadline {
                return Err(error.context(format!("not ready {READY:?} after the last fault")));
            }
            sleep(LOOK_EVERY * 5).await;
        }
    }

    async fn is_ready(&self) -> Result<()> {
        for process in self.stack()?.process {
            ensure!(process.identity.lives(), "{} does not run", process.name);
            if let Some(metrics) = &process.addresses.metrics {
                ready::ask(metrics).await.with_context(|| process.name.clone())?;
            }
        }
        Ok(())
    }

    /// Waits until this process is another one than before, and runs.
    pub async fn is_back(&self, before: &Process) -> Result<()> {
        let deadline = Instant::now() + READY;
        while Instant::now() < deadline {
            let now = self.process(&before.name)?;
            if now.identity != before.identity && now.identity.lives() {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
        bail!("{} was not started again within {READY:?}", before.name)
    }
}
