//! `simple-im load`: drives a running stack with real clients and prints one JSON line with what came of it.
//!
//! The generator runs on the machine of the stack; its own CPU is reported apart.

mod cpu;
mod memory;
mod overload;
mod people;
mod report;
mod run;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use self::run::Drive;
use crate::record::{Kind, Stack};

/// What `simple-im load` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What to measure.
    #[command(subcommand)]
    pub mode: Mode,
    /// The data folder of the running stack.
    #[arg(long, global = true, default_value = "data", value_name = "DIR")]
    pub stack: PathBuf,
    /// Pairs of users; each talks to the other in one direction.
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
        #[arg(long, default_value_t = 2_000)]
        rate: u64,
    },
    /// Open loop at a multiple of the capacity, which is measured first; some receivers are slow. Prints each process's
    /// memory.
    Overload(overload::Overload),
}

impl Mode {
    fn name(&self) -> &'static str {
        match self {
            Self::Throughput { .. } => "throughput",
            Self::Latency { .. } => "latency",
            Self::Overload(_) => "overload",
        }
    }
}

/// Runs it and prints its line.
///
/// # Errors
/// When there is no stack, or its users cannot be made.
pub async fn run(options: Options) -> Result<String> {
    let stack = Stack::read(&options.stack)?.with_context(|| {
        format!("no stack runs on {}: ops/up --data {0} starts one", options.stack.display())
    })?;
    ensure!(options.pairs > 0, "expected at least one pair");
    let edges: Vec<(String, String)> = stack
        .process
        .iter()
        .filter(|process| process.kind == Kind::Edge)
        .filter_map(|process| Some((process.addresses.tcp.clone()?, process.addresses.http.clone()?)))
        .collect();
    ensure!(!edges.is_empty(), "the stack on {} has no edge", options.stack.display());
    let (drive, window) = match &options.mode {
        Mode::Throughput { window } => (Drive::Closed { window: *window }, *window),
        Mode::Latency { rate } => (Drive::Open { rate: *rate }, 10_000),
        Mode::Overload(overload) => return overload::drive(&options, overload, &edges, &stack).await,
    };
    let pairs = people::connect(options.pairs, window, &edges).await?;
    let measured = run::measure(&options, drive, pairs, &stack).await?;
    Ok(report::line(&options, &measured))
}
