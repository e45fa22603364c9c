//! Who did what: a row before it is done, and what came of it.

use tokio_postgres::Row;

use crate::store::{Pool, StoreError};

const BEGIN: &str =
    "INSERT INTO audit (os_user, host, said, action, target) VALUES ($1, $2, $3, $4, $5) RETURNING id";
const END: &str = "UPDATE audit SET ended_at = now(), result = $2 WHERE id = $1";
const LIST: &str = r#"SELECT id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
       os_user, host, said, action, target, result
FROM audit WHERE ($1::bigint IS NULL OR id < $1) ORDER BY id DESC LIMIT $2"#;

/// Who does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// As the operating system knows them.
    pub os_user: String,
    /// On which machine.
    pub host: String,
    /// Who they say they are.
    pub said: Option<String>,
}

/// A row, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of the row")]
pub struct Line {
    pub id: i64,
    pub at: String,
    pub who: Who,
    pub action: String,
    pub target: String,
    pub result: Option<String>,
}

/// Notes that something is about to be done. Gives the row's id.
///
/// # Errors
/// [`StoreError`]: then it is not to be done.
pub async fn begin(pool: &Pool, who: &Who, action: &str, target: &str) -> Result<i64, StoreError> {
    let lease = pool.get().await?;
    let row = lease.query_opt(BEGIN, &[&who.os_user, &who.host, &who.said, &action, &target]).await?;
    row.map(|row| row.get(0)).ok_or_else(|| StoreError::Row {
        table: "audit",
        expected: "the id of the new row".to_owned(),
        found: "nothing".to_owned(),
    })
}

/// Notes what came of it.
///
/// # Errors
/// [`StoreError`]: the row stays without a result.
pub async fn end(pool: &Pool, id: i64, result: &str) -> Result<(), StoreError> {
    pool.get().await?.execute(END, &[&id, &result]).await.map(drop)
}

/// The newest rows before `before`, the newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn list(pool: &Pool, before: Option<i64>, limit: i64) -> Result<Vec<Line>, StoreError> {
    let rows = pool.get().await?.query(LIST, &[&before, &limit]).await?;
    let line = |row: &Row| Line {
        id: row.get(0),
        at: row.get(1),
        who: Who { os_user: row.get(2), host: row.get(3), said: row.get(4) },
        action: row.get(5),
        target: row.get(6),
        result: row.get(7),
    };
    Ok(rows.iter().map(line).collect())
}
