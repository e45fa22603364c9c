//! One process's life: started, watched, started again when it ends, stopped when told.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::log::Log;
use super::say::Say;
use super::spec::Spec;
use crate::process::{Identity, send};
use crate::stale::stop_signal;

/// How often a process that is not ready yet is asked.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// One that ended sooner than this after it was ready is treated as one that never was.
const LASTING: Duration = Duration::from_secs(2);
/// The pause before the second start of a process that does not last; doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// How long a process has to end in order: an edge tells its clients, a store writes what it holds. Longer than the drain of
/// an edge (`drain.deadline_seconds`) or a worker (`worker.drain_seconds`) takes.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// What keeps one process running.
#[derive(Debug)]
pub struct Keeper {
    /// The process.
    pub spec: Spec,
    /// Where its state is written.
    pub board: Arc<Board>,
    /// Where its ends are said.
    pub say: Say,
    /// When cancelled, the process is stopped.
    pub stop: CancellationToken,
}

/// How one run ended.
enum End {
    /// As told.
    Stopped,
    /// By itself.
    Alone { how: String, lasted: bool },
}

impl Keeper {
    /// Runs it until told to stop.
    pub async fn keep(self) {
        let log = Log::new(self.spec.log.clone());
        let mut pause = Duration::ZERO;
        while !self.stop.is_cancelled() {
            if self.board.is_held(&self.spec.name) {
                sleep(ASK_EVERY).await;
                continue;
            }
            let end = self.run_once(&log).await.unwrap_or_else(|error| {
                let how = format!("{error:#}");
                log.write(format!("[simple-im: {how}]\n").as_bytes());
                End::Alone { how, lasted: false }
            });
            let End::Alone { how, lasted } = end else { break };
            self.board.ended(&self.spec.name, &how);
            pause = if lasted { Duration::ZERO } else { pause };
            let when = if pause.is_zero() { "now".to_owned() } else { format!("in {pause:?}") };
            self.say.line(format!("{}: {how}; starting it again {when}", self.spec.name));
            tokio::select! {
                () = sleep(pause) => pause = (pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE),
                () = self.stop.cancelled() => {}
            }
        }
        self.board.stopped(&self.spec.name);
    }

    async fn run_once(&self, log: &Log) -> Result<End> {
        let (output, input) = std::io::pipe().context("making a pipe")?;
        let mut command = self.spec.command()?;
        command.stdout(input.try_clone()?).stderr(input);
        let child = self.spec.spawn(&mut command);
        let mut child = child.with_context(|| format!("running {:?}", command.as_std().get_program()))?;
        // The command holds the pipe's other end, which must close when the process does.
        drop(command);
        let pid = child.id().context("it ended at once")?;
        self.board.started(&self.spec, Identity::of(pid));
        log.follow(output, &self.spec.name)?;

        let mut ready_since = None;
        tokio::select! {
            status = child.wait() => return Ok(ended(status?, pid, ready_since)),
            () = self.until_ready() => ready_since = Some(Instant::now()),
            () = self.stop.cancelled() => return self.stop(child, pid).await,
        }
        self.board.ready(&self.spec.name);
        tokio::select! {
            status = child.wait() => Ok(ended(status?, pid, ready_since)),
            () = self.stop.cancelled() => self.stop(child, pid).await,
        }
    }

    async fn until_ready(&self) {
        while self.spec.is_ready().await.is_err() {
            sleep(ASK_EVERY).await;
        }
    }

    /// In order, then by force.
    async fn stop(&self, mut child: Child, pid: u32) -> Result<End> {
        let limit = STOP_LIMIT;
        send(pid, stop_signal(self.spec.kind))?;
        if timeout(limit, child.wait()).await.is_err() {
            self.say.line(format!("{} (pid {pid}) did not end within {limit:?}; killed", self.spec.name));
            send(pid, Signal::SIGKILL)?;
            child.wait().await?;
        }
        Ok(End::Stopped)
    }
}

fn ended(status: ExitStatus, pid: u32, ready_since: Option<Instant>) -> End {
    let lasted = ready_since.is_some_and(|since| since.elapsed() >= LASTING);
    End::Alone { how: format!("pid {pid} ended ({status})"), lasted }
}
