//! A private stack, as `simple-im up` starts one: a data folder with ports of its own, and the command.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use simple_im::stack::ports::Ports;
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

use crate::harness::{SOON, servers::binary};

/// A data folder that goes with the test. What runs on it has to be ended first.
#[derive(Debug)]
pub struct Data {
    dir: TempDir,
    path: PathBuf,
}

impl Data {
    /// One for at most so many edges and workers, with free ports for each.
    ///
    /// # Panics
    /// When there is no place for it.
    pub fn new(edges: u16, workers: u16) -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let path = dir.path().join("data");
        fs::create_dir(&path).expect("a new folder");
        Ports::free(&path, edges, workers).and_then(|ports| ports.keep()).expect("free ports");
        Self { dir, path }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A place beside it, for a file of the test's own.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// A path as an argument.
///
/// # Panics
/// When it is not UTF-8.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Runs `simple-im` to its end.
///
/// # Panics
/// When it does not start, or does not end in time.
pub async fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("simple-im").expect("the command is built"));
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    timeout(SOON * 16, command.output()).await.expect("it returns").expect("it starts")
}

/// Runs it to a good end; what it said.
///
/// # Panics
/// When it fails.
pub async fn simple_im(arguments: &[&str]) -> String {
    let output = run(arguments).await;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}
