//! Connections to PostgreSQL: the pool that the calls share, and single sessions for the committers.

use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
    str::FromStr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use shared::telemetry::Metric;
use tokio::{sync::watch, task::JoinHandle};
use tokio_postgres::{Client, NoTls, Row, Statement, types::ToSql};

use super::StoreError;
use crate::config;

/// Longer than this no statement of a call may take; whoever asked has stopped waiting long before.
const STATEMENT_SECONDS: u64 = 10;

/// Parameters of a statement, as the driver takes them.
pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// The connections that the calls share. Capacity `[postgres] pool`; when all are taken a call waits
/// `connect_seconds`, then fails with [`StoreError::Unreachable`]. When a connection cannot be made, whoever waits is
/// told at once, so that an outage does not fill the calls' places with waiting.
#[derive(Clone)]
pub struct Pool {
    inner: bb8::Pool<Manager>,
    failed: Arc<watch::Sender<String>>,
    wait: Duration,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("state", &self.inner.state()).finish()
    }
}

impl Pool {
    /// Connects when first used, so that a worker starts while PostgreSQL is down.
    ///
    /// # Errors
    /// [`StoreError::Settings`].
    pub fn new(postgres: &config::Postgres) -> Result<Self, StoreError> {
        let settings = settings(postgres, &pool_session())?;
        let wait = postgres.connect_seconds.get();
        let failed = Arc::new(watch::Sender::new(String::new()));
        let inner = bb8::Pool::builder()
            .max_size(postgres.pool)
            .connection_timeout(wait)
            .test_on_check_out(false)
            .retry_connection(false)
            .build_unchecked(Manager { settings, failed: failed.clone() });
        Ok(Self { inner, failed, wait })
    }

    /// A connection, given back when dropped.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`].
    pub async fn get(&self) -> Result<Lease, StoreError> {
        let state = self.inner.state();
        let idle = f64::from(state.idle_connections);
        Metric::WorkerPoolConnections.gauge(&[("state", "idle")]).set(idle);
        Metric::WorkerPoolConnections.gauge(&[("state", "used")]).set(f64::from(state.connections) - idle);
        let mut failed = self.failed.subscribe();
        let unreachable = |what| StoreError::Unreachable { what, source: None };
        tokio::select! {
            biased;
            got = self.inner.get_owned() => match got {
                Ok(connection) => Ok(Lease(connection)),
                Err(bb8::RunError::TimedOut) => {
                    Err(unreachable(format!("none of {} came free within {:?}", state.connections, self.wait)))
                }
                Err(bb8::RunError::User(error)) => Err(error),
            },
            Ok(()) = failed.changed() => Err(unreachable(failed.borrow().clone())),
        }
    }

    /// Whether PostgreSQL answers now.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.get().await?.query("SELECT 1", &[]).await.map(drop)
    }
}

/// A pooled connection for as long as it is needed.
pub struct Lease(bb8::PooledConnection<'static, Manager>);

impl Deref for Lease {
    type Target = Session;
    fn deref(&self) -> &Session {
        &self.0
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.0
    }
}

type Statements = Mutex<HashMap<&'static str, Statement>>;

/// One connection with its prepared statements.
pub struct Session {
    client: Client,
    statements: Statements,
    /// A statement is under way. One that was given up leaves this set, and the pool throws the connection away.
    busy: AtomicBool,
}

impl Session {
    /// Keeps prepared statements for this connection.
    pub fn new(client: Client) -> Self {
        Self { client, statements: Statements::default(), busy: AtomicBool::new(false) }
    }

    /// Rows of a statement, prepared at its first use.
    ///
    /// # Errors
    /// [`StoreError::Database`] or [`StoreError::Hung`].
    pub async fn query(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        limited(&self.busy, async {
            let statement = prepared(&self.client, &self.statements, sql).await?;
            self.client.query(&statement, params).await
        })
        .await
    }

    /// The one row of a statement, or none.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn query_opt(&self, sql: &'static str, params: Params<'_>) -> Result<Option<Row>, StoreError> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// How many rows a statement changed.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn execute(&self, sql: &'static str, params: Params<'_>) -> Result<u64, StoreError> {
        limited(&self.busy, async {
            let statement = prepared(&self.client, &self.statements, sql).await?;
            self.client.execute(&statement, params).await
        })
        .await
    }

    /// Begins a transaction; dropped without [`Tx::commit`] it is rolled back.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn begin(&mut self) -> Result<Tx<'_>, StoreError> {
        let inner = limited(&self.busy, self.client.transaction()).await?;
        Ok(Tx { inner, statements: &self.statements, busy: &self.busy })
    }

    /// Prepares a statement ahead of its first use. What is to be sent in one go with something after it must be
    /// prepared: otherwise its first use waits for the server, and what comes after overtakes it.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn prepare(&self, sql: &'static str) -> Result<(), StoreError> {
        limited(&self.busy, prepared(&self.client, &self.statements, sql)).await.map(drop)
    }

    /// The driver's client.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// A transaction on a pooled connection.
pub struct Tx<'a> {
    inner: tokio_postgres::Transaction<'a>,
    statements: &'a Statements,
    busy: &'a AtomicBool,
}

impl Tx<'_> {
    /// As [`Session::query`].
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn query(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        limited(self.busy, async {
            let statement = prepared(self.inner.client(), self.statements, sql).await?;
            self.inner.query(&statement, params).await
        })
        .await
    }

    /// As [`Session::execute`].
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn execute(&self, sql: &'static str, params: Params<'_>) -> Result<u64, StoreError> {
        limited(self.busy, async {
            let statement = prepared(self.inner.client(), self.statements, sql).await?;
            self.inner.execute(&statement, params).await
        })
        .await
    }

    /// Commits.
    ///
    /// # Errors
    /// As [`Session::query`]; after an error it may or may not have been committed.
    pub async fn commit(self) -> Result<(), StoreError> {
        limited(self.busy, self.inner.commit()).await
    }
}

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

/// Opens connections for the pool.
struct Manager {
    settings: Settings,
    /// Why the last connection could not be made, for those that wait for one.
    failed: Arc<watch::Sender<String>>,
}

struct Settings {
    driver: tokio_postgres::Config,
    connect: Duration,
}

impl bb8::ManageConnection for Manager {
    type Connection = Session;
    type Error = StoreError;

    async fn connect(&self) -> Result<Session, StoreError> {
        match connect(&self.settings).await {
            Ok((client, _driven)) => Ok(Session::new(client)),
            Err(error) => {
                let why = match &error {
                    StoreError::Unreachable { what, .. } => what.clone(),
                    other => other.to_string(),
                };
                self.failed.send_replace(why);
                Err(error)
            }
        }
    }

    async fn is_valid(&self, session: &mut Session) -> Result<(), StoreError> {
        Ok(session.client.simple_query("").await.map(drop)?)
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        session.busy.load(Ordering::Acquire) || session.client.is_closed()
    }
}

async fn connect(settings: &Settings) -> Result<(Client, JoinHandle<()>), StoreError> {
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

/// Calls are cut on the server too, so that one that was given up does not go on working there.
fn pool_session() -> [(&'static str, String); 2] {
    let limit = (STATEMENT_SECONDS * 1_000).to_string();
    [("statement_timeout", limit.clone()), ("idle_in_transaction_session_timeout", limit)]
}

fn settings(postgres: &config::Postgres, session: &[(&str, String)]) -> Result<Settings, StoreError> {
    check_schema(&postgres.schema)?;
    let mut driver = tokio_postgres::Config::from_str(postgres.url.expose()).map_err(|error| {
        StoreError::Settings { key: "url", expected: "postgres://…", found: error.to_string() }
    })?;
    let (connect, hung) = (postgres.connect_seconds.get(), postgres.hung_seconds.get());
    let mut options = format!("-c search_path={}", postgres.schema);
    for (key, value) in session {
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

async fn prepared(
    client: &Client,
    statements: &Statements,
    sql: &'static str,
) -> Result<Statement, tokio_postgres::Error> {
    let known = statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
    if let Some(statement) = known {
        return Ok(statement);
    }
    let statement = client.prepare(sql).await?;
    statements.lock().unwrap_or_else(PoisonError::into_inner).insert(sql, statement.clone());
    Ok(statement)
}

async fn limited<T>(
    busy: &AtomicBool,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    busy.store(true, Ordering::Release);
    let done = tokio::time::timeout(Duration::from_secs(STATEMENT_SECONDS), work)
        .await
        .map_err(|_| StoreError::Hung { seconds: STATEMENT_SECONDS })?;
    busy.store(false, Ordering::Release);
    Ok(done?)
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
