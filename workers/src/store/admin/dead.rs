//! The account of dead frames that are put back, and what became of them.

use shared::{
    ids::{Conversation, Seq},
    subject::Lane,
};

use crate::store::{Pool, StoreError, again, chunk::messages::Digest};

const NOTE: &str = "INSERT INTO replays (stream, seq) VALUES ($1, $2) ON CONFLICT DO NOTHING";
/// The lane that counted it; if its number has changed since, another that has some.
const UNCOUNT: &str = "UPDATE lanes SET dead = dead - 1 WHERE lane = (
    SELECT lane FROM lanes WHERE dead > 0 ORDER BY lane <> $1, lane LIMIT 1)";
const COMMITTED: &str = "SELECT committed FROM lanes WHERE lane = $1";
const MESSAGE: &str = "SELECT seq FROM messages WHERE conv = $1 AND digest = $2";
const REQUEST: &str = "SELECT 1 FROM requests WHERE digest = $1";

/// Notes that a dead frame goes back into its lane, which will count it once more: it is counted as dead no longer. False:
/// that was noted before, and nothing is changed.
///
/// # Errors
/// [`StoreError`]; then nothing was noted.
pub async fn note_replay(pool: &Pool, stream: &str, seq: u64, lane: Lane) -> Result<bool, StoreError> {
    let seq = i64::try_from(seq).unwrap_or(i64::MAX);
    again!({
        let mut lease = pool.get().await?;
        let tx = lease.begin().await?;
        let first = tx.execute(NOTE, &[&stream, &seq]).await? > 0;
        if first {
            tx.execute(UNCOUNT, &[&i32::from(lane.0)]).await?;
        }
        tx.commit().await?;
        Ok(first)
    })
}

/// The newest stream sequence that a lane has committed.
///
/// # Errors
/// [`StoreError`].
pub async fn committed(pool: &Pool, lane: Lane) -> Result<u64, StoreError> {
    let row = pool.get().await?.query_opt(COMMITTED, &[&i32::from(lane.0)]).await?;
    Ok(row.map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
}

/// Where a message stands, if it is stored.
///
/// # Errors
/// [`StoreError`].
pub async fn message(pool: &Pool, conv: Conversation, digest: &Digest) -> Result<Option<Seq>, StoreError> {
    let lease = pool.get().await?;
    let row = lease.query_opt(MESSAGE, &[&conv.to_string(), &digest.as_slice()]).await?;
    Ok(row.map(|row| Seq(row.get(0))))
}

/// Whether a request has been granted.
///
/// # Errors
/// [`StoreError`].
pub async fn request(pool: &Pool, digest: &Digest) -> Result<bool, StoreError> {
    Ok(pool.get().await?.query_opt(REQUEST, &[&digest.as_slice()]).await?.is_some())
}
