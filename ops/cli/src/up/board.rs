//! What runs, in what state, in memory and in `stack.toml`.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::watch;
use tokio::time::timeout;

use super::log::last_lines;
use super::say::Say;
use super::spec::Spec;
use crate::process::Identity;
use crate::record::{Process, Stack};

/// A process that has ended this often without ever having been ready will not become so by itself.
const HOPELESS: u32 = 3;

/// The state of everything supervised.
#[derive(Debug)]
pub struct Board {
    data: PathBuf,
    say: Say,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    stack: Stack,
    /// One for each name that was ever started.
    progress: Vec<Progress>,
    /// The file is behind: it could not be written.
    behind: bool,
}

#[derive(Debug)]
struct Progress {
    name: String,
    log: PathBuf,
    ready: bool,
    was_ready: bool,
    failures: u32,
    ended: String,
}

impl Board {
    /// With nothing running, which is written down at once.
    pub fn new(data: PathBuf, say: Say) -> Self {
        let state = State { stack: Stack::of_this_process(), progress: Vec::new(), behind: false };
        let board = Self { data, say, state: Mutex::new(state), changed: watch::Sender::new(()) };
        if let Err(error) = Stack::reserve(&board.data) {
            board.say.line(format!("{error:#}"));
        }
        board.write(&mut board.lock());
        board
    }

    /// A process has started: its pid is in the file when this returns, before anyone can find it ready.
    pub fn started(&self, spec: &Spec, identity: Identity) {
        let mut state = self.lock();
        let process = Process {
            name: spec.name.clone(),
            kind: spec.kind,
            identity,
            log: spec.log.clone(),
            addresses: spec.addresses.clone(),
        };
        match state.stack.process.iter_mut().find(|it| it.name == spec.name) {
            Some(known) => *known = process,
            None => {
                state.stack.process.push(process);
                state.stack.process.sort_by_key(|it| (it.kind, it.name.len(), it.name.clone()));
            }
        }
        if !state.progress.iter().any(|it| it.name == spec.name) {
            let (name, log) = (spec.name.clone(), spec.log.clone());
            let (ready, was_ready, failures, ended) = (false, false, 0, String::new());
            state.progress.push(Progress { name, log, ready, was_ready, failures, ended });
        }
        self.write(&mut state);
    }

    /// Whether someone keeps it from being started: `DIR/hold/NAME` is there.
    pub fn is_held(&self, name: &str) -> bool {
        self.data.join("hold").join(name).exists()
    }

    /// It answers that it is ready.
    pub fn ready(&self, name: &str) {
        self.change(name, |it| {
            it.ready = true;
            it.was_ready = true;
        });
    }

    /// It has ended by itself.
    pub fn ended(&self, name: &str, how: &str) {
        self.change(name, |it| {
            it.ready = false;
            it.failures += u32::from(!it.was_ready);
            how.clone_into(&mut it.ended);
        });
    }

    /// It was stopped, and is no part of the stack any more.
    pub fn stopped(&self, name: &str) {
        let mut state = self.lock();
        state.stack.process.retain(|it| it.name != name);
        state.progress.retain(|it| it.name != name);
        self.write(&mut state);
    }

    /// Waits until all of these are ready; an error says which is not, and why.
    pub async fn all_ready(&self, names: &[String], limit: Duration) -> Result<()> {
        let mut changed = self.changed.subscribe();
        let all = async {
            loop {
                if self.check(names)? {
                    return Ok(());
                }
                // The sender lives in `self`: this cannot fail while we are here.
                drop(changed.changed().await);
            }
        };
        match timeout(limit, all).await {
            Ok(done) => done,
            Err(_) => bail!("not ready within {limit:?}: {}", self.waiting_for(names)),
        }
    }

    /// Writes the file if it is behind.
    pub fn catch_up(&self) {
        let mut state = self.lock();
        if state.behind {
            self.write(&mut state);
        }
    }

    fn check(&self, names: &[String]) -> Result<bool> {
        let state = self.lock();
        let of = |name: &String| state.progress.iter().find(|it| it.name == *name);
        if let Some(it) = names.iter().filter_map(of).find(|it| !it.was_ready && it.failures >= HOPELESS) {
            let (name, ended, tail) = (&it.name, &it.ended, last_lines(&it.log, 8));
            bail!("{name} does not start ({ended}). The end of {}:\n{tail}", it.log.display());
        }
        Ok(names.iter().all(|name| of(name).is_some_and(|it| it.ready)))
    }

    fn waiting_for(&self, names: &[String]) -> String {
        let state = self.lock();
        let is_ready = |name: &String| state.progress.iter().any(|it| it.name == *name && it.ready);
        let late: Vec<String> = names
            .iter()
            .filter(|name| !is_ready(name))
            .map(|name| match state.progress.iter().find(|it| it.name == *name) {
                Some(it) => format!("{name}, which says:\n{}", last_lines(&it.log, 4)),
                None => name.clone(),
            })
            .collect();
        late.join("\n")
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Progress)) {
        if let Some(progress) = self.lock().progress.iter_mut().find(|it| it.name == name) {
            change(progress);
        }
        self.changed.send_replace(());
    }

    fn write(&self, state: &mut State) {
        match state.stack.write(&self.data) {
            Ok(()) => state.behind = false,
            Err(error) => {
                if !state.behind {
                    self.say.line(format!("stack.toml is behind until it can be written: {error:#}"));
                }
                state.behind = true;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
