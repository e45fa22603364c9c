//! Requests and the answers they got: one asked again is answered as it was.

use shared::{
    ids::{GroupId, Seq},
    message::write::Success,
};

use super::messages::Digest;
use crate::store::{Session, StoreError};

const FIND: &str = "SELECT seq, contact_version, group_id FROM requests WHERE digest = $1";
const KEEP: &str =
    "INSERT INTO requests (digest, seq, ts, contact_version, group_id) VALUES ($1, $2, $3, $4, $5)";

/// The answer to a request that was decided before.
///
/// # Errors
/// The session's.
pub async fn find(session: &Session, digest: &Digest) -> Result<Option<Success>, StoreError> {
    let row = session.query_opt(FIND, &[&digest.as_slice()]).await?;
    Ok(row.map(|row| Success {
        seq: row.get::<_, Option<i64>>(0).map(Seq),
        contact_version: row.get(1),
        group_id: row.get::<_, Option<i64>>(2).map(GroupId),
    }))
}

/// Keeps an answer, in the transaction of its effects.
///
/// # Errors
/// The session's.
pub async fn keep(session: &Session, digest: &Digest, ts: i64, answer: &Success) -> Result<(), StoreError> {
    let (seq, group) = (answer.seq.map(|seq| seq.0), answer.group_id.map(|group| group.0));
    session.execute(KEEP, &[&digest.as_slice(), &seq, &ts, &answer.contact_version, &group]).await.map(drop)
}
