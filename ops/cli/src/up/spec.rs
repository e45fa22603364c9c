//! One process of the stack: how it is run, and how it says that it is ready.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Result;
use tokio::process::{Child, Command};

use crate::ready;
use crate::record::{Addresses, Kind};
use crate::stack::servers::Store;

/// A process that the supervisor keeps.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name, one of its kind: `e1`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Where its output goes.
    pub log: PathBuf,
    /// Where it is reached.
    pub addresses: Addresses,
    /// What is run.
    pub program: Program,
}

/// What is run.
#[derive(Clone, Debug)]
pub enum Program {
    /// One of the stores.
    Store(Store),
    /// One of our own binaries, configured by its environment.
    Ours {
        /// The executable.
        path: PathBuf,
        /// A configuration file, if the data folder has one for its kind.
        config: Option<PathBuf>,
        /// What the supervisor decides.
        environment: Vec<(&'static str, String)>,
    },
}

impl Spec {
    /// A store's process.
    pub fn store(store: Store, logs: &Path) -> Self {
        let kind = match &store {
            Store::Nats(_) => Kind::Nats,
            Store::Postgres(_) => Kind::Postgres,
            Store::Redis(_) => Kind::Redis,
        };
        let addresses = Addresses { url: Some(store.url()), ..Addresses::default() };
        let (name, log) = (store.kind().to_owned(), logs.join(format!("{}.log", store.kind())));
        Self { name, kind, log, addresses, program: Program::Store(store) }
    }

    /// The command, in a process group of its own: an interrupt typed at the terminal is for the supervisor, which
    /// stops its processes in order.
    pub fn command(&self) -> Result<Command> {
        let mut command = match &self.program {
            Program::Store(store) => store.command()?,
            Program::Ours { path, config, environment } => {
                let mut command = Command::new(path);
                command.args(config.iter().flat_map(|file| ["--config".as_ref(), file.as_os_str()]));
                command.envs(environment.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
                command
            }
        };
        command.process_group(0).kill_on_drop(true);
        Ok(command)
    }

    /// Starts its command, which may have been added to.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        match &self.program {
            Program::Store(store) => store.spawn(command),
            Program::Ours { .. } => command.spawn(),
        }
    }

    /// Asks once: an error says why it is not ready.
    pub async fn is_ready(&self) -> Result<()> {
        match (&self.program, &self.addresses.metrics) {
            (Program::Store(store), _) => store.answers().await,
            (Program::Ours { .. }, Some(metrics)) => ready::ask(metrics).await,
            (Program::Ours { .. }, None) => Ok(()),
        }
    }
}
