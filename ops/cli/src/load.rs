//! `simple-im load`: drives a running stack over real connections and prints one JSON line with what came of it.
//!
//! The generator shares the stack's machine, so it is made to cost little: one thread, bare sockets, frames written and
//! read by hand. Its own CPU is reported apart.
//!
//! | module | holds |
//! |---|---|
//! | `bare` | many connections in one thread |
//! | `place`, `people`, `door` | the stack, its new users, and their logging in |
//! | `party`, `open` | what one user writes and sees, and how it is judged |
//! | `run`, `meter`, `histogram`, `cpu`, `memory` | time, latencies, and what the processes use |
//! | `talk`, `pairs` | `throughput` and `latency` |
//! | `group`, `offline`, `storm`, `idle`, `wide`, `grow` | the modes of these names |
//! | `overload` | a mode of its own, over minutes |
//! | `report`, `versions`, `plot` | the line, and the picture |

mod aside;
mod bare;
mod cpu;
mod door;
mod group;
mod grow;
mod histogram;
mod idle;
mod memory;
mod meter;
mod offline;
mod open;
mod overload;
mod pairs;
mod party;
mod people;
mod place;
mod plot;
mod report;
mod run;
mod storm;
mod talk;
mod versions;
mod wide;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use self::{pairs::Drive, place::Place, report::Line};
use crate::record::Kind;

/// What `simple-im load` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What to measure.
    #[command(subcommand)]
    pub mode: Mode,
    /// The data folder of the running stack.
    #[arg(long, global = true, default_value = "data", value_name = "DIR")]
    pub stack: PathBuf,
    /// Start a stack for this run, in a temporary folder, and remove it afterwards.
    #[arg(long, global = true)]
    pub start: bool,
    /// Edges of a stack that is started for the run.
    #[arg(long, global = true, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub edges: u16,
    /// Workers of a stack that is started for the run.
    #[arg(long, global = true, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Pairs of users; one of each talks to the other.
    #[arg(long, global = true, default_value_t = 100)]
    pub pairs: usize,
    /// Bytes of a message's text.
    #[arg(long, global = true, default_value_t = 64)]
    pub body: usize,
    /// Seconds that are not measured, first.
    #[arg(long, global = true, default_value_t = 5)]
    pub warm: u64,
    /// Seconds that are.
    #[arg(long, global = true, default_value_t = 20)]
    pub secs: u64,
    /// How receivers acknowledge.
    #[arg(long, global = true, value_enum, default_value_t = Acks::Each)]
    pub acks: Acks,
    /// For how long an acknowledgement waits for others to go with it, milliseconds; 64 never wait.
    #[arg(long, global = true, default_value_t = 250, value_name = "MS")]
    pub ack_ms: u64,
    /// Decides whatever is left to chance: in which order users write, connect or have news.
    #[arg(long, global = true, default_value_t = 1)]
    pub seed: u64,
    /// Draw latency over time and its distribution into this SVG file; for throughput, latency, group, storm and offline.
    #[arg(long, global = true, value_name = "FILE")]
    pub plot: Option<PathBuf>,
}

/// How receivers acknowledge. Either way several deliveries at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Acks {
    /// Each delivery, many entries a frame.
    Each,
    /// As read, up to the newest.
    Read,
}

impl Acks {
    fn name(self) -> &'static str {
        match self {
            Self::Each => "each",
            Self::Read => "read",
        }
    }
}

/// What to measure.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Mode {
    /// Closed loop: each sender keeps so many messages in flight.
    Throughput {
        /// Messages without an ack, a sender.
        #[arg(long, default_value_t = 16)]
        window: usize,
    },
    /// Open loop: messages leave at a fixed rate, whatever comes back; latency counts from when they should have left.
    Latency {
        /// Messages a second, over all senders.
        #[arg(long, default_value_t = 2_000.0)]
        rate: f64,
    },
    /// Closed loop in one group whose members are all online, one of whom writes.
    Group(group::Group),
    /// Messages to users who are away, who then all come back.
    Offline(offline::Offline),
    /// Many clients reconnect with their tokens at once, while others talk.
    Storm(storm::Storm),
    /// Memory and CPU of one edge for sessions that do nothing.
    Idle(idle::Idle),
    /// A user with thousands of conversations, a few of them with news, logs in.
    Wide(wide::Wide),
    /// Fill the database, for other modes to run on; then some users log in and ask what they are owed.
    Grow(grow::Grow),
    /// Open loop at a multiple of the capacity, which is measured first; some receivers are slow. Prints each process's
    /// memory.
    Overload(overload::Overload),
}

/// Runs it and prints its line.
///
/// # Errors
/// When there is no stack, or its users cannot be made.
pub async fn run(options: Options) -> Result<String> {
    ensure!(options.pairs > 0, "expected at least one pair");
    allow_many_files()?;
    let place = Place::open(&options).await?;
    let told = tokio::select! {
        told = drive(&options, &place) => told,
        stopped = stopped() => stopped.and_then(|()| bail!("interrupted")),
    };
    let closed = place.close().await;
    told.and_then(|line| closed.map(|()| line))
}

/// By a signal: a stack of the run's own is ended all the same.
async fn stopped() -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminated.recv() => {}
    }
    Ok(())
}

async fn drive(options: &Options, place: &Place) -> Result<String> {
    let mode = options.mode.clone();
    match mode {
        Mode::Throughput { window } => talk::drive(options, place, Drive::Closed { window }).await,
        Mode::Latency { rate } => {
            ensure!(rate > 0.0, "expected a rate above 0");
            talk::drive(options, place, Drive::Open { rate }).await
        }
        Mode::Group(group) => group::drive(options, &group, place).await,
        Mode::Offline(offline) => offline::drive(options, &offline, place).await,
        Mode::Storm(storm) => storm::drive(options, &storm, place).await,
        Mode::Idle(idle) => idle::drive(options, &idle, place).await,
        Mode::Wide(wide) => wide::drive(options, &wide, place).await,
        Mode::Grow(grow) => grow::drive(options, &grow, place).await,
        Mode::Overload(overload) => overload::drive(options, &overload, place).await,
    }
}

/// The line of a mode, with what every run says.
async fn line(mode: &str, options: &Options, place: &Place) -> Result<Line> {
    let versions = versions::of(place).await.context("asking for versions")?;
    Ok(Line::new(mode, options, place.count(Kind::Edge), place.count(Kind::Worker), versions))
}

/// Does what blocks on a thread of its own, which an interrupted run does not wait for.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let work = move || drop(tell.send(work()));
    std::thread::Builder::new().name("load".to_owned()).spawn(work)?;
    told.await.context("the run's thread has crashed")?
}

/// How many connections this process may have, some files for itself kept back.
fn most_lines() -> Result<usize> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(usize::try_from(soft).unwrap_or(usize::MAX).saturating_sub(200))
}

/// A connection is an open file: as many as the system allows.
fn allow_many_files() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raising the limit of open files")
}
