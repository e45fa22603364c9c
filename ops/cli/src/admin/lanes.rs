//! `admin lanes`: who owns which, how far behind each is, and changing their number.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use async_nats::jetstream::{context::GetStreamErrorKind, stream::Stream};
use clap::Subcommand;
use shared::subject::Lane;
use workers::{
    lane::source::{self, METADATA_LANES},
    store::admin::lanes::{self, Alone},
};

use super::{
    desk::Desk,
    table::Table,
    tell::{self, LISTEN},
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Each lane's owner, what waits in it, how far it has committed, and its counts.
    List,
    /// Change their number. Offline: it refuses while an edge or a worker lives, or a frame waits.
    Set {
        /// How many, 1 to 1024.
        #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
        lanes: u16,
    },
}

pub async fn run(desk: &Desk, command: Command) -> Result<()> {
    match command {
        Command::List => desk.audited("lanes list", "", list(desk)).await,
        Command::Set { lanes } => desk.audited("lanes set", &lanes.to_string(), set(desk, lanes)).await,
    }
}

/// The stream of accepted frames; `None`: it has not been made.
async fn stream(desk: &Desk) -> Result<Option<Stream>> {
    let js = source::context(desk.nats().await?.clone());
    match js.get_stream(desk.subjects.stream()).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.code() == 404 => Ok(None),
            _ => Err(error).context("the stream of accepted frames"),
        },
    }
}

/// As the stream's maker wrote it.
fn number(stream: &Stream) -> Result<u16> {
    let found = stream.cached_info().config.metadata.get(METADATA_LANES);
    let found = found
        .with_context(|| format!("expected the key {METADATA_LANES} in the stream's metadata, found none"))?;
    found.parse().with_context(|| format!("expected a number under {METADATA_LANES}, found {found:?}"))
}

async fn list(desk: &Desk) -> Result<String> {
    let stream = stream(desk).await?.context("there is no stream: no worker has run yet")?;
    let owners = lanes::owners(&desk.pool, &desk.config).await?;
    let owners: HashMap<Lane, _> = owners.into_iter().map(|owner| (owner.lane, owner)).collect();
    let marks = lanes::marks(&desk.pool).await?;
    let marks: HashMap<Lane, _> = marks.into_iter().map(|mark| (mark.lane, mark)).collect();
    let made = number(&stream)?;
    let mut table = Table::new([
        "lane",
        "owner",
        "from",
        "waiting",
        "unacked",
        "oldest",
        "committed",
        "stored",
        "duplicate",
        "refused",
        "dead",
    ])
    .counting(&["lane", "waiting", "unacked", "committed", "stored", "duplicate", "refused", "dead"]);
    let (mut waits, mut free) = (0, 0);
    for lane in (0..made).map(Lane) {
        let lag = lag(desk, &stream, lane).await?;
        waits += lag.waiting + lag.unacked;
        let owner = owners.get(&lane);
        free += usize::from(owner.is_none());
        let mark = marks.get(&lane);
        let count = |of: fn(&lanes::Mark) -> i64| mark.map_or(0, of).to_string();
        let name = |owner: &lanes::Owner| {
            let name = owner.name.strip_prefix("simple-im-committer ").unwrap_or(&owner.name);
            format!("{name} (pid {})", owner.pid)
        };
        table.row([
            lane.0.to_string(),
            owner.map_or_else(|| "nobody".to_owned(), name),
            owner.map_or_else(String::new, |owner| owner.from.clone()),
            lag.waiting.to_string(),
            lag.unacked.to_string(),
            lag.oldest.map_or_else(String::new, |age| format!("{:.1} s", age.as_secs_f64())),
            count(|mark| mark.committed),
            count(|mark| mark.stored),
            count(|mark| mark.duplicate),
            count(|mark| mark.refused),
            count(|mark| mark.dead),
        ]);
    }
    desk.show(&table)?;
    Ok(format!("{made} lanes, {free} without an owner, {waits} batches not finished"))
}

/// How far behind a lane is, in batches.
struct Lag {
    /// Not handed out.
    waiting: u64,
    /// Handed out, not acknowledged.
    unacked: u64,
    /// How long the oldest has waited.
    oldest: Option<Duration>,
}

async fn lag(desk: &Desk, stream: &Stream, lane: Lane) -> Result<Lag> {
    let consumer = stream.consumer_info(desk.subjects.consumer(lane)).await;
    let first = stream.get_first_raw_message_by_subject(desk.subjects.lane_filter(lane).as_str(), 1).await;
    let oldest = match first {
        Ok(message) => {
            let age = now() - message.time.unix_timestamp_nanos();
            Some(Duration::from_nanos(u64::try_from(age).unwrap_or(0)))
        }
        // None is there.
        Err(_) => None,
    };
    Ok(match consumer {
        Ok(info) => Lag { waiting: info.num_pending, unacked: info.num_ack_pending as u64, oldest },
        // Nobody has taken the lane yet, so that whatever it holds waits.
        Err(_) => Lag { waiting: u64::from(oldest.is_some()), unacked: 0, oldest },
    })
}

/// Nanoseconds since 1970, as the broker counts.
fn now() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
}

/// In an order in which it can be cut short anywhere and run again.
async fn set(desk: &Desk, wanted: u16) -> Result<String> {
    let nodes = tell::live(desk, LISTEN).await?;
    if let Some(node) = nodes.keys().next() {
        bail!("expected no edge, found {} that live, among them {node}: stop them first", nodes.len());
    }
    let alone = Alone::take(&desk.config).await?;
    let alone = alone.context("expected no worker, found committers in PostgreSQL: stop them first")?;
    let js = source::context(desk.nats().await?.clone());
    let mut stream =
        stream(desk).await?.context("there is no stream: set [nats] lanes and start, it is made so")?;
    let before = number(&stream)?;
    let waiting = stream.info().await.context("the stream")?.state.messages;
    ensure!(
        waiting == 0,
        "expected an empty stream, found {waiting} batches: start workers with [nats] lanes = {before} and let them finish"
    );
    let tried = lanes::attempts(&desk.pool).await?;
    ensure!(tried == 0, "expected no chunk on trial, found {tried}: start workers and let them finish");

    // First what refuses every worker that is configured for the old number.
    let mut config = stream.cached_info().config.clone();
    config.metadata.insert(METADATA_LANES.to_owned(), wanted.to_string());
    js.update_stream(&config).await.context("noting the number at the stream")?;
    for lane in (0..before.max(wanted)).map(Lane) {
        let name = desk.subjects.consumer(lane);
        if stream.consumer_info(&name).await.is_ok() {
            stream.delete_consumer(&name).await.with_context(|| format!("removing the consumer {name}"))?;
        }
    }
    let after = stream.info().await.context("the stream")?.state.messages;
    ensure!(
        after == 0,
        "{after} batches have come meanwhile, from an edge that was not heard: they may be in wrong lanes"
    );
    ensure!(alone.holds(), "the connection to PostgreSQL was lost: run this again");
    lanes::fold(&desk.pool, wanted).await?;
    Ok(format!(
        "{before} lanes are {wanted} now: set [nats] lanes = {wanted} for every edge and worker, then start them"
    ))
}
