//! What PostgreSQL says of itself.

use super::{Pool, StoreError};

const FIGURES: &str =
    "SELECT (SELECT count(*) FROM pg_stat_activity), current_setting('max_connections')::bigint,
pg_database_size(current_database()), xact_commit, xact_rollback, deadlocks
FROM pg_stat_database WHERE datname = current_database()";

/// Of the whole server, or of our database, whoever uses them.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "named as PostgreSQL names them")]
pub struct Figures {
    pub connections: i64,
    pub max_connections: i64,
    pub database_bytes: i64,
    pub commits: i64,
    pub rollbacks: i64,
    pub deadlocks: i64,
}

/// Asks for them.
///
/// # Errors
/// [`StoreError::Database`], [`StoreError::Hung`], [`StoreError::Unreachable`].
pub async fn figures(pool: &Pool) -> Result<Figures, StoreError> {
    let row = pool.get().await?.query_opt(FIGURES, &[]).await?;
    let row = row.ok_or_else(|| StoreError::Row {
        table: "pg_stat_database",
        expected: "a row of this database".to_owned(),
        found: "none".to_owned(),
    })?;
    Ok(Figures {
        connections: row.try_get(0)?,
        max_connections: row.try_get(1)?,
        database_bytes: row.try_get(2)?,
        commits: row.try_get(3)?,
        rollbacks: row.try_get(4)?,
        deadlocks: row.try_get(5)?,
    })
}
