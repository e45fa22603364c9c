//! The connections that the calls share.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    StoreError,
    connect::{Settings, connect, settings},
    session::{STATEMENT_SECONDS, Session},
};
use crate::{config, metric::metrics};

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
        metrics().pool_idle.set(idle);
        metrics().pool_used.set(f64::from(state.connections) - idle);
        let begun = Instant::now();
        let mut failed = self.failed.subscribe();
        let unreachable = |what| StoreError::Unreachable { what, source: None };
        let got = tokio::select! {
            biased;
            got = self.inner.get_owned() => match got {
                Ok(connection) => Ok(Lease(connection)),
                Err(bb8::RunError::TimedOut) => {
                    Err(unreachable(format!("none of {} came free within {:?}", state.connections, self.wait)))
                }
                Err(bb8::RunError::User(error)) => Err(error),
            },
            Ok(()) = failed.changed() => Err(unreachable(failed.borrow().clone())),
        };
        metrics().pool_wait_seconds.record(begun.elapsed());
        got
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

/// Opens connections for the pool.
struct Manager {
    settings: Settings,
    /// Why the last connection could not be made, for those that wait for one.
    failed: Arc<watch::Sender<String>>,
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
        Ok(session.client().simple_query("").await.map(drop)?)
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        session.is_spent()
    }
}

/// Calls are cut on the server too, so that one that was given up does not go on working there.
fn pool_session() -> [(&'static str, String); 2] {
    let limit = (STATEMENT_SECONDS * 1_000).to_string();
    [("statement_timeout", limit.clone()), ("idle_in_transaction_session_timeout", limit)]
}
