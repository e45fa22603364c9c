//! Waiting until everything has come to rest, and what the stores hold then.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::{TryStreamExt, pin_mut};
use shared::subject::Subjects;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::NoTls;

use super::history::{History, TalkNo, What};
use super::judge::{Row, Rows};
use super::talk::Record;
use super::world::World;

/// How long everything may take to be answered, then to be shown, then the stream to be empty.
const LIMIT: Duration = Duration::from_secs(90);
/// Nothing new is shown for so long: then nothing comes late any more.
const CALM: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The subjects' prefix of a stack under `simple-im up`.
const PREFIX: &str = "im";

/// How the run came to rest.
#[derive(Debug)]
pub struct Rest {
    /// From the last fault's end until everything was answered and shown.
    pub took: Duration,
    /// Frames still in the stream.
    pub in_stream: u64,
    /// Batches that were ever put into it.
    pub batches: u64,
    /// Frames set aside as poison.
    pub dead: u64,
    /// What the broker could not be asked.
    pub broken: Option<String>,
}

/// Waits for it; what has not come in time is left to the judge.
pub async fn rest(world: &World, record: &Record) -> Rest {
    let began = Instant::now();
    until(|| record.history().unanswered() == 0).await;
    let owed = record.history().owed();
    until(|| record.history().shown_attempts.iter().zip(&owed).all(|(shown, owed)| shown >= owed)).await;
    let took = began.elapsed();
    let shown = || record.history().shown.iter().map(Vec::len).sum::<usize>();
    let (mut last, deadline) = ((shown(), Instant::now()), Instant::now() + LIMIT);
    while last.1.elapsed() < CALM && Instant::now() < deadline {
        sleep(LOOK_EVERY).await;
        let now = shown();
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    match streams(world).await {
        Ok((in_stream, batches, dead)) => Rest { took, in_stream, batches, dead, broken: None },
        Err(error) => {
            let broken = Some(format!("the stream: {error:#}"));
            Rest { took, in_stream: 0, batches: 0, dead: 0, broken }
        }
    }
}

/// How many batches are in the stream, once it is empty or has had its time, how many ever were, and how many frames were
/// set aside.
async fn streams(world: &World) -> Result<(u64, u64, u64)> {
    let subjects = Subjects::new(PREFIX);
    let nats = timeout(LIMIT, shared::nats::connect(&world.url("nats")?)).await.context("NATS")??;
    let jetstream = async_nats::jetstream::new(nats);
    let held = async |name: String| -> Result<(u64, u64)> {
        let mut stream = jetstream.get_stream(name).await?;
        let state = &stream.info().await?.state;
        Ok((state.messages, state.last_sequence))
    };
    let deadline = Instant::now() + LIMIT;
    let (mut in_stream, mut batches) = held(subjects.stream()).await?;
    while in_stream > 0 && Instant::now() < deadline {
        sleep(LOOK_EVERY).await;
        (in_stream, batches) = held(subjects.stream()).await?;
    }
    // The stream of frames set aside need not be there.
    let (dead, _) = held(subjects.dead_stream()).await.unwrap_or_default();
    Ok((in_stream, batches, dead))
}

async fn until(done: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() && Instant::now() < deadline {
        sleep(LOOK_EVERY).await;
    }
}

/// What the lanes have counted, in the transactions that stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames stored.
    pub stored: i64,
    /// Frames that were stored before.
    pub duplicate: i64,
    /// Frames refused by a rule.
    pub refused: i64,
    /// Frames set aside.
    pub dead: i64,
    /// Of the stored ones, what is there.
    pub kept: i64,
    /// Rows of conversations that are not the run's.
    pub foreign: i64,
}

impl Counts {
    /// All frames that a lane has finished.
    pub fn taken(&self) -> i64 {
        self.stored + self.duplicate + self.refused + self.dead
    }
}

/// Reads PostgreSQL: the rows for the judge, the lanes' counts, the server's version.
pub async fn read(world: &World, history: &History) -> Result<(Rows, Counts, String)> {
    let (client, connection) = tokio_postgres::connect(&world.url("postgres")?, NoTls).await?;
    tokio::spawn(connection);
    let mut rows = Rows::default();
    let statement = client
        .prepare("SELECT seq, kind, sender, content FROM messages WHERE conv = $1 ORDER BY seq")
        .await?;
    for (talk, it) in (0..).zip(&history.conversations) {
        let found = client.query_raw(&statement, [it.key.to_string()]).await?;
        pin_mut!(found);
        while let Some(row) = found.try_next().await? {
            rows.add(row_of(history, talk, &row)?);
        }
    }
    let keys: Vec<String> = history.conversations.iter().map(|talk| talk.key.to_string()).collect();
    let counts = client
        .query_one(
            "SELECT stored, duplicate, refused, dead, kept,
                    (SELECT count(*) FROM messages WHERE conv <> ALL($1))
             FROM conservation WHERE lane IS NULL",
            &[&keys],
        )
        .await?;
    let counts = Counts {
        stored: counts.try_get(0)?,
        duplicate: counts.try_get(1)?,
        refused: counts.try_get(2)?,
        dead: counts.try_get(3)?,
        kept: counts.try_get(4)?,
        foreign: counts.try_get(5)?,
    };
    let version: String = client.query_one("SHOW server_version", &[]).await?.try_get(0)?;
    Ok((rows, counts, version))
}

fn row_of(history: &History, talk: TalkNo, row: &tokio_postgres::Row) -> Result<Row> {
    let (seq, kind): (i64, i16) = (row.try_get(0)?, row.try_get(1)?);
    let (sender, content): (i64, &str) = (row.try_get(2)?, row.try_get(3)?);
    let what =
        if kind == 0 { history.what(talk, shared::ids::UserId(sender), content) } else { What::Request };
    Ok(Row { talk, seq: u32::try_from(seq)?, what })
}
