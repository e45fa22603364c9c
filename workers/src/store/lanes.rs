//! How far each lane has committed, its counts, and attempts at chunks that crash.

use std::collections::HashSet;

use shared::subject::Lane;
use tokio_postgres::types::ToSql;

use super::{Session, StoreError};

const COMMITTED: &str = "SELECT committed FROM lanes WHERE lane = $1 AND stream = $2";
const MARK: &str = "
INSERT INTO lanes (lane, stream, committed, stored, duplicate, refused, dead)
SELECT * FROM unnest($1::int4[], $2::text[], $3::int8[], $4::int8[], $5::int8[], $6::int8[], $7::int8[])
ON CONFLICT (lane) DO UPDATE SET
    stream = excluded.stream, committed = excluded.committed,
    stored = lanes.stored + excluded.stored, duplicate = lanes.duplicate + excluded.duplicate,
    refused = lanes.refused + excluded.refused, dead = lanes.dead + excluded.dead";
const ATTEMPT: &str = "
INSERT INTO lane_attempts (lane, stream_seq, frame, attempts) VALUES ($1, $2, $3, 1)
ON CONFLICT (lane, stream_seq, frame) DO UPDATE SET attempts = lane_attempts.attempts + 1
WHERE lane_attempts.attempts >= 0
RETURNING attempts";
/// What is done stays noted until the lane's mark says so too: a chunk may end before it.
const FORGIVE: &str = "
DELETE FROM lane_attempts a USING unnest($1::int4[], $2::int8[]) AS f(lane, committed)
WHERE a.lane = f.lane AND (a.attempts >= 0 OR a.stream_seq <= f.committed)";
const EXCUSE: &str =
    "UPDATE lane_attempts SET attempts = attempts - 1 WHERE lane = ANY($1::int4[]) AND attempts > 0";
const DONE: &str =
    "UPDATE lane_attempts SET attempts = -1 WHERE lane = $1 AND stream_seq = $2 AND frame = $3";

const ALONE: &str = "SELECT stream_seq, frame FROM lane_attempts WHERE lane = $1 AND attempts < 0";
const OUTDATED: &str = "DELETE FROM lane_attempts WHERE lane = $1 AND attempts < 0";

/// What a chunk did in one lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of the row")]
pub struct Mark {
    pub lane: u16,
    pub stream: String,
    pub committed: i64,
    pub stored: i64,
    pub duplicate: i64,
    pub refused: i64,
    pub dead: i64,
}

/// What a lane has committed in one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// Its newest stream sequence; 0 for a stream that the lane has not seen.
    pub upto: u64,
    /// Frames beyond that, each by its batch's place in the stream and its own in the batch: committed one by one, by a
    /// trial that did not come to its end.
    pub alone: HashSet<(u64, i32)>,
}

/// Reads what the lane has committed in this stream.
///
/// # Errors
/// The session's.
pub async fn committed(session: &Session, lane: Lane, stream: &str) -> Result<Committed, StoreError> {
    let key = i32::from(lane.0);
    let Some(row) = session.query_opt(COMMITTED, &[&key, &stream]).await? else {
        // What is noted as done carries no stream, and was committed together with a mark that names its own: another
        // one. Its sequences mean other frames here.
        session.execute(OUTDATED, &[&key]).await?;
        return Ok(Committed::default());
    };
    let alone = session.query(ALONE, &[&key]).await?;
    let alone = alone.iter().map(|row| (row.get::<_, i64>(0).unsigned_abs(), row.get(1))).collect();
    Ok(Committed { upto: row.get::<_, i64>(0).unsigned_abs(), alone })
}

/// Prepares [`mark`], so that it can be sent together with the commit that follows it.
///
/// # Errors
/// The session's.
pub async fn prepare_mark(session: &Session) -> Result<(), StoreError> {
    session.prepare(MARK).await
}

/// Writes what a chunk did, in its own transaction.
///
/// # Errors
/// The session's.
pub async fn mark(session: &Session, marks: &[Mark]) -> Result<(), StoreError> {
    session.execute(MARK, &Columns::of(marks).params()).await.map(drop)
}

/// Marks as the parameters of a statement.
pub(super) struct Columns<'a> {
    lane: Vec<i32>,
    stream: Vec<&'a str>,
    numbers: [Vec<i64>; 5],
}

impl<'a> Columns<'a> {
    pub fn of(marks: &'a [Mark]) -> Self {
        let column = |value: fn(&Mark) -> i64| marks.iter().map(value).collect();
        Self {
            lane: marks.iter().map(|mark| i32::from(mark.lane)).collect(),
            stream: marks.iter().map(|mark| mark.stream.as_str()).collect(),
            numbers: [
                column(|mark| mark.committed),
                column(|mark| mark.stored),
                column(|mark| mark.duplicate),
                column(|mark| mark.refused),
                column(|mark| mark.dead),
            ],
        }
    }

    pub fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&self.lane, &self.stream];
        params.extend(self.numbers.iter().map(|column| column as &(dyn ToSql + Sync)));
        params
    }
}

/// Where something stood in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// In which lane.
    pub lane: Lane,
    /// Its batch's place in the stream.
    pub stream_seq: u64,
    /// The frame's place in its batch; -1 stands for a chunk that begins with this batch.
    pub frame: i32,
}

impl Place {
    fn key(&self) -> (i32, i64, i32) {
        (i32::from(self.lane.0), i64::try_from(self.stream_seq).unwrap_or(i64::MAX), self.frame)
    }
}

/// Counts a trial before it is made and says the how manieth it is; below 1: it was done, and only what followed it
/// crashed.
///
/// # Errors
/// The session's.
pub async fn attempt(session: &Session, trial: Place) -> Result<i32, StoreError> {
    let (lane, seq, frame) = trial.key();
    let row = session.query_opt(ATTEMPT, &[&lane, &seq, &frame]).await?;
    // No row comes back for a trial that is done.
    Ok(row.map_or(0, |row| row.get(0)))
}

/// Notes, in the transaction of its effects, that a frame's trial is done.
///
/// # Errors
/// The session's.
pub async fn done(session: &Session, trial: Place) -> Result<(), StoreError> {
    let (lane, seq, frame) = trial.key();
    session.execute(DONE, &[&lane, &seq, &frame]).await.map(drop)
}

/// Forgets lanes' trials: what was tried went through, each lane is committed so far.
///
/// # Errors
/// The session's.
pub async fn forgive(session: &Session, lanes: &[(Lane, u64)]) -> Result<(), StoreError> {
    let numbers: Vec<i32> = lanes.iter().map(|(lane, _)| i32::from(lane.0)).collect();
    let committed: Vec<i64> =
        lanes.iter().map(|(_, committed)| i64::try_from(*committed).unwrap_or(i64::MAX)).collect();
    session.execute(FORGIVE, &[&numbers, &committed]).await.map(drop)
}

/// Takes back one trial each: it was PostgreSQL that failed, not what was tried.
///
/// # Errors
/// The session's.
pub async fn excuse(session: &Session, lanes: &[Lane]) -> Result<(), StoreError> {
    let lanes: Vec<i32> = lanes.iter().map(|lane| i32::from(lane.0)).collect();
    session.execute(EXCUSE, &[&lanes]).await.map(drop)
}
