//! What a restored backup must not do again: give out numbers that clients have seen.
//!
//! Every conversation that the backup knows gets a row that nobody is shown ([`rows::GAP`]), one step behind its newest, and
//! goes on from there as always. One that it does not know begins one step up (table `numbering`), users
//! and groups get ids one step up, sessions many steps, and contact versions rise, so that clients ask anew.

use tokio_postgres::Row;

use super::retention::walk;
use crate::store::{Pool, StoreError, again, rows};

/// By how much numbers go up, at least: more than anything counts between a backup and its loss.
pub const STEP: i64 = 1_000_000;
/// Logins are more frequent than messages of one conversation.
const SESSION_STEPS: i64 = 1_000;

const LAST: &str = r#"SELECT id, to_char(ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), step, conv_done, conversations
FROM restores ORDER BY id DESC LIMIT 1 FOR UPDATE"#;
const BEGIN: &str = "INSERT INTO restores (step) VALUES ($1) RETURNING id";
const FLOOR: &str = "UPDATE numbering SET floor = floor + $1";
/// Not undone by a rollback, which does no harm: they only go up.
const SEQUENCES: &str = "SELECT setval(pg_get_serial_sequence('users', 'id'), nextval(pg_get_serial_sequence('users', 'id')) + $1),
       setval(pg_get_serial_sequence('groups', 'id'), nextval(pg_get_serial_sequence('groups', 'id')) + $1),
       setval('offline_page_numbers', nextval('offline_page_numbers') + $1),
       setval('session_numbers', nextval('session_numbers') + $2)";

/// All of a user's contacts are of a version that no client has: each gets them all at its next look.
const VERSIONS: &str = "WITH next AS (
    SELECT user_id FROM contact_versions
    WHERE user_id > (SELECT users_done FROM restores WHERE id = $1) ORDER BY user_id LIMIT $2 FOR UPDATE),
  versions AS (
    UPDATE contact_versions v SET version = v.version + $3 FROM next n WHERE v.user_id = n.user_id),
  contacts AS (
    UPDATE contacts c SET version = c.version + $3 WHERE c.user_id = ANY (ARRAY(SELECT user_id FROM next)))
UPDATE restores SET users_done = coalesce((SELECT max(user_id) FROM next), users_done) WHERE id = $1
RETURNING (SELECT count(*) FROM next)";

const GAPS: &str = concat!(
    walk!(),
    ", added AS (
    INSERT INTO messages (conv, seq, sender, ts, kind, want, device, id, content, digest)
    SELECT w.conv, newest.seq + $3, 0, extract(epoch FROM now())::int8, $4, 0, '', '', '',
           decode(md5('gap ' || w.conv || ' ' || newest.seq), 'hex')
    FROM walk w
    CROSS JOIN LATERAL (SELECT m.seq FROM messages m WHERE m.conv = w.conv ORDER BY m.seq DESC LIMIT 1) newest
    WHERE w.conv IS NOT NULL ORDER BY w.conv
    RETURNING conv)
UPDATE restores SET conv_done = coalesce((SELECT max(conv) FROM added), conv_done),
                    conversations = conversations + (SELECT count(*) FROM added)
WHERE id = $5 AND conv_done = $1
RETURNING conv_done, (SELECT count(*) FROM added), conversations"
);
const END: &str = "UPDATE restores SET ended_at = now() WHERE id = $1";

/// A run under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its number.
    pub id: i64,
    /// By how much numbers go up.
    pub step: i64,
    /// It was begun before and cut short.
    pub resumed: bool,
    /// Conversations up to this one are done.
    conv_done: String,
    /// How many that are.
    pub conversations: i64,
}

/// Begins a run, or goes on with one that was cut short. The inner error: the last one has ended, then; `again` begins
/// another all the same. One that goes on keeps its own step.
///
/// # Errors
/// [`StoreError`]; then nothing has begun.
pub async fn begin(pool: &Pool, step: i64, once_more: bool) -> Result<Result<Run, String>, StoreError> {
    again!({
        let mut lease = pool.get().await?;
        let tx = lease.begin().await?;
        if let Some(row) = tx.query(LAST, &[]).await?.first() {
            match row.get::<_, Option<String>>(1) {
                None => return Ok(Ok(run(row))),
                Some(ended) if !once_more => return Ok(Err(ended)),
                Some(_) => {}
            }
        }
        let rows = tx.query(BEGIN, &[&step]).await?;
        let id = rows.first().map_or(0, |row| row.get(0));
        tx.execute(FLOOR, &[&step]).await?;
        tx.query(SEQUENCES, &[&step, &(step * SESSION_STEPS)]).await?;
        tx.commit().await?;
        Ok(Ok(Run { id, step, resumed: false, conv_done: String::new(), conversations: 0 }))
    })
}

fn run(row: &Row) -> Run {
    Run { id: row.get(0), step: row.get(2), resumed: true, conv_done: row.get(3), conversations: row.get(4) }
}

/// Raises the contact versions of some more users; how many. None: all are done.
///
/// # Errors
/// [`StoreError`]; then of none.
pub async fn versions(pool: &Pool, run: &Run, batch: i64) -> Result<i64, StoreError> {
    let row = pool.get().await?.query_opt(VERSIONS, &[&run.id, &batch, &run.step]).await?;
    Ok(row.map_or(0, |row| row.get(0)))
}

/// Moves some more conversations on; how many. None: all are done.
///
/// # Errors
/// [`StoreError`]; then none.
pub async fn conversations(pool: &Pool, run: &mut Run, batch: i32) -> Result<i64, StoreError> {
    let lease = pool.get().await?;
    let row = lease.query_opt(GAPS, &[&run.conv_done, &batch, &run.step, &rows::GAP, &run.id]).await?;
    let row = row.ok_or_else(|| StoreError::Row {
        table: "restores",
        expected: format!("run {} at {:?}", run.id, run.conv_done),
        found: "another place: is it run twice at a time?".to_owned(),
    })?;
    (run.conv_done, run.conversations) = (row.get(0), row.get(2));
    Ok(row.get(1))
}

/// Notes that all is done.
///
/// # Errors
/// [`StoreError`].
pub async fn end(pool: &Pool, run: &Run) -> Result<(), StoreError> {
    pool.get().await?.execute(END, &[&run.id]).await.map(drop)
}
