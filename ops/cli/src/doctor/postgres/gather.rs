//! Asking PostgreSQL, by the workers' own settings. By simple statements alone: a proxy that pools transactions may
//! know no prepared ones, and is what is looked for.

use std::collections::BTreeMap;
use std::error::Error as _;

use anyhow::{Context, Result};
use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage};
use workers::config;
use workers::store::{StoreError, connect_one};

use super::road::{Road, tried};
use super::{Postgres, Told};
use crate::doctor::clock::Clock;
use crate::doctor::place::{PATIENCE, is_remote, now_us};

/// One row of a simple statement: everything is text, and what is NULL is not there.
pub(super) type Row = BTreeMap<String, String>;

const SETTINGS: &str = "SELECT name, setting FROM pg_settings WHERE name IN (
    'fsync', 'full_page_writes', 'synchronous_commit', 'synchronous_standby_names', 'default_transaction_read_only',
    'default_transaction_isolation', 'max_connections', 'superuser_reserved_connections', 'reserved_connections',
    'idle_session_timeout', 'data_checksums', 'autovacuum', 'track_counts', 'server_version', 'server_version_num')";

/// Sessions of ours call themselves so.
const ITSELF: &str = "SELECT pg_is_in_recovery() AS recovery,
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
    (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role_limit,
    (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS ssl,
    pg_has_role(current_user, 'pg_monitor', 'USAGE') AS sees,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
        AND application_name NOT LIKE 'simple-im%') AS others,
    (SELECT count(*) FROM pg_stat_replication) AS standbys";

/// Asks everything, as a worker with these settings would.
///
/// # Errors
/// When no session can be made, or a statement fails.
pub async fn gather(postgres: &config::Postgres) -> Result<Told> {
    let client = match timeout(PATIENCE, connect_one(postgres)).await.context("connecting took too long")? {
        Ok((client, _driven)) => client,
        Err(error) => match refusal(&error) {
            Some(said) => return Ok(unseen(said)),
            None => return Err(error.into()),
        },
    };
    timeout(PATIENCE * 2, ask(&client, postgres)).await.context("a statement took too long")?
}

async fn ask(client: &Client, postgres: &config::Postgres) -> Result<Told> {
    let road = tried(postgres).await?;
    let mut settings = BTreeMap::new();
    for mut row in rows(client, SETTINGS).await? {
        if let (Some(name), Some(value)) = (row.remove("name"), row.remove("setting")) {
            settings.insert(name, value);
        }
    }
    let itself = rows(client, ITSELF).await?.pop().context("expected a row, found none")?;
    let is = |name: &str| itself.get(name).map(String::as_str) == Some("t");
    let before = now_us();
    let now = rows(client, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now").await?;
    let clock = now
        .first()
        .and_then(|row| number(row, "now"))
        .map(|theirs| Clock::read("postgres", theirs, (before, now_us())));
    let postgres = Postgres {
        settings,
        in_recovery: is("recovery"),
        superuser: is("superuser"),
        role_limit: number(&itself, "role_limit").unwrap_or(-1),
        tls: is("ssl"),
        remote: is_remote(postgres.url.expose()),
        others: number(&itself, "others").unwrap_or_default(),
        standbys: number(&itself, "standbys").filter(|_| is("sees")),
        migration: migration(client, &postgres.schema).await?,
    };
    Ok(Told { postgres, road, clock })
}

/// The newest migration; none where the schema or its table is not there.
async fn migration(client: &Client, schema: &str) -> Result<Option<i64>> {
    let there = format!("SELECT to_regclass('{schema}.schema_migrations') IS NOT NULL AS there");
    if rows(client, &there).await?.first().and_then(|row| row.get("there")).map(String::as_str) != Some("t") {
        return Ok(None);
    }
    let newest =
        rows(client, &format!("SELECT max(version) AS newest FROM {schema}.schema_migrations")).await?;
    Ok(newest.first().and_then(|row| number(row, "newest")))
}

/// What a proxy says that knows no session of ours: it refuses the settings with which workers begin.
fn refusal(error: &StoreError) -> Option<String> {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        said = format!("{said}: {cause}");
        source = cause.source();
    }
    said.contains("unsupported startup parameter").then_some(said)
}

/// Nothing but what the proxy has said.
fn unseen(said: String) -> Told {
    Told { postgres: Postgres::default(), road: Road::Refused(said), clock: None }
}

pub(super) async fn rows(client: &Client, statement: &str) -> Result<Vec<Row>> {
    let messages = client.simple_query(statement).await?;
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some(
            row.columns()
                .iter()
                .enumerate()
                .filter_map(|(place, column)| Some((column.name().to_owned(), row.get(place)?.to_owned())))
                .collect(),
        ),
        _ => None,
    };
    Ok(messages.iter().filter_map(row).collect())
}

pub(super) fn number(row: &Row, name: &str) -> Option<i64> {
    row.get(name)?.parse().ok()
}
