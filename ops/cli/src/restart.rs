//! `simple-im restart`: ends processes of a running stack in order, one after the other, and waits until each is there
//! again and ready: a rolling restart. The supervisor starts what has ended.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

use crate::ready;
use crate::record::{Kind, Process, Stack};

/// How long a process may take to end, and then how long to be ready again.
const END: Duration = Duration::from_secs(60);
const READY: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What `simple-im restart` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Which processes, by their names in `stack.toml` (`w1`, `e2`), in this order; without any, every worker and then
    /// every edge, as an upgrade goes.
    pub names: Vec<String>,
    /// The stack's data folder.
    #[arg(long, default_value = "data", value_name = "DIR")]
    pub data: PathBuf,
}

/// Restarts them, and says how long each took.
pub async fn run(options: Options) -> Result<()> {
    let data =
        options.data.canonicalize().with_context(|| format!("no data folder {}", options.data.display()))?;
    let names = if options.names.is_empty() { all(&stack(&data)?) } else { options.names };
    ensure!(!names.is_empty(), "{} runs no edge and no worker", data.display());
    for name in names {
        let took = one(&data, &name).await?;
        writeln!(std::io::stdout(), "{name}: ended in {:?}, ready again after {:?}", took.ended, took.ready)?;
    }
    Ok(())
}

/// How long a restart took.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// From the signal to the process's end.
    pub ended: Duration,
    /// From the signal until its successor was ready.
    pub ready: Duration,
}

/// Every worker, then every edge: workers understand edges of the release before.
pub fn all(stack: &Stack) -> Vec<String> {
    let of = |kind| stack.process.iter().filter(move |it| it.kind == kind).map(|it| it.name.clone());
    of(Kind::Worker).chain(of(Kind::Edge)).collect()
}

/// Restarts one process of this folder's stack.
///
/// # Errors
/// There is no such process, it does not end, or its successor does not become ready.
pub async fn one(data: &Path, name: &str) -> Result<Took> {
    let before = process(data, name)?;
    let began = Instant::now();
    before.identity.signal(Signal::SIGTERM)?;
    ensure!(before.identity.ends_within(END).await, "{name} does not end within {END:?} of SIGTERM");
    let ended = began.elapsed();
    let deadline = Instant::now() + READY;
    loop {
        let why = match is_back(data, &before).await {
            Ok(()) => return Ok(Took { ended, ready: began.elapsed() }),
            Err(why) => why,
        };
        if Instant::now() >= deadline {
            return Err(why.context(format!("{name} is not ready again within {READY:?}")));
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn is_back(data: &Path, before: &Process) -> Result<()> {
    let now = process(data, &before.name)?;
    ensure!(now.identity != before.identity && now.identity.lives(), "it was not started again");
    match now.addresses.metrics {
        Some(metrics) => ready::ask(&metrics).await,
        None => Ok(()),
    }
}

fn process(data: &Path, name: &str) -> Result<Process> {
    let stack = stack(data)?;
    let found = stack.process.iter().find(|it| it.name == name).cloned();
    found.with_context(|| {
        let names: Vec<&str> = stack.process.iter().map(|it| it.name.as_str()).collect();
        format!("expected one of {}, found {name}", names.join(", "))
    })
}

fn stack(data: &Path) -> Result<Stack> {
    match Stack::read(data)? {
        Some(stack) => Ok(stack),
        None => bail!("{} holds no stack: there is no {} in it", data.display(), crate::record::FILE),
    }
}
