//! All SQL. One file a table group; every statement is a constant text, prepared once a connection.
//!
//! | module | holds |
//! |---|---|
//! | [`pool`], [`connect`], [`tls`], [`session`] | connections: shared, of their own, encrypted; prepared statements, transactions |
//! | [`mod@migrate`] | bringing a schema up to what this binary knows |
//! | [`rows`] | rows of `messages` to frames, and requests to their columns |
//! | [`chunk`], [`lanes`] | what committers write, and how far they are |
//! | [`users`], [`tokens`], [`logins`], [`devices`] | accounts, tokens, devices |
//! | [`cursors`], [`owed`], [`pages`] | what devices have acknowledged, what they are owed, what `/offline` has shown |
//! | [`mod@figures`] | what PostgreSQL says of itself |
//! | [`admin`] | what operators ask and change |
//! | [`history`], [`lists`] | what the HTTP API shows of conversations, contacts and groups |

pub mod admin;
pub mod chunk;
pub mod connect;
pub mod cursors;
pub mod devices;
pub mod figures;
pub mod history;
pub mod lanes;
pub mod lists;
pub mod logins;
pub mod migrate;
pub mod owed;
pub mod pages;
pub mod pool;
pub mod rows;
pub mod session;
mod tls;
pub mod tokens;
pub mod users;

pub use connect::{connect_one, connect_with};
pub use figures::{Figures, figures};
pub use migrate::{Applied, check, migrate};
pub use pool::{Lease, Pool};
pub use session::{Session, Tx};

use tokio_postgres::error::SqlState;

/// What can go wrong between this process and PostgreSQL.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection could be had in time.
    #[error("no connection to PostgreSQL: {what}")]
    Unreachable {
        /// What was tried, and for how long.
        what: String,
        /// What the driver said, if it said anything.
        #[source]
        source: Option<tokio_postgres::Error>,
    },
    /// A statement took longer than it may.
    #[error("PostgreSQL did not answer a statement within {seconds} s")]
    Hung {
        /// How long it was waited for.
        seconds: u64,
    },
    /// PostgreSQL, or the way to it, failed a statement.
    #[error("PostgreSQL failed a statement: {}", described(.0))]
    Database(#[from] tokio_postgres::Error),
    /// The connection settings cannot be used.
    #[error("[postgres] {key}: expected {expected}, found {found}")]
    Settings {
        /// Which key.
        key: &'static str,
        /// What would have been valid.
        expected: &'static str,
        /// What stood there, or what was wrong with it. Never the URL itself: it holds a password.
        found: String,
    },
    /// The schema was migrated by a newer binary.
    #[error(
        "schema {schema} is at migration {found}, and this binary knows up to {known}: start the newer binary, \
         or restore the backup taken before its migration"
    )]
    Newer {
        /// Which schema.
        schema: String,
        /// Its newest migration.
        found: i32,
        /// The newest one this binary has.
        known: i32,
    },
    /// The schema has not been migrated to what this binary needs.
    #[error("schema {schema} is at migration {found}, expected {known}: run `simple-im migrate` first")]
    Older {
        /// Which schema.
        schema: String,
        /// Its newest migration; 0: none.
        found: i32,
        /// The newest one this binary has.
        known: i32,
    },
    /// A row holds what this binary cannot read.
    #[error("a row of {table}: expected {expected}, found {found}")]
    Row {
        /// Which table, and which column.
        table: &'static str,
        /// What would have been valid.
        expected: String,
        /// What stood there.
        found: String,
    },
}

impl StoreError {
    /// Whether the same may succeed later: the connection was lost, or PostgreSQL was busy, not the statement wrong.
    pub fn retry(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Hung { .. } => true,
            Self::Database(error) => match error.code() {
                Some(code) => passing(code),
                None => true,
            },
            Self::Settings { .. } | Self::Newer { .. } | Self::Older { .. } | Self::Row { .. } => false,
        }
    }

    /// Whether another transaction was in the way, and this one was rolled back for it.
    pub fn met_another(&self) -> bool {
        let Self::Database(error) = self else { return false };
        let met = [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE];
        error.code().is_some_and(|code| met.contains(code))
    }
}

/// Runs a transaction again when another one was in its way; up to four times. A macro, as a closure's future would have
/// to borrow what it captures.
macro_rules! again {
    ($work:block) => {{
        let mut left = 3u32;
        loop {
            let done: Result<_, StoreError> = async { $work }.await;
            match done {
                Err(error) if left > 0 && error.met_another() => left -= 1,
                done => break done,
            }
        }
    }};
}
pub(crate) use again;

/// States of PostgreSQL that pass: connection trouble (08), resources (53), shutdown (57P), conflicts between
/// transactions (40), a lock not had (55P03), a statement cancelled by its time-out (57014).
fn passing(code: &SqlState) -> bool {
    let code = code.code();
    ["08", "53", "57P", "40", "58"].iter().any(|class| code.starts_with(class))
        || ["55P03", "57014", "25P02", "25P03"].contains(&code)
}

/// The driver's own text is only "db error" where the server answered.
fn described(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} ({})", db.message(), db.code().code()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}
