//! Who owns which lane, how far each is, and folding lanes that are no more.

use shared::subject::Lane;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Row};

use crate::{
    config::WorkerConfig,
    lane::ownership,
    store::{Pool, StoreError, connect_with},
};

const OWNERS: &str = "SELECT l.objid::int8, a.pid, a.application_name,
       coalesce(host(a.client_addr), 'local'), extract(epoch FROM now() - a.backend_start)::int8
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted AND l.classid::int8 = $1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1";
const MARKS: &str =
    "SELECT lane, stream, committed, stored, duplicate, refused, dead FROM lanes ORDER BY lane";
const ATTEMPTS: &str = "SELECT count(*) FROM lane_attempts WHERE attempts >= 0";
/// No frame is pending, so that what is noted of trials is of no use; a lane's mark stays right, since every frame to come
/// has a higher place in the stream than any before.
const FOLD: &str =
    "WITH gone AS (DELETE FROM lanes WHERE lane >= $1 RETURNING stored, duplicate, refused, dead),
  tried AS (DELETE FROM lane_attempts)
INSERT INTO lanes (lane, stored, duplicate, refused, dead)
SELECT 0, sum(stored), sum(duplicate), sum(refused), sum(dead) FROM gone HAVING count(*) > 0
ON CONFLICT (lane) DO UPDATE SET stored = lanes.stored + excluded.stored,
    duplicate = lanes.duplicate + excluded.duplicate, refused = lanes.refused + excluded.refused,
    dead = lanes.dead + excluded.dead";

/// A committer's session that holds a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Which lane.
    pub lane: Lane,
    /// The session's process in PostgreSQL.
    pub pid: i32,
    /// What it is called: `simple-im-committer w1`.
    pub name: String,
    /// The address that it came from.
    pub from: String,
    /// How long it has been connected, seconds.
    pub seconds: i64,
}

/// A lane's row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of the row")]
pub struct Mark {
    pub lane: Lane,
    pub stream: String,
    pub committed: i64,
    pub stored: i64,
    pub duplicate: i64,
    pub refused: i64,
    pub dead: i64,
}

/// The lanes that are owned now.
///
/// # Errors
/// [`StoreError`].
pub async fn owners(pool: &Pool, config: &WorkerConfig) -> Result<Vec<Owner>, StoreError> {
    let class = i64::from(class(config) as u32);
    let rows = pool.get().await?.query(OWNERS, &[&class]).await?;
    let owner = |row: &Row| {
        // What every committer holds besides is no lane.
        let lane = Lane(u16::try_from(row.get::<_, i64>(0)).ok()?);
        Some(Owner { lane, pid: row.get(1), name: row.get(2), from: row.get(3), seconds: row.get(4) })
    };
    Ok(rows.iter().filter_map(owner).collect())
}

/// Every lane's mark and counts.
///
/// # Errors
/// [`StoreError`].
pub async fn marks(pool: &Pool) -> Result<Vec<Mark>, StoreError> {
    let rows = pool.get().await?.query(MARKS, &[]).await?;
    let mark = |row: &Row| Mark {
        lane: Lane(u16::try_from(row.get::<_, i32>(0)).unwrap_or(u16::MAX)),
        stream: row.get(1),
        committed: row.get(2),
        stored: row.get(3),
        duplicate: row.get(4),
        refused: row.get(5),
        dead: row.get(6),
    };
    Ok(rows.iter().map(mark).collect())
}

/// Chunks and frames that are being tried after crashes.
///
/// # Errors
/// [`StoreError`].
pub async fn attempts(pool: &Pool) -> Result<i64, StoreError> {
    Ok(pool.get().await?.query_opt(ATTEMPTS, &[]).await?.map_or(0, |row| row.get(0)))
}

/// Adds the counts of lanes from `lanes` on to lane 0, and removes their rows: the account stays what it was.
///
/// # Errors
/// [`StoreError`]; then nothing was changed.
pub async fn fold(pool: &Pool, lanes: u16) -> Result<(), StoreError> {
    pool.get().await?.execute(FOLD, &[&i32::from(lanes)]).await.map(drop)
}

/// Keeps committers away for as long as it lives: one that starts meanwhile waits.
#[derive(Debug)]
pub struct Alone {
    _client: Client,
    driven: JoinHandle<()>,
}

impl Alone {
    /// `None`: a committer is there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take(config: &WorkerConfig) -> Result<Option<Self>, StoreError> {
        let settings = [("application_name", "simple-im admin".to_owned())];
        let (client, driven) = connect_with(&config.postgres, &settings).await?;
        let taken = ownership::try_alone(&client, class(config)).await?;
        Ok(taken.then_some(Self { _client: client, driven }))
    }

    /// Whether the lock still holds: it goes with its connection.
    pub fn holds(&self) -> bool {
        !self.driven.is_finished()
    }
}

fn class(config: &WorkerConfig) -> i32 {
    ownership::lock_class(&config.nats.prefix, &config.postgres.schema)
}
