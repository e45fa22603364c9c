//! One connection with its prepared statements, and transactions on it.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_postgres::{Client, Row, Statement, types::ToSql};

use super::StoreError;
use crate::metric::metrics;

/// Longer than this no statement of a call may take; whoever asked has stopped waiting long before.
pub(super) const STATEMENT_SECONDS: u64 = 10;

/// Parameters of a statement, as the driver takes them.
pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

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

    /// Whether it is of no more use: lost, or a statement on it was given up and may still be under way.
    pub(super) fn is_spent(&self) -> bool {
        self.busy.load(Ordering::Acquire) || self.client.is_closed()
    }

    /// Waits for something asked of its client, for as long as a statement may take: where a proxy stands in between, the
    /// network does not tell that nothing comes.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreError> {
        let done = tokio::time::timeout(Duration::from_secs(STATEMENT_SECONDS), work).await;
        Ok(done.map_err(|_| StoreError::Hung { seconds: STATEMENT_SECONDS })??)
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
    let begun = Instant::now();
    let done = tokio::time::timeout(Duration::from_secs(STATEMENT_SECONDS), work)
        .await
        .map_err(|_| StoreError::Hung { seconds: STATEMENT_SECONDS })?;
    busy.store(false, Ordering::Release);
    metrics().statement_seconds.record(begun.elapsed());
    Ok(done?)
}
