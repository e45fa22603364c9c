//! `simple-im up`: the whole system under one supervisor.
//!
//! | module | holds |
//! |---|---|
//! | `plan` | which processes at which ports |
//! | `spec` | how one is run and asked for readiness |
//! | `keep` | its life: start, watch, start again, stop |
//! | `board` | the state of all, and `stack.toml` |
//! | `log`, `say`, `disk` | what is written where, and when there is no room to |
//! | `detach` | `--detach` |

mod board;
mod detach;
mod disk;
mod keep;
mod log;
mod plan;
mod say;
mod spec;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::board::Board;
use self::keep::Keeper;
use self::log::Log;
use self::plan::{Edges, Stores};
use self::say::Say;
use self::spec::Spec;
use crate::lock::{self, Attempt};
use crate::{
    migrate,
    stack::{authority, ports::Ports},
    stale,
};

pub use self::detach::cut_loose;

/// How long the stores, and then the processes, have to become ready.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// What `simple-im up` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where everything is kept; made if missing.
    #[arg(long, default_value = "data", value_name = "DIR")]
    pub data: PathBuf,
    /// How many edges; 0 for none.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(..=64))]
    pub edges: u16,
    /// How many workers; 0 for none.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(..=64))]
    pub workers: u16,
    /// Give each edge two ports for simple_im's original clients: `compat_http` in stack.toml for their calls, and `compat`, where a
    /// login there sends them.
    #[arg(long)]
    pub compat: bool,
    /// Give the edges a certificate of the stack's own, signed by DIR/tls/ca.pem: clients and browsers speak TLS with them.
    #[arg(long)]
    pub tls: bool,
    /// Return once all is ready, and leave it running.
    #[arg(long)]
    pub detach: bool,
    /// This is the process that `--detach` leaves running.
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// Runs the stack until it is told to stop; with `--detach`, until it is ready.
pub async fn run(options: Options) -> Result<ExitCode> {
    let data = data_folder(&options.data)?;
    if options.detach {
        return detach::start(&options, &data).await;
    }
    let began = Instant::now();
    let lock = match lock::attempt(&data)? {
        Attempt::Held(lock) => lock,
        Attempt::Taken(by) => {
            let data = data.display();
            bail!(
                "a stack runs on {data} already (supervisor pid {}); ops/down --data {data} ends it",
                by.pid
            )
        }
    };
    let say = Say::new(Log::new(data.join("log").join("supervisor.log")));
    let mut told = Told::listen()?;
    for line in stale::end_left_over(&data, &lock).await? {
        say.line(line);
    }
    allow_many_connections(&say);
    let board = Arc::new(Board::new(data.clone(), say.clone()));
    let mut groups = Groups::new(Arc::clone(&board), say.clone());
    let outcome = tokio::select! {
        outcome = serve(&options, &data, &board, &mut groups, &say, began) => outcome,
        () = disk::watch(&data, &board, &say) => Ok(()),
        by = told.stop() => {
            say.line(format!("{by}: stopping"));
            Ok(())
        }
    };
    groups.stop().await;
    say.line("stopped");
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Starts everything in order, says where it is, and then only waits.
async fn serve(
    options: &Options,
    data: &Path,
    board: &Board,
    groups: &mut Groups,
    say: &Say,
    began: Instant,
) -> Result<()> {
    let mut ports = Ports::of(data);
    let stores = plan::stores(data, &mut ports, options.edges).await?;
    let tls = options.tls.then(|| authority::kept_in(&data.join("tls"))).transpose()?;
    let wanted = Edges { count: options.edges, compat: options.compat, tls };
    let edges = plan::edges(data, &wanted, &mut ports, &stores)?;
    let workers = plan::workers(data, options.workers, &mut ports, &stores)?;
    ports.keep()?;

    let Stores { nats, postgres, redis } = &stores;
    let specs = [nats, postgres, redis].map(|store| Spec::store(store.clone(), &data.join("log")));
    let names = groups.stores.start(specs);
    board.all_ready(&names, READY_LIMIT).await.context("starting the stores")?;
    for line in migrate::stack(plan::own_config(data, "worker").as_deref(), &postgres.url()).await? {
        say.line(line);
    }
    let where_to_go = where_to_go(data, &edges, &workers);
    let names = [groups.workers.start(workers), groups.edges.start(edges)].concat();
    board.all_ready(&names, READY_LIMIT).await.context("starting edges and workers")?;

    say.line(format!("ready after {:.1} s\n{where_to_go}", began.elapsed().as_secs_f64()));
    if options.detached {
        detach::let_go(say)?;
    }
    std::future::pending().await
}

fn where_to_go(data: &Path, edges: &[Spec], workers: &[Spec]) -> String {
    let mut lines = Vec::new();
    for edge in edges {
        if let (Some(tcp), Some(http)) = (&edge.addresses.tcp, &edge.addresses.http) {
            let scheme = if edge.addresses.ca.is_some() { "https" } else { "http" };
            lines.push(format!("  {}: clients at {tcp}, browser and HTTP at {scheme}://{http}/", edge.name));
        }
    }
    if let Some(ca) = edges.iter().find_map(|edge| edge.addresses.ca.as_ref()) {
        lines.push(format!("  TLS: who connects trusts {}", ca.display()));
    }
    for edge in edges {
        if let (Some(compat), Some(http)) = (&edge.addresses.compat, &edge.addresses.compat_http) {
            let name = &edge.name;
            lines.push(format!(
                "  {name}: simple_im's original clients at {compat}, their HTTP at http://{http}/"
            ));
        }
    }
    for process in edges.iter().chain(workers) {
        if let Some(metrics) = &process.addresses.metrics {
            lines.push(format!("  {}: metrics at http://{metrics}/metrics", process.name));
        }
    }
    let data = data.display();
    lines.push(format!("  what runs: {data}/stack.toml; logs: {data}/log; stop: ops/down --data {data}"));
    lines.join("\n")
}

/// The processes in the order in which they stop: those who use the others first.
struct Groups {
    edges: Group,
    workers: Group,
    stores: Group,
}

struct Group {
    board: Arc<Board>,
    say: Say,
    stop: CancellationToken,
    keepers: JoinSet<()>,
}

impl Groups {
    fn new(board: Arc<Board>, say: Say) -> Self {
        let group = || Group {
            board: Arc::clone(&board),
            say: say.clone(),
            stop: CancellationToken::new(),
            keepers: JoinSet::new(),
        };
        Self { edges: group(), workers: group(), stores: group() }
    }

    async fn stop(self) {
        for group in [self.edges, self.workers, self.stores] {
            group.stop.cancel();
            // Each keeper kills its own process after that process's deadline, so this ends.
            group.keepers.join_all().await;
        }
    }
}

impl Group {
    /// Starts a keeper for each; gives their names.
    fn start(&mut self, specs: impl IntoIterator<Item = Spec>) -> Vec<String> {
        let start = |spec: Spec| {
            let name = spec.name.clone();
            let (board, say, stop) = (Arc::clone(&self.board), self.say.clone(), self.stop.clone());
            self.keepers.spawn(Keeper { spec, board, say, stop }.keep());
            name
        };
        specs.into_iter().map(start).collect()
    }
}

/// The signals on which the stack stops.
struct Told {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Told {
    fn listen() -> Result<Self> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hangup: signal(SignalKind::hangup())? })
    }

    async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}

/// The folder with its log folder, as an absolute path. Made for its owner alone: passwords are kept there.
fn data_folder(data: &Path) -> Result<PathBuf> {
    let make = |dir: &Path| DirBuilder::new().recursive(true).mode(0o700).create(dir);
    make(data)
        .and_then(|()| make(&data.join("log")))
        .with_context(|| format!("making {}", data.display()))?;
    data.canonicalize().with_context(|| format!("{}", data.display()))
}

/// A connection is an open file. The limit the system allows is taken; every process inherits it.
fn allow_many_connections(say: &Say) {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard));
    match raised {
        Ok(limit) if limit < 20_000 => {
            say.line(format!("only {limit} open files a process are allowed here, connections included"));
        }
        Ok(_) => {}
        Err(error) => say.line(format!("the limit of open files stays as it is: {error}")),
    }
}
