//! The way to PostgreSQL: whether a session is the same one from statement to statement, and keeps its lock.
//!
//! A proxy that pools transactions gives a session's next transaction to any of its own sessions; with a single client
//! that may well be the same one each time. So a second session is made to hold whatever the first has just let go.

use std::hash::{BuildHasher, RandomState};

use anyhow::{Context, Result};
use tokio::time::timeout;
use tokio_postgres::Client;
use workers::config;
use workers::store::connect_one;

use super::gather::{number, rows};
use crate::doctor::finding::{Check, Finding, Severity};
use crate::doctor::place::PATIENCE;

/// What trying has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Road {
    /// Two sessions, each with a process of its own.
    Tried {
        /// The server's processes that the first session has met, one a statement.
        pids: Vec<i64>,
        /// It still has the lock that it took.
        lock_kept: bool,
        /// It still has the setting that it made.
        setting_kept: bool,
    },
    /// The first session had to wait for the second one's transaction.
    Stuck,
    /// A proxy said so itself.
    Refused(String),
}

impl Road {
    /// As a finding of this check.
    pub(super) fn judged(&self, check: Check) -> Finding {
        let (good, found) = match self {
            Self::Refused(said) => (false, format!("a proxy that refuses workers' sessions: {said}")),
            Self::Stuck => (false, "a session that waits for another one's transaction".to_owned()),
            Self::Tried { pids, lock_kept, setting_kept } => {
                let same = pids.windows(2).all(|two| two[0] == two[1]);
                let lost = [(!same, "process"), (!lock_kept, "lock"), (!setting_kept, "setting")];
                let lost: Vec<&str> = lost.iter().filter(|(lost, _)| *lost).map(|(_, what)| *what).collect();
                match lost.is_empty() {
                    true => (true, "one session, which keeps its lock".to_owned()),
                    false => {
                        (false, format!("a session that lost its {} between statements", lost.join(", ")))
                    }
                }
            }
        };
        check.judged(good, Severity::Danger, "postgres", found)
    }
}

/// Tries it, with a lock and a setting that nobody else uses.
///
/// # Errors
/// When a session cannot be made, or a statement fails.
pub async fn tried(postgres: &config::Postgres) -> Result<Road> {
    let (first, _driven) = connect_one(postgres).await?;
    let (second, _also_driven) = connect_one(postgres).await?;
    let key = RandomState::new().hash_one(std::process::id()).cast_signed();
    let before = pid(&first).await?;
    first.simple_query(&format!("SET simple_im.doctor = '{key}'")).await?;
    first.simple_query(&format!("SELECT pg_try_advisory_lock({key})")).await?;
    // The most recently used session is what a proxy hands out next.
    second.simple_query("BEGIN").await?;
    pid(&second).await?;
    let held = format!(
        "SELECT pg_backend_pid() AS pid, coalesce(current_setting('simple_im.doctor', true), '') = '{key}' AS kept,
           (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
              AND pid = pg_backend_pid() AND ((classid::int8 << 32) | objid::int8) = {key}) AS locks"
    );
    let looked = timeout(PATIENCE, rows(&first, &held)).await;
    // The lock may lie on either by now, and a proxy would keep it for whoever comes next.
    let unlock = format!("SELECT pg_advisory_unlock({key})");
    second.simple_query(&unlock).await?;
    second.simple_query("COMMIT").await?;
    let Ok(looked) = looked else { return Ok(Road::Stuck) };
    let looked = looked?;
    let row = looked.first().context("expected a row of this session, found none")?;
    let after = number(row, "pid").context("expected the session's process, found none")?;
    let road = Road::Tried {
        pids: vec![before, after],
        lock_kept: number(row, "locks") == Some(1),
        setting_kept: row.get("kept").map(String::as_str) == Some("t"),
    };
    first.simple_query(&unlock).await?;
    Ok(road)
}

async fn pid(client: &Client) -> Result<i64> {
    let rows = rows(client, "SELECT pg_backend_pid() AS pid").await?;
    rows.first().and_then(|row| number(row, "pid")).context("expected the session's process, found none")
}
