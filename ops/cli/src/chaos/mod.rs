//! `simple-im chaos`: real clients on a stack of its own, faults by a seeded schedule, and a judgement.
//!
//! | module | holds |
//! |---|---|
//! | `random`, `fault` | the seed's numbers, and the schedule drawn from them |
//! | `world`, `proxy`, `inject` | the stack, networks that can be cut, and doing the faults |
//! | `people`, `talk`, `history` | the clients, what they do, and the record of it |
//! | `rest`, `judge`, `ledger` | coming to rest, what is wrong, and the document that says so |

mod fault;
mod history;
mod inject;
mod judge;
mod ledger;
mod people;
mod proxy;
mod random;
mod rest;
mod talk;
mod world;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use shared::client::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

use self::fault::{Fault, Plan};
use self::history::History;
use self::ledger::{Done, Ledger, Parts, Versions};
use self::people::People;
use self::talk::Record;
use self::world::{EDGES, WORKERS, World};

/// How long is talked before the first fault and after the last.
const CALM: Duration = Duration::from_secs(3);
/// How long the clients have to close.
const CLOSE: Duration = Duration::from_secs(10);

/// What `simple-im chaos` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What the whole schedule is drawn from: the same seed does the same things in the same order.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How long faults are injected, seconds.
    #[arg(long, default_value_t = 60)]
    pub secs: u64,
    /// Which faults, by name and separated by commas; all where none is named.
    #[arg(long, value_delimiter = ',', value_enum)]
    faults: Vec<Fault>,
    /// Pairs of users who talk with each other.
    #[arg(long, default_value_t = 20)]
    pub pairs: usize,
    /// Groups of five to eight of them.
    #[arg(long, default_value_t = 4)]
    pub groups: usize,
    /// Messages a second, over all clients.
    #[arg(long, default_value_t = 300)]
    pub rate: u32,
    /// Where the stack's folder is made; it is removed after a clean run.
    #[arg(long, value_name = "DIR")]
    pub keep_in: Option<PathBuf>,
}

/// Runs it and prints the ledger; exit code 1 where anything is wrong.
///
/// # Errors
/// When there is no judgement: the stack does not start, or its stores cannot be read at the end.
pub async fn run(options: Options) -> Result<ExitCode> {
    ensure!(options.pairs > 0, "expected at least one pair");
    let parent = options.keep_in.clone().unwrap_or_else(std::env::temp_dir);
    let dir = parent.join(format!("simple-im-chaos-{}-{}", options.seed, std::process::id()));
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    say(format_args!("seed {}: starting a stack in {}", options.seed, dir.display()));
    let world = World::start(dir.clone()).await?;
    let ledger = tokio::select! {
        ledger = experiment(&options, &world) => ledger,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("told to stop")),
    };
    let stopped = world.stop().await;
    let clean = ledger.as_ref().is_ok_and(|ledger| ledger.clean);
    if clean {
        stopped?;
        std::fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    } else {
        say(format_args!("the stack's files and logs are kept in {}", dir.display()));
    }
    write!(std::io::stdout(), "{}", toml::to_string(&ledger?)?)?;
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn experiment(options: &Options, world: &World) -> Result<Ledger> {
    let mut history = History::default();
    let (people, events) =
        people::gather(options, world, &mut history).await.context("gathering the clients")?;
    let edges_before = world.edges_running()?;
    let record = Record::new(history);
    let mut tasks = talk::start(&people, events, &record, options.rate, options.seed);

    let (faults, forgotten, mut broken) = inject_all(options, world, &people, &record).await;
    sleep(CALM).await;
    record.stop_sending();
    let seconds = f64::from(record.now_ms() / 100) / 10.0;
    if let Err(error) = world.all_ready().await {
        broken.push(format!("{error:#}"));
    }
    say("healed; waiting until all is at rest");
    let rest = rest::rest(world, &record).await;
    broken.extend(rest.broken.clone());
    close(&people, &mut tasks).await;

    let history = std::mem::take(&mut *record.history());
    let (rows, counts, postgres) = rest::read(world, &history).await.context("reading PostgreSQL")?;
    // An edge that ended took its counts along, and a wiped broker what it had confirmed.
    let comparable = !forgotten && world.edges_running()? == edges_before;
    let published = if comparable { Some(rest::published(world).await?) } else { None };
    let verdict = judge::judge(&history, &rows);
    let versions = versions(world, postgres).await;
    let (seed, history, faults) = (options.seed, &history, &faults);
    Ok(Ledger::new(Parts {
        seed,
        seconds,
        history,
        verdict,
        rest,
        counts,
        published,
        faults,
        broken,
        versions,
    }))
}

/// Does the schedule; gives what was done, whether counts were forgotten by it, and what could not be done.
async fn inject_all(
    options: &Options,
    world: &World,
    people: &People,
    record: &Arc<Record>,
) -> (Vec<Done>, bool, Vec<String>) {
    let all = Fault::value_variants();
    let faults = if options.faults.is_empty() { all } else { &options.faults };
    let (mut done, mut forgotten, mut broken) = (Vec::new(), false, Vec::new());
    let end = Instant::now() + Duration::from_secs(options.secs);
    sleep(CALM).await;
    for planned in Plan::new(options.seed, faults, EDGES, WORKERS) {
        sleep(planned.pause).await;
        if Instant::now() >= end {
            break;
        }
        let (fault, what, at_ms) = (planned.fault.name(), planned.action.to_string(), record.now_ms());
        say(format_args!("{:>7.1} s  {fault}: {what}", f64::from(at_ms) / 1e3));
        forgotten |= planned.action.forgets_counts();
        if let Err(error) = inject::inject(world, people, &planned.action).await {
            broken.push(format!("{what}: {error:#}"));
        }
        let healed_ms = record.now_ms();
        if planned.action.wipes() {
            record.history().wipes.push((at_ms, healed_ms));
        }
        done.push(Done { fault, what, at_ms, healed_ms });
    }
    (done, forgotten, broken)
}

async fn close(people: &People, tasks: &mut tokio::task::JoinSet<()>) {
    let all = async {
        futures::future::join_all(people.clients().iter().map(Client::close)).await;
        while tasks.join_next().await.is_some() {}
    };
    // What does not close is dropped with the process; the record is complete.
    drop(timeout(CLOSE, all).await);
    tasks.abort_all();
}

async fn versions(world: &World, postgres: String) -> Versions {
    let unknown = || "unknown".to_owned();
    let commit = tokio::process::Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short=12", "HEAD"])
        .output()
        .await;
    let commit = commit.ok().filter(|output| output.status.success());
    Versions {
        simple_im: env!("CARGO_PKG_VERSION").to_owned(),
        commit: commit
            .map_or_else(unknown, |output| String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        nats: nats_version(world).await.unwrap_or_else(|_| unknown()),
        postgres,
        redis: redis_version(world).await.unwrap_or_else(|_| unknown()),
    }
}

async fn nats_version(world: &World) -> Result<String> {
    Ok(async_nats::connect(world.url("nats")?).await?.server_info().version)
}

async fn redis_version(world: &World) -> Result<String> {
    let mut connection = redis::Client::open(world.url("redis")?)?.get_multiplexed_async_connection().await?;
    let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
    match info.lines().find_map(|line| line.strip_prefix("redis_version:")) {
        Some(version) => Ok(version.trim().to_owned()),
        None => bail!("Redis does not say its version"),
    }
}

/// Progress is for whoever watches; the ledger alone goes to standard output.
fn say(text: impl std::fmt::Display) {
    drop(writeln!(std::io::stderr(), "{text}"));
}
