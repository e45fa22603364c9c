//! How far each lane has committed, its counts, and attempts at chunks that crash.

use shared::subject::Lane;

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
WHERE lane_attempts.attempts > 0
RETURNING attempts";
const FORGIVE: &str = "DELETE FROM lane_attempts WHERE lane = ANY($1::int4[])";
const EXCUSE: &str =
    "UPDATE lane_attempts SET attempts = attempts - 1 WHERE lane = ANY($1::int4[]) AND attempts > 0";
const DONE: &str =
    "UPDATE lane_attempts SET attempts = -1 WHERE lane = $1 AND stream_seq = $2 AND frame = $3";

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

/// The newest stream sequence that the lane has committed in this stream; 0 for a stream it has not seen.
///
/// # Errors
/// The session's.
pub async fn committed(session: &Session, lane: Lane, stream: &str) -> Result<u64, StoreError> {
    let row = session.query_opt(COMMITTED, &[&i32::from(lane.0), &stream]).await?;
    Ok(row.map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
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
    fn column<T>(marks: &[Mark], value: impl Fn(&Mark) -> T) -> Vec<T> {
        marks.iter().map(value).collect()
    }
    session
        .execute(
            MARK,
            &[
                &column(marks, |mark| i32::from(mark.lane)),
                &marks.iter().map(|mark| mark.stream.as_str()).collect::<Vec<_>>(),
                &column(marks, |mark| mark.committed),
                &column(marks, |mark| mark.stored),
                &column(marks, |mark| mark.duplicate),
                &column(marks, |mark| mark.refused),
                &column(marks, |mark| mark.dead),
            ],
        )
        .await
        .map(drop)
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

/// Forgets lanes' trials: what was tried went through.
///
/// # Errors
/// The session's.
pub async fn forgive(session: &Session, lanes: &[Lane]) -> Result<(), StoreError> {
    session.execute(FORGIVE, &[&numbers(lanes)]).await.map(drop)
}

/// Takes back one trial each: it was PostgreSQL that failed, not what was tried.
///
/// # Errors
/// The session's.
pub async fn excuse(session: &Session, lanes: &[Lane]) -> Result<(), StoreError> {
    session.execute(EXCUSE, &[&numbers(lanes)]).await.map(drop)
}

fn numbers(lanes: &[Lane]) -> Vec<i32> {
    lanes.iter().map(|lane| i32::from(lane.0)).collect()
}
