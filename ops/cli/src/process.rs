//! Processes that are not our children: which one a pid means, whether it lives, ending it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

/// How often a process that should end is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One process of all that ever ran since the machine's start: pids are used again, start times are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub started: u64,
}

impl Identity {
    /// The process that has this pid now; with no start time if it is gone already.
    pub fn of(pid: u32) -> Self {
        Self { pid, started: start_and_state(pid).map_or(0, |(started, _)| started) }
    }

    /// Whether it still runs. One that has ended and waits to be collected does not.
    pub fn lives(self) -> bool {
        start_and_state(self.pid).is_some_and(|(started, state)| started == self.started && state != 'Z')
    }

    /// Signals it if it lives; waking it first if it is stopped, for a stopped process handles no signal.
    pub fn signal(self, signal: Signal) -> Result<()> {
        if self.lives() {
            send(self.pid, signal)?;
        }
        Ok(())
    }

    /// Waits for its end; whether it came in time.
    pub async fn ends_within(self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.lives() {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(LOOK_EVERY).await;
        }
        true
    }
}

/// Sends a signal to this pid, and SIGCONT in case it is stopped. That it is gone is no error.
pub fn send(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(pid.cast_signed());
    for signal in [signal, Signal::SIGCONT] {
        match kill(pid, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("sending {signal} to {pid}")),
        }
    }
    Ok(())
}

/// Names this boot of the machine.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

fn start_and_state(pid: u32) -> Option<(u64, char)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name stands in parentheses and may hold anything: fields count from after it.
    let mut fields = stat.rsplit_once(") ")?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((fields.nth(18)?.parse().ok()?, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pid_with_another_start_is_another_process() {
        let mut child = tokio::process::Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        let identity = Identity::of(child.id().unwrap());
        assert!(identity.lives());
        let other = Identity { started: identity.started + 1, ..identity };
        assert!(!other.lives());
        other.signal(Signal::SIGKILL).unwrap();
        assert!(identity.lives(), "another process was killed");

        send(identity.pid, Signal::SIGSTOP).unwrap();
        identity.signal(Signal::SIGTERM).unwrap();
        assert!(identity.ends_within(Duration::from_secs(5)).await);
        child.wait().await.unwrap();
    }
}
