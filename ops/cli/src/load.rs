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
//! | `pairs` | the scene of `throughput` and `latency` |
//! | `overload` | a mode of its own, over minutes |
//! | `report`, `versions` | the line |

mod bare;
mod cpu;
mod door;
mod histogram;
mod memory;
mod meter;
mod open;
mod overload;
mod pairs;
mod party;
mod people;
mod place;
mod report;
mod run;
mod talk;
mod versions;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

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
    /// Decides whatever is left to chance: in which order users write, connect or have news.
    #[arg(long, global = true, default_value_t = 1)]
    pub seed: u64,
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
        stopped = tokio::signal::ctrl_c() => stopped.map_err(Into::into).and(Err(anyhow::anyhow!("interrupted"))),
    };
    let closed = place.close().await;
    told.and_then(|line| closed.map(|()| line))
}

async fn drive(options: &Options, place: &Place) -> Result<String> {
    let mode = options.mode.clone();
    match mode {
        Mode::Throughput { window } => talk::drive(options, place, Drive::Closed { window }).await,
        Mode::Latency { rate } => {
            ensure!(rate > 0.0, "expected a rate above 0");
            talk::drive(options, place, Drive::Open { rate }).await
        }
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

/// A connection is an open file: as many as the system allows.
fn allow_many_files() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raising the limit of open files")
}
