//! `simple-im down`: ends exactly the stack of one data folder, and waits for it.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::lock::{self, Attempt, Lock};
use crate::record::{self, Stack};
use crate::stale;

/// How long the supervisor has for its ordered stop: more than the sum of its own deadlines.
const LIMIT: Duration = Duration::from_secs(120);

/// What `simple-im down` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The data folder of the stack to end.
    #[arg(long, default_value = "data", value_name = "DIR")]
    pub data: PathBuf,
}

/// Ends it. That nothing runs there is no error.
pub async fn run(options: Options) -> Result<()> {
    let data =
        options.data.canonicalize().with_context(|| format!("no data folder {}", options.data.display()))?;
    if !data.join(record::FILE).exists() {
        bail!("{} holds no stack: there is no {} in it", data.display(), record::FILE);
    }
    let mut out = std::io::stdout();
    match lock::attempt(&data)? {
        Attempt::Held(lock) => {
            let done = clean_up(&data, &lock).await?;
            let found = if done.is_empty() { "nothing runs" } else { "its supervisor was gone" };
            writeln!(out, "{}: {found}", data.display())?;
            done.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        Attempt::Taken(supervisor) => {
            supervisor.signal(Signal::SIGTERM)?;
            let lock = match lock::within(&data, LIMIT).await? {
                Some(lock) => lock,
                None => {
                    writeln!(
                        out,
                        "the supervisor (pid {}) did not end in {LIMIT:?}; killed",
                        supervisor.pid
                    )?;
                    supervisor.signal(Signal::SIGKILL)?;
                    lock::within(&data, LIMIT).await?.context("the supervisor cannot be killed")?
                }
            };
            clean_up(&data, &lock).await?.iter().try_for_each(|line| writeln!(out, "{line}"))?;
            writeln!(out, "{}: stopped", data.display())?;
        }
    }
    Ok(())
}

/// Ends what a supervisor that did not end in order has left, and writes down that nothing runs.
async fn clean_up(data: &std::path::Path, lock: &Lock) -> Result<Vec<String>> {
    let done = stale::end_left_over(data, lock).await?;
    Stack::of_this_process().write(data)?;
    Ok(done)
}
