//! The three servers of a run: found or started by the first test that needs them.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::eventually;

/// The environment variable by which everything a run starts is known.
pub const RUN: &str = "IM_TEST_RUN";

/// Where the servers of this run are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Servers {
    /// `nats://…`
    pub nats: String,
    /// `postgres://…`, with its password; the owner of its database.
    pub postgres: String,
    /// `redis://…`
    pub redis: String,
    /// The run, for [`RUN`].
    pub run: String,
    /// The three processes.
    pub pids: Vec<u32>,
}

/// The servers of this run.
///
/// # Errors
/// When they could not be started: the log of `test-servers` is part of the error.
pub async fn shared() -> anyhow::Result<Servers> {
    let (run, watched) = runner();
    let dir = tmp()?.join(format!("run-{run}"));
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    // By this the test itself ends when its runner was killed.
    fs::create_dir_all(dir.join("tests"))?;
    File::create(dir.join("tests").join(std::process::id().to_string()))?;
    let lock = File::create(dir.join("lock"))?;
    // Not a blocking lock: under `cargo test` the holder may be another task of this very thread.
    eventually(Duration::from_secs(90), || async {
        lock.try_lock().map_err(|e| format!("the servers' lock: {e}"))
    })
    .await;
    let addresses = dir.join("servers.toml");
    if !addresses.exists() {
        start(&dir, &run, watched).await?;
    }
    Ok(toml::from_str(&fs::read_to_string(&addresses)?)?)
}

async fn start(dir: &Path, run: &str, watched: u32) -> anyhow::Result<()> {
    let log = dir.join("test-servers.log");
    let mut child = Command::new(binary("test-servers")?)
        .arg(run)
        .arg(dir)
        .arg(watched.to_string())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(File::create(&log)?)
        .stderr(File::options().append(true).open(&log)?)
        .spawn()?;
    let said = || fs::read_to_string(&log).unwrap_or_default();
    loop {
        if dir.join("servers.toml").exists() {
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            bail!("test-servers ended with {status}:\n{}", said());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What this run is called, and the process with which it ends.
fn runner() -> (String, u32) {
    let parent = std::os::unix::process::parent_id();
    let name = fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    // A test binary started by hand has a shell as its parent, which may live on for days.
    let watched = if name.starts_with("cargo") { parent } else { std::process::id() };
    (std::env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| watched.to_string()), watched)
}

/// The directory of this build (`target/debug`), in whose `deps` the running test stands.
pub fn build_dir() -> anyhow::Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let dir = exe.parent().context("an executable has a directory")?;
    Ok(if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir }.to_owned())
}

/// `target/tmp`, for data and logs.
pub fn tmp() -> anyhow::Result<PathBuf> {
    Ok(build_dir()?.parent().context("target/debug has a parent")?.join("tmp"))
}

/// One of the workspace's binaries.
///
/// # Errors
/// When it has not been built.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let path = build_dir()?.join(name);
    if !path.exists() {
        bail!(
            "expected the binary {}, found nothing there: run `cargo build --workspace --bins` first",
            path.display()
        );
    }
    Ok(path)
}
