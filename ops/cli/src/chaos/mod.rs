//! `simple-im chaos`: real clients on a stack of its own, faults by a seeded schedule, and a judgement.
//!
//! | module | holds |
//! |---|---|
//! | `random`, `fault` | the seed's numbers, and the schedule drawn from them |
//! | `world`, `proxy`, `inject` | the stack, networks that can be cut, and doing the faults |
//! | `people`, `talk`, `history` | the clients, what they do, and the record of it |
//! | `watch`, `memory` | the processes meanwhile: the edges' counters and everybody's memory |
//! | `rest`, `judge`, `conservation` | coming to rest; what is wrong with what was shown, and with the counts |
//! | `ledger`, `timing`, `roll` | the document that says so; how long acks stayed away; what clients saw of a roll |

mod conservation;
mod fault;
mod history;
mod inject;
mod judge;
mod ledger;
mod memory;
mod people;
mod proxy;
mod random;
mod rest;
mod roll;
mod talk;
mod timing;
mod watch;
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

use self::conservation::Known;
use self::fault::{Fault, Plan};
use self::history::{Answer, History};
use self::ledger::{Ledger, Parts, Versions};
use self::people::People;
use self::talk::Record;
use self::timing::Done;
use self::watch::Watch;
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
    /// Clients speak TLS with the edges.
    #[arg(long)]
    pub tls: bool,
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
    let world = World::start(dir.clone(), options.tls).await?;
    let watch = Watch::new()?;
    let ledger = tokio::select! {
        ledger = experiment(&options, &world, &watch) => ledger,
        () = watch.run(&world) => Err(anyhow::anyhow!("the watch has ended")),
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

async fn experiment(options: &Options, world: &World, watch: &Watch) -> Result<Ledger> {
    let mut history = History::default();
    let (people, events) =
        people::gather(options, world, &mut history).await.context("gathering the clients")?;
    let edges_before = world.edges_running()?;
    let record = Record::new(history);
    let mut tasks = talk::start(&people, events, &record, options.rate, options.seed);

    let (faults, wiped, mut broken) = inject_all(options, world, watch, &people, &record).await;
    sleep(CALM).await;
    record.stop_sending();
    let seconds = f64::from(record.now_ms() / 100) / 10.0;
    if let Err(error) = world.all_ready().await {
        broken.push(format!("{error:#}"));
    }
    say("healed; waiting until all is at rest");
    let rest = rest::rest(world, &record).await;
    broken.extend(rest.broken.clone());
    if let Err(error) = watch.look(world).await {
        broken.push(format!("the edges' figures: {error:#}"));
    }
    close(&people, &mut tasks).await;

    let history = std::mem::take(&mut *record.history());
    let (rows, lanes, postgres) = rest::read(world, &history).await.context("reading PostgreSQL")?;
    let written = people.clients().iter().map(Client::written).sum::<u64>() + history.written;
    let acked =
        history.attempts.iter().filter(|it| matches!(it.answer, Answer::Stored { .. })).count() as u64;
    let figures = watch.edges();
    let known = Known {
        written: written.cast_signed(),
        acked: (acked + history.requests).cast_signed(),
        edges: figures.counts,
        edges_lived: world.edges_running()? == edges_before,
        wiped,
        batches: rest.batches.cast_signed(),
        lanes,
    };
    for roll in roll::rolls(&history, &faults) {
        say(roll);
    }
    Ok(Ledger::new(Parts {
        seed: options.seed,
        seconds,
        verdict: judge::judge(&history, &rows),
        history: &history,
        rest,
        known,
        backlogs: figures.backlogs,
        memory: watch.memory(),
        faults: &faults,
        broken,
        versions: versions(world, postgres).await,
    }))
}

/// Does the schedule; gives what was done, whether the stream was wiped, and what could not be done.
async fn inject_all(
    options: &Options,
    world: &World,
    watch: &Watch,
    people: &People,
    record: &Arc<Record>,
) -> (Vec<Done>, bool, Vec<String>) {
    let all = Fault::value_variants();
    let faults = if options.faults.is_empty() { all } else { &options.faults };
    let (mut done, mut wiped, mut broken) = (Vec::new(), false, Vec::new());
    let end = Instant::now() + Duration::from_secs(options.secs);
    sleep(CALM).await;
    for planned in Plan::new(options.seed, faults, EDGES, WORKERS) {
        sleep(planned.pause).await;
        if Instant::now() >= end {
            break;
        }
        let (fault, what, at_ms) = (planned.fault.name(), planned.action.to_string(), record.now_ms());
        say(format_args!("{:>7.1} s  {fault}: {what}", f64::from(at_ms) / 1e3));
        wiped |= planned.action.wipes();
        if let Err(error) = inject::inject(world, people, watch, &planned.action).await {
            broken.push(format!("{what}: {error:#}"));
        }
        let healed_ms = record.now_ms();
        done.push(Done { fault, what, at_ms, healed_ms });
    }
    (done, wiped, broken)
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
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    Versions {
        simple_im: env!("CARGO_PKG_VERSION").to_owned(),
        commit: commit().await.unwrap_or_else(unknown),
        profile: profile.to_owned(),
        binaries: world.binaries().display().to_string(),
        nats: nats_version(world).await.unwrap_or_else(|_| unknown()),
        postgres,
        redis: redis_version(world).await.unwrap_or_else(|_| unknown()),
    }
}

/// Of the checkout that this was compiled in, with a `+` where something tracked is changed.
async fn commit() -> Option<String> {
    let git = async |args: &[&str]| {
        let mut git = tokio::process::Command::new("git");
        let output = git.args(["-C", env!("CARGO_MANIFEST_DIR")]).args(args).output().await.ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).await?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).await?;
    Some(if changed.is_empty() { commit } else { format!("{commit}+") })
}

async fn nats_version(world: &World) -> Result<String> {
    Ok(shared::nats::connect(&world.url("nats")?).await?.server_info().version)
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
