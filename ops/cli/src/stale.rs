//! Ending what a supervisor that is gone has left running.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::lock::Lock;
use crate::record::{Kind, Process, Stack};

/// How long a left-over process has before it is killed.
const LIMIT: Duration = Duration::from_secs(15);
/// In which order: those that use the stores first.
const ORDER: [&[Kind]; 3] = [&[Kind::Edge], &[Kind::Worker], &[Kind::Nats, Kind::Postgres, Kind::Redis]];

/// Ends every process that the folder's stack.toml names and that still runs; gives what was done, a line each.
/// Only for who holds the folder's lock: with a live supervisor they would only be started again.
pub async fn end_left_over(data: &Path, _lock: &Lock) -> Result<Vec<String>> {
    let Some(stack) = Stack::read(data)?.filter(Stack::is_of_this_boot) else { return Ok(Vec::new()) };
    let mut done = Vec::new();
    for kinds in ORDER {
        let left: Vec<&Process> =
            stack.process.iter().filter(|it| kinds.contains(&it.kind) && it.identity.lives()).collect();
        for process in &left {
            process.identity.signal(stop_signal(process.kind))?;
        }
        for process in left {
            let (name, pid) = (&process.name, process.identity.pid);
            if process.identity.ends_within(LIMIT).await {
                done.push(format!("{name} (pid {pid}) was left over; ended"));
            } else {
                process.identity.signal(Signal::SIGKILL)?;
                process.identity.ends_within(LIMIT).await;
                done.push(format!("{name} (pid {pid}) was left over and did not end in {LIMIT:?}; killed"));
            }
        }
    }
    Ok(done)
}

/// The signal on which a process of this kind ends soon and in order.
pub fn stop_signal(kind: Kind) -> Signal {
    match kind {
        // "Fast": ends its sessions; SIGTERM would wait for the last client to leave.
        Kind::Postgres => Signal::SIGINT,
        _ => Signal::SIGTERM,
    }
}
