//! The connections of an operator's command, the audit around it, and what it prints.

use std::{cell::RefCell, fs, io::Write, time::Duration};

use anyhow::{Context, Result};
use nix::unistd::{User, getuid};
use serde_json::Value;
use shared::{
    nats::Door,
    subject::Subjects,
    telemetry::{self, LogConfig},
};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use workers::{
    config::WorkerConfig,
    directory::Directory,
    store::{
        self, Pool,
        admin::audit::{self, Who},
    },
};

use super::table::Table;

/// How long the broker, and Redis, may take to be there.
const CONNECT: Duration = Duration::from_secs(5);

/// What every command works with.
#[derive(Debug)]
pub struct Desk {
    /// A worker's configuration.
    pub config: WorkerConfig,
    /// PostgreSQL.
    pub pool: Pool,
    /// Names on the broker.
    pub subjects: Subjects,
    who: Who,
    /// For programs: rows are gathered, and stand in one object with what came of the command.
    json: bool,
    rows: RefCell<Vec<Value>>,
    nats: OnceCell<async_nats::Client>,
    redis: OnceCell<Option<Directory>>,
    ended: CancellationToken,
}

impl Desk {
    /// Looks whether the schema is the one that this program knows. Broker and Redis are connected when first needed.
    pub async fn open(config: WorkerConfig, said: Option<String>, json: bool) -> Result<Self> {
        let log = LogConfig { filter: "warn,audit=info".to_owned(), format: config.log.format };
        telemetry::init_log(&log)?;
        store::check(&config.postgres).await?;
        Ok(Self {
            pool: Pool::new(&config.postgres)?,
            subjects: Subjects::new(&config.nats.prefix),
            config,
            who: Who { os_user: os_user(), host: host(), said },
            json,
            rows: RefCell::default(),
            nats: OnceCell::new(),
            redis: OnceCell::new(),
            ended: CancellationToken::new(),
        })
    }

    /// The broker.
    pub async fn nats(&self) -> Result<&async_nats::Client> {
        let connect =
            || async { Door::new(&self.config.nats.way)?.connect("simple-im admin", CONNECT).await };
        self.nats.get_or_try_init(connect).await.context("[nats] url")
    }

    /// Redis, if it answers.
    pub async fn redis(&self) -> Result<Option<&Directory>> {
        let connect = || async {
            let directory = Directory::new(&self.config).context("[redis] url")?;
            let there = directory.attach(CONNECT / 2, &self.ended).await;
            anyhow::Ok(there.then_some(directory))
        };
        Ok(self.redis.get_or_try_init(connect).await?.as_ref())
    }

    /// Does `work` with a line in the audit, which is there before anything is done. What it gives back, on one line and
    /// without secrets, is said and stands in the audit as the result.
    ///
    /// # Errors
    /// The work's; or that the audit cannot be written, and then nothing was done.
    pub async fn audited(
        &self,
        action: &str,
        target: &str,
        work: impl Future<Output = Result<String>>,
    ) -> Result<()> {
        let id = audit::begin(&self.pool, &self.who, action, target).await.context("the audit")?;
        let done = work.await;
        let result = match &done {
            Ok(said) => format!("ok: {said}"),
            Err(error) => format!("failed: {error:#}"),
        };
        let (os_user, host) = (&self.who.os_user, &self.who.host);
        let said = self.who.said.as_deref().unwrap_or_default();
        tracing::info!(target: "audit", id, os_user, host, r#as = said, action, on = target, result, "admin");
        // What was done is done; that its result could not be noted is to be known.
        audit::end(&self.pool, id, &result).await.context("the audit's result")?;
        if self.json {
            let (ok, rows) = (done.is_ok(), self.rows.take());
            let result = match &done {
                Ok(said) => said.clone(),
                Err(error) => format!("{error:#}"),
            };
            let object = serde_json::json!({
                "command": action, "on": target, "audit": id, "ok": ok, "result": result, "rows": rows,
            });
            writeln!(std::io::stdout(), "{object:#}")?;
        }
        let said = done?;
        if !self.json {
            writeln!(std::io::stdout(), "{said}")?;
        }
        Ok(())
    }

    /// Shows rows, or keeps them for the object.
    pub fn show<const N: usize>(&self, table: &Table<N>) -> Result<()> {
        self.tell(|| table.text(), || table.values())
    }

    /// Shows `text`, or keeps `rows` for the object.
    pub fn tell(&self, text: impl FnOnce() -> String, rows: impl FnOnce() -> Vec<Value>) -> Result<()> {
        if self.json {
            self.rows.borrow_mut().extend(rows());
            return Ok(());
        }
        Ok(std::io::stdout().write_all(text().as_bytes())?)
    }

    /// The rows alone, where a command has no line of its own in the audit.
    pub fn print_rows(&self) -> Result<()> {
        if self.json {
            writeln!(std::io::stdout(), "{:#}", serde_json::json!({ "rows": self.rows.take() }))?;
        }
        Ok(())
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

/// As the operating system knows who runs this.
fn os_user() -> String {
    let uid = getuid();
    User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid {uid}"), |user| user.name)
}

fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| String::new(), |name| name.trim().to_owned())
}
