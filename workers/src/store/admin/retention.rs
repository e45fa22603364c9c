//! Removing old messages, a batch at a time, along the primary key: no index of its own, so nothing to pay where messages
//! are stored.
//!
//! Every conversation keeps its newest shown row, and whatever stands behind it, so that its numbers go on. A row's time
//! is its edge's clock, and so nearly in the order of `seq`: each conversation is read from its beginning, and no further
//! than where a whole window holds nothing old.

use shared::ids::{Conversation, GroupId, Seq, UserId};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Row};

use crate::{
    config,
    store::{Pool, StoreError, connect_with, rows},
};

/// Rows at a conversation's beginning by which it is told whether it holds anything old: more than one, as one that was
/// stamped by a clock far ahead would hide all that follow.
macro_rules! walk {
    () => {
        "WITH RECURSIVE walk(conv, n) AS (
    (SELECT conv, 1 FROM messages WHERE conv > $1 ORDER BY conv LIMIT 1)
    UNION ALL
    SELECT (SELECT m.conv FROM messages m WHERE m.conv > w.conv ORDER BY m.conv LIMIT 1), w.n + 1
    FROM walk w WHERE w.conv IS NOT NULL AND w.n < $2)"
    };
}
pub(super) use walk;

/// One index probe a conversation for its name, one for what it keeps, one for its beginning.
const PAGE: &str = concat!(
    walk!(),
    "
SELECT w.conv, kept.seq,
       coalesce((SELECT bool_or(begins.ts < $3) FROM (
           SELECT m.ts FROM messages m WHERE m.conv = w.conv AND m.seq < kept.seq ORDER BY m.seq LIMIT 4) begins), false)
FROM walk w
CROSS JOIN LATERAL (
    SELECT coalesce(
        (SELECT m.seq FROM messages m WHERE m.conv = w.conv AND m.kind >= 0 ORDER BY m.seq DESC LIMIT 1),
        (SELECT m.seq FROM messages m WHERE m.conv = w.conv ORDER BY m.seq DESC LIMIT 1)) AS seq) kept
WHERE w.conv IS NOT NULL ORDER BY w.conv"
);

/// A window of each conversation: `$1` names, `$2` what each keeps, `$3` where each goes on, `$4` rows of each, `$5` the
/// time before which a row is old.
macro_rules! window {
    () => {
        "looked AS MATERIALIZED (
    SELECT w.conv, d.seq, d.row, d.ts < $5 AS old
    FROM unnest($1::text[], $2::int8[], $3::int8[]) AS w(conv, keep, after)
    CROSS JOIN LATERAL (
        SELECT m.seq, m.ts, m.ctid AS row FROM messages m
        WHERE m.conv = w.conv AND m.seq > w.after AND m.seq < w.keep ORDER BY m.seq LIMIT $4) d)"
    };
}

/// By the rows' places in the table: whatever a planner thinks of the arrays, it reads no more than these. Rows of
/// `messages` never change, and none that this statement sees can be replaced while it runs. Not waiting for the disk: what
/// a crash of PostgreSQL takes back is removed by the next run.
const REMOVE: &str = concat!(
    "WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true)), ",
    window!(),
    ", gone AS (
    DELETE FROM messages WHERE ctid = ANY (ARRAY(SELECT l.row FROM looked l, relaxed WHERE l.old))
    RETURNING conv, seq, sender, device, kind, want),
  told AS (
    DELETE FROM receipts WHERE ctid = ANY (ARRAY(
        SELECT r.row FROM gone g CROSS JOIN LATERAL (
            SELECT r.ctid AS row FROM receipts r
            WHERE r.user_id = g.sender AND r.device = g.device AND r.conv = g.conv AND r.seq = g.seq OFFSET 0) r
        WHERE g.want >= 2))
    RETURNING 1),
  counted AS (
    UPDATE removed SET texts = texts + (SELECT count(*) FROM gone WHERE kind = 0),
                       others = others + (SELECT count(*) FROM gone WHERE kind > 0)
    WHERE EXISTS (SELECT 1 FROM gone))
SELECT conv, count(*), count(*) FILTER (WHERE old), max(seq) FILTER (WHERE old), (SELECT count(*) FROM told)
FROM looked GROUP BY conv"
);

/// The same, and nothing is removed.
const COUNT: &str = concat!(
    "WITH ",
    window!(),
    " SELECT conv, count(*), count(*) FILTER (WHERE old), max(seq) FILTER (WHERE old), 0::int8 FROM looked GROUP BY conv"
);

const MEMBERS: &str = "SELECT user_id FROM participants WHERE group_id = $1 AND to_seq IS NULL LIMIT $2";

/// A conversation with something old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Old {
    /// Its name.
    pub conv: String,
    /// It keeps this one, and whatever stands behind.
    pub keep: i64,
    /// It goes on behind this one; 0: from its beginning.
    pub after: i64,
}

/// Some conversations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// How many were looked at.
    pub looked: usize,
    /// The last of them; `None`: there are no more.
    pub last: Option<String>,
    /// Those that have something old.
    pub old: Vec<Old>,
}

/// The conversations behind `after`, by name, at most `count`; what is older than `before` (Unix seconds) is old.
///
/// # Errors
/// [`StoreError`].
pub async fn page(pool: &Pool, after: &str, count: i32, before: i64) -> Result<Page, StoreError> {
    let rows = pool.get().await?.query(PAGE, &[&after, &count, &before]).await?;
    let old = |row: &Row| {
        let old: bool = row.get(2);
        old.then(|| Old { conv: row.get(0), keep: row.get(1), after: 0 })
    };
    Ok(Page {
        looked: rows.len(),
        last: rows.last().map(|row| row.get(0)),
        old: rows.iter().filter_map(old).collect(),
    })
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Rows of `messages`.
    pub messages: u64,
    /// Receipts for them that nobody had been told.
    pub receipts: u64,
    /// Up to where, in each conversation.
    pub upto: Vec<(Conversation, Seq)>,
    /// Conversations that may have more.
    pub rest: Vec<Old>,
}

/// Removes what is old in the next `window` rows of each of these, with its receipts, and counts it; or only counts.
///
/// # Errors
/// [`StoreError`]; then nothing was removed.
pub async fn remove(
    pool: &Pool,
    of: Vec<Old>,
    window: i64,
    before: i64,
    only_count: bool,
) -> Result<Removed, StoreError> {
    let convs: Vec<&str> = of.iter().map(|old| old.conv.as_str()).collect();
    let keep: Vec<i64> = of.iter().map(|old| old.keep).collect();
    let after: Vec<i64> = of.iter().map(|old| old.after).collect();
    let sql = if only_count { COUNT } else { REMOVE };
    let found = pool.get().await?.query(sql, &[&convs, &keep, &after, &window, &before]).await?;
    let mut removed = Removed::default();
    for row in &found {
        let (conv, looked, old): (&str, i64, i64) = (row.get(0), row.get(1), row.get(2));
        removed.messages += old.unsigned_abs();
        removed.receipts = row.get::<_, i64>(4).unsigned_abs();
        let Some(upto) = row.get::<_, Option<i64>>(3) else { continue };
        removed.upto.push((rows::conversation(conv)?, Seq(upto)));
        if looked == window
            && let Some(one) = of.iter().find(|one| one.conv == conv)
        {
            removed.rest.push(Old { after: upto, ..one.clone() });
        }
    }
    Ok(removed)
}

/// Members of a group now, at most `limit`: those for whom bodies may be cached.
///
/// # Errors
/// [`StoreError`].
pub async fn members(pool: &Pool, group: GroupId, limit: i64) -> Result<Vec<UserId>, StoreError> {
    let rows = pool.get().await?.query(MEMBERS, &[&group.0, &limit]).await?;
    Ok(rows.iter().map(|row| UserId(row.get(0))).collect())
}

/// The only run of retention on this schema, as long as it lives.
#[derive(Debug)]
pub struct Only {
    _client: Client,
    _driven: JoinHandle<()>,
}

impl Only {
    /// `None`: another one runs.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take(postgres: &config::Postgres) -> Result<Option<Self>, StoreError> {
        let settings = [("application_name", "simple-im admin".to_owned())];
        let (client, driven) = connect_with(postgres, &settings).await?;
        let sql = "SELECT pg_try_advisory_lock(hashtextextended('simple-im retention ' || $1, 0))";
        let taken: bool = client.query_one(sql, &[&postgres.schema]).await?.get(0);
        Ok(taken.then_some(Self { _client: client, _driven: driven }))
    }
}
