//! `--detach`: the supervisor as a process that holds nothing of whoever started it.
//!
//! The command starts itself again with a pipe for its output, repeats what that says until it says that all is
//! ready, and ends. The second process closes every descriptor it was not meant to have, begins a session of its
//! own, and lets go of the pipe once it is ready.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::{close, dup2_stderr, dup2_stdout, setsid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;

use super::Options;
use super::say::Say;
use crate::process::send;

/// The line that is for the command and not for people.
const READY: &str = "\u{1}ready";

/// Starts the supervisor detached and waits until all is ready, or it has ended.
pub async fn start(options: &Options, data: &Path) -> Result<ExitCode> {
    let (output, input) = std::io::pipe()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["up", "--detached", "--data"]).arg(data);
    command.args(["--edges", &options.edges.to_string(), "--workers", &options.workers.to_string()]);
    command.args(options.compat.then_some("--compat"));
    command.args(options.tls.then_some("--tls"));
    command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
    let mut child = command.spawn().context("starting the supervisor")?;
    drop(command);
    let pid = child.id();
    let repeated = spawn_blocking(move || repeat(BufReader::new(output)));
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::pin!(repeated);
    let ready = loop {
        tokio::select! {
            ready = &mut repeated => break ready??,
            _ = interrupt.recv() => send(pid, Signal::SIGTERM)?,
            _ = terminate.recv() => send(pid, Signal::SIGTERM)?,
        }
    };
    if ready {
        return Ok(ExitCode::SUCCESS);
    }
    child.wait()?;
    Ok(ExitCode::FAILURE)
}

/// Copies lines to standard output until the other side says it is ready, or closes.
fn repeat(output: impl BufRead) -> Result<bool> {
    for line in output.lines() {
        let line = line?;
        if line == READY {
            return Ok(true);
        }
        writeln!(std::io::stdout(), "{line}")?;
    }
    Ok(false)
}

/// First thing in the detached process, before it opens anything: closes what it inherited beside its standard
/// descriptors, and leaves the caller's session.
pub fn cut_loose() -> Result<()> {
    let open: Vec<i32> = fs::read_dir("/proc/self/fd")
        .context("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > 2)
        .collect();
    for descriptor in open {
        match close(descriptor) {
            // One of them was the listing itself and is closed already.
            Ok(()) | Err(Errno::EBADF) => {}
            Err(error) => return Err(error).with_context(|| format!("closing descriptor {descriptor}")),
        }
    }
    setsid().context("beginning a session")?;
    std::env::set_current_dir("/").context("/")
}

/// Tells the command that all is ready, and lets go of it.
pub fn let_go(say: &Say) -> Result<()> {
    say.only_log();
    // The command may be gone; then nobody has to be told.
    drop(writeln!(std::io::stdout(), "{READY}"));
    let null = File::options().write(true).open("/dev/null")?;
    dup2_stdout(&null)?;
    Ok(dup2_stderr(&null)?)
}
