//! Making connections to PostgreSQL, for the pool and for sessions of their own.

use std::{str::FromStr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
};
use tokio_postgres::{Client, Connection, NoTls, tls::TlsStream};

use super::{StoreError, tls::Tls};
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
    tls: Option<Tls>,
    connect: Duration,
}

/// Opens one, and starts the task that drives it.
pub(super) async fn connect(settings: &Settings) -> Result<(Client, JoinHandle<()>), StoreError> {
    let unreachable = |what: String, source| StoreError::Unreachable { what, source };
    let connecting = async {
        match settings.tls.clone() {
            None => settings.driver.connect(NoTls).await.map(driven),
            Some(tls) => settings.driver.connect(tls).await.map(driven),
        }
    };
    tokio::time::timeout(settings.connect, connecting)
        .await
        .map_err(|_| unreachable(format!("it did not answer within {:?}", settings.connect), None))?
        .map_err(|error| unreachable(super::described(&error), Some(error)))
}

fn driven<S, T>((client, connection): (Client, Connection<S, T>)) -> (Client, JoinHandle<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: TlsStream + Unpin + Send + 'static,
{
    let driven = tokio::spawn(async move {
        // Whoever uses the client gets the error too, with what was being done.
        if let Err(error) = connection.await {
            tracing::debug!(error = super::described(&error), "a connection to PostgreSQL ended");
        }
    });
    (client, driven)
}

/// The configured connection with server settings for the session, its schema in front.
pub(super) fn settings(
    postgres: &config::Postgres,
    session: &[(&str, String)],
) -> Result<Settings, StoreError> {
    check_schema(&postgres.schema)?;
    // What other clients call `verify-full` is what `require` means here.
    let url = postgres.url.expose().replace("sslmode=verify-full", "sslmode=require");
    let mut driver = tokio_postgres::Config::from_str(&url).map_err(|error| StoreError::Settings {
        key: "url",
        expected: "postgres://…",
        found: error.to_string(),
    })?;
    if !postgres.password.expose().is_empty() {
        driver.password(postgres.password.expose());
    }
    let tls = Tls::new(postgres, &mut driver).map_err(|error| StoreError::Settings {
        key: "ca, certificate, key",
        expected: "files for TLS",
        found: error.to_string(),
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
    Ok(Settings { driver, tls, connect })
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
    use shared::config::{Secret, SecretUrl};

    use super::*;

    #[test]
    fn tls_is_as_the_url_asks_and_the_password_may_stand_apart() {
        let with = |url: &str| config::Postgres {
            url: SecretUrl::new(url),
            password: Secret::new("geheim"),
            ..config::WorkerConfig::default().postgres
        };
        let made = rcgen::generate_simple_self_signed(vec!["db".to_owned()]).unwrap();
        let root = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(root.path(), made.cert.pem()).unwrap();
        for (url, tls) in [
            ("postgres://im@db/im", false),
            ("postgres://im@db/im?sslmode=prefer", false),
            ("postgres://im@db/im?sslmode=disable", false),
            ("postgres://im@db/im?sslmode=require", true),
            ("postgres://im@db/im?application_name=x&sslmode=verify-full", true),
        ] {
            let postgres = config::Postgres { ca: root.path().display().to_string(), ..with(url) };
            let settings = settings(&postgres, &[]).unwrap();
            assert_eq!(settings.tls.is_some(), tls, "{url}");
            assert_eq!(settings.driver.get_password(), Some(b"geheim".as_slice()));
        }
        let missing =
            config::Postgres { ca: "/nowhere.pem".to_owned(), ..with("postgres://im@db/im?sslmode=require") };
        let Err(error) = settings(&missing, &[]) else { panic!("a file that is not there was of use") };
        assert!(
            error.to_string().contains("/nowhere.pem") && !error.to_string().contains("geheim"),
            "{error}"
        );
    }

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
