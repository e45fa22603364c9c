//! Brings a schema up to what this binary knows. Numbered, forward only, one transaction each.

use tokio_postgres::Client;

use super::{StoreError, connect::connect_one};
use crate::config;

/// One migration as it stands in `migrations/`.
struct Migration {
    version: i32,
    name: &'static str,
    sql: &'static str,
}

macro_rules! migrations {
    ($($version:literal $name:literal),* $(,)?) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../../migrations/", $name, ".sql")),
        }),*]
    };
}

/// Every migration, in order.
const MIGRATIONS: &[Migration] = migrations![1 "0001_accounts", 2 "0002_relations", 3 "0003_messages", 4 "0004_lanes", 5 "0005_conservation", 6 "0006_receipts", 7 "0007_admin", 8 "0008_upkeep", 9 "0009_requests"];

/// The newest migration that this binary knows.
pub fn newest() -> i32 {
    MIGRATIONS.last().map_or(0, |last| last.version)
}

/// A migration that was applied just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its number.
    pub version: i32,
    /// Its file's name.
    pub name: &'static str,
}

/// Applies what is missing; several processes may do so at once, the others wait.
///
/// # Errors
/// [`StoreError::Newer`] when the schema is ahead of this binary; otherwise as the connection.
pub async fn migrate(postgres: &config::Postgres) -> Result<Vec<Applied>, StoreError> {
    let (mut client, _driven) = connect_one(postgres).await?;
    let schema = &postgres.schema;
    // Held by the session: it goes with the connection, however this ends.
    client
        .execute("SELECT pg_advisory_lock(hashtextextended('simple-im migrate ' || $1, 0))", &[schema])
        .await?;
    let at = prepare(&client, schema).await?;
    let known = newest();
    if at > known {
        return Err(StoreError::Newer { schema: schema.clone(), found: at, known });
    }
    let mut applied = Vec::new();
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > at) {
        let transaction = client.transaction().await?;
        transaction.batch_execute(migration.sql).await?;
        transaction
            .execute(
                "INSERT INTO schema_migrations (version, name) VALUES ($1, $2)",
                &[&migration.version, &migration.name],
            )
            .await?;
        transaction.commit().await?;
        tracing::info!(schema, version = migration.version, name = migration.name, "migrated");
        applied.push(Applied { version: migration.version, name: migration.name });
    }
    Ok(applied)
}

/// Whether the schema is the one that this binary knows; for tools, which change no schema.
///
/// # Errors
/// [`StoreError::Newer`] or [`StoreError::Older`]; otherwise as the connection.
pub async fn check(postgres: &config::Postgres) -> Result<(), StoreError> {
    let (client, _driven) = connect_one(postgres).await?;
    let exists = client.query_one("SELECT to_regclass('schema_migrations') IS NOT NULL", &[]).await?;
    let found = if exists.get(0) {
        client.query_one("SELECT coalesce(max(version), 0) FROM schema_migrations", &[]).await?.get(0)
    } else {
        0
    };
    let known = MIGRATIONS.last().map_or(0, |last| last.version);
    let schema = postgres.schema.clone();
    match found {
        found if found > known => Err(StoreError::Newer { schema, found, known }),
        found if found < known => Err(StoreError::Older { schema, found, known }),
        _ => Ok(()),
    }
}

/// Makes the schema and the table of migrations where they are missing; gives the newest version applied, or 0.
async fn prepare(client: &Client, schema: &String) -> Result<i32, StoreError> {
    // CREATE SCHEMA IF NOT EXISTS needs the right to create one even where there is nothing to create.
    let exists = client.query_opt("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[schema]).await?;
    if exists.is_none() {
        client.batch_execute(&format!("CREATE SCHEMA {schema}")).await?;
    }
    client
        .batch_execute(&format!(
            "CREATE TABLE IF NOT EXISTS {schema}.schema_migrations (
                 version     integer PRIMARY KEY,
                 name        text NOT NULL,
                 applied_at  timestamptz NOT NULL DEFAULT now())"
        ))
        .await?;
    let newest = client.query_one("SELECT coalesce(max(version), 0) FROM schema_migrations", &[]).await?;
    Ok(newest.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_a_gap_as_their_files_are() {
        for (place, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version as usize, place + 1);
            assert!(migration.name.starts_with(&format!("{:04}_", migration.version)), "{}", migration.name);
        }
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations")).unwrap();
        assert_eq!(files.count(), MIGRATIONS.len(), "a file in migrations/ is not in this list");
    }
}
