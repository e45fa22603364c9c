//! Making connections to PostgreSQL, for the pool and for sessions of their own.

use std::{str::FromStr, time::Duration};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use super::StoreError;
use crate::config;

/// A connection of its own, outside the pool, with the task that drives it. The task ends when the client is dropped
/// or the connection is lost.
///
/// # Errors
/// [`StoreError::Settings`] or [`StoreError::Unreachable`].
pub async fn connect_one(postgres: &config::Postgres) -> Result<(Client, JoinHandle<()>), StoreError> {
    connect_with(postgres, &[]).await
}

/// As [`connect_one`], with server settings for this session (`("idle_session_timeout", "5000")`).
///
/// # Errors
/// As [`connect_one`].
pub async fn connect_with(
    postgres: &config::Postgres,
    session: &[(&str, String)],
) -> Result<(Client, JoinHandle<()>), StoreError> {
    connect(&settings(postgres, session)?).await
}

/// What a connection is made with.
pub(super) struct Settings {
    driver: tokio_postgres::Config,
    connect: Duration,
}

/// Opens one, and starts the task that drives it.
pub(super) async fn connect(settings: &Settings) -> Result<(Client, JoinHandle<()>), StoreError> {
    let unreachable = |what: String, source| StoreError::Unreachable { what, source };
    let (client, connection) = tokio::time::timeout(settings.connect, settings.driver.connect(NoTls))
        .await
        .map_err(|_| unreachable(format!("it did not answer within {:?}", settings.connect), None))?
        .map_err(|error| unreachable(super::described(&error), Some(error)))?;
    let driven = tokio::spawn(async move {
        // Whoever uses the client gets the error too, with what was being done.
        if let Err(error) = connection.await {
            tracing::debug!(error = super::described(&error), "a connection to PostgreSQL ended");
        }
    });
    Ok((client, driven))
}

/// The configured connection with server settings for the session, its schema in front.
pub(super) fn settings(
    postgres: &config::Postgres,
    session: &[(&str, String)],
) -> Result<Settings, StoreError> {
    check_schema(&postgres.schema)?;
    let mut driver = tokio_postgres::Config::from_str(postgres.url.expose()).map_err(|error| {
        StoreError::Settings { key: "url", expected: "postgres://…", found: error.to_string() }
    })?;
    let (connect, hung) = (postgres.connect_seconds.get(), postgres.hung_seconds.get());
    let mut options = format!("-c search_path={}", postgres.schema);
    for (key, value) in session {
        // Among the options a space would end it, and what the driver sends of itself would win.
        if *key == "application_name" {
            driver.application_name(value);
            continue;
        }
        options.push_str(&format!(" -c {key}={value}"));
    }
    if let Some(given) = driver.get_options() {
        options = format!("{given} {options}");
    }
    driver
        .options(options)
        .connect_timeout(connect)
        .keepalives_idle(hung)
        .keepalives_interval(Duration::from_secs(1))
        .keepalives_retries(3)
        .tcp_user_timeout(hung * 2);
    if driver.get_application_name().is_none() {
        driver.application_name("simple-im worker");
    }
    Ok(Settings { driver, connect })
}

/// A schema's name stands in statements and in the connection's options unquoted.
pub(super) fn check_schema(schema: &str) -> Result<(), StoreError> {
    let valid = schema.len() <= 63
        && schema.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && schema.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if valid {
        return Ok(());
    }
    let expected = "up to 63 of a-z, 0-9 and _, not beginning with a digit";
    Err(StoreError::Settings { key: "schema", expected, found: schema.chars().take(80).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_that_would_need_quotes_is_refused() {
        for schema in ["public", "t_17", "_x"] {
            assert!(check_schema(schema).is_ok(), "{schema}");
        }
        for schema in ["", "1a", "a b", "a;drop", "A", "ä"] {
            assert!(check_schema(schema).is_err(), "{schema}");
        }
    }
}
