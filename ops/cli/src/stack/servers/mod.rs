//! NATS, PostgreSQL and Redis as private servers on the loopback address.
//!
//! [`Store`] is a server that is ready to be started: its folder, port and program are known and its
//! configuration is written. [`Running`] is one that was started here and ends with its handle, which is what
//! tests want; the supervisor takes [`Store::command`], [`Store::spawn`] and [`Store::answers`] and keeps the process itself.

mod nats;
mod postgres;
mod redis;
mod slack;

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shared::subject::permissions::Role;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

pub use self::nats::Nats;
pub use self::postgres::Postgres;
pub use self::redis::Redis;

/// How long a server has to answer after its start. PostgreSQL may have a crash's log to replay.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long one question to a server may take.
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// How often a starting server is asked.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// How long a server has to end by itself in [`Running::stop`].
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A way to a server that is not secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// With a user, without a password.
    pub url: String,
    /// The file that holds the password, if there is one.
    pub password_file: Option<PathBuf>,
}

/// A server that is ready to be started.
#[derive(Clone, Debug)]
pub enum Store {
    /// NATS with JetStream.
    Nats(Nats),
    /// PostgreSQL.
    Postgres(Postgres),
    /// Redis, as memory only.
    Redis(Redis),
}

impl Store {
    /// `nats`, `postgres` or `redis`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nats(_) => "nats",
            Self::Postgres(_) => "postgres",
            Self::Redis(_) => "redis",
        }
    }

    /// What a client connects to, with its password if it has one.
    pub fn url(&self) -> String {
        match self {
            Self::Nats(store) => store.url(),
            Self::Postgres(store) => store.url(),
            Self::Redis(store) => store.url(),
        }
    }

    /// What a part of the system connects to, as itself, and where its password is.
    pub fn access(&self, role: Role<'_>) -> Access {
        match self {
            Self::Nats(store) => store.access(role),
            Self::Postgres(store) => store.access(),
            Self::Redis(store) => store.access(),
        }
    }

    /// The command that runs it in the foreground; standard output and error are the caller's to set.
    pub fn command(&self) -> Result<Command> {
        match self {
            Self::Nats(store) => Ok(store.command()),
            Self::Postgres(store) => store.command(),
            Self::Redis(store) => Ok(store.command()),
        }
    }

    /// Starts its command, which may have been added to.
    ///
    /// # Errors
    /// Those of [`Command::spawn`].
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        match self {
            Self::Nats(_) => slack::spawn(command, nats::TIMER_SLACK),
            Self::Postgres(_) | Self::Redis(_) => command.spawn(),
        }
    }

    /// One question to the server: an error says why it does not answer yet.
    pub async fn answers(&self) -> Result<()> {
        let asked = async {
            match self {
                Self::Nats(store) => store.answers().await,
                Self::Postgres(store) => store.answers().await,
                Self::Redis(store) => store.answers().await,
            }
        };
        timeout(ASK_LIMIT, asked).await.unwrap_or_else(|_| bail!("no answer within {ASK_LIMIT:?}"))
    }

    /// The signal on which it ends soon and in order.
    pub fn stop_signal(&self) -> Signal {
        match self {
            // "Fast": ends its sessions; SIGTERM would wait for the last client to leave.
            Self::Postgres(_) => Signal::SIGINT,
            Self::Nats(_) | Self::Redis(_) => Signal::SIGTERM,
        }
    }

    /// Starts it with its output appended to `log` and waits until it answers.
    pub async fn start(self, log: &Path) -> Result<Running> {
        let output = OpenOptions::new().create(true).append(true).open(log);
        let output = output.with_context(|| format!("opening {}", log.display()))?;
        if let Self::Postgres(store) = &self {
            store.last_one_has_ended().await?;
        }
        let mut command = self.command()?;
        command.stdout(Stdio::from(output.try_clone()?)).stderr(Stdio::from(output)).kill_on_drop(true);
        let child = self.spawn(&mut command).with_context(|| format!("starting {}", self.kind()))?;
        let mut running = Running { store: self, child };
        running.wait_until_it_answers(log).await?;
        Ok(running)
    }
}

/// A server started here. Dropping it kills the process; [`Running::stop`] ends it in order.
#[derive(Debug)]
pub struct Running {
    store: Store,
    child: Child,
}

impl Running {
    /// What a client connects to.
    pub fn url(&self) -> String {
        self.store.url()
    }

    /// The store that runs, to start it again after [`Running::stop`] or a kill.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The process id; `None` once it has ended and that was noticed.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it in order, and by force if that takes more than 20 seconds.
    pub async fn stop(mut self) -> Result<ExitStatus> {
        if let Some(pid) = self.child.id() {
            kill(Pid::from_raw(pid.cast_signed()), self.store.stop_signal())?;
        }
        if let Ok(status) = timeout(STOP_LIMIT, self.child.wait()).await {
            return Ok(status?);
        }
        self.kill().await
    }

    /// Kills it (SIGKILL), as a test of a crash does, and waits for its end.
    pub async fn kill(mut self) -> Result<ExitStatus> {
        self.child.start_kill()?;
        Ok(self.child.wait().await?)
    }

    async fn wait_until_it_answers(&mut self, log: &Path) -> Result<()> {
        let (kind, deadline) = (self.store.kind(), Instant::now() + START_LIMIT);
        loop {
            let Err(reason) = self.store.answers().await else { return Ok(()) };
            if let Some(status) = self.child.try_wait()? {
                bail!("{kind} ended while starting ({status}); see {}", log.display());
            }
            if Instant::now() > deadline {
                return Err(reason).with_context(|| format!("{kind} gave no answer in {START_LIMIT:?}"));
            }
            sleep(ASK_EVERY).await;
        }
    }
}
