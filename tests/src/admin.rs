//! `simple-im admin` on a system under test.

use std::process::Stdio;

use tokio::{io::AsyncWriteExt, process::Command};

use crate::harness::{System, servers};

/// How a command went.
#[derive(Debug)]
pub struct Ran {
    /// Whether its exit code was 0.
    pub ok: bool,
    /// What it printed.
    pub out: String,
    /// What it said beside that: its log, and why it failed.
    pub err: String,
}

impl Ran {
    /// What it printed.
    ///
    /// # Panics
    /// When it failed.
    pub fn done(self) -> String {
        assert!(self.ok, "expected success, found:\n{}\n{}", self.out, self.err);
        self.out
    }

    /// Why it failed.
    ///
    /// # Panics
    /// When it did not.
    pub fn failed(self) -> String {
        assert!(!self.ok, "expected a failure, found:\n{}\n{}", self.out, self.err);
        self.err
    }
}

impl System {
    /// Runs an operator's command to its end, with a worker's settings.
    pub async fn admin(&self, arguments: &[&str]) -> Ran {
        self.admin_with(arguments, "").await
    }

    /// The same with this on its stdin.
    ///
    /// # Panics
    /// When it cannot be run.
    pub async fn admin_with(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = Command::new(servers::binary("simple-im").expect("the command is built"))
            .arg("admin")
            .args(arguments)
            .envs(self.workers[0].settings().iter().map(|(key, value)| (key, value)))
            .envs(self.as_admin())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the command can be run");
        let mut stdin = child.stdin.take().expect("it is a pipe");
        // One that has ended without reading is no fault here.
        stdin.write_all(input.as_bytes()).await.ok();
        drop(stdin);
        let output = child.wait_with_output().await.expect("a child can be awaited");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The audit's newest row: action, target, result.
    pub async fn last_audited(&self) -> (String, String, String) {
        let query = "SELECT action, target, coalesce(result, '(none)') FROM audit ORDER BY id DESC LIMIT 1";
        let row = &self.stores.rows(query, &[]).await[0];
        (row.get(0), row.get(1), row.get(2))
    }
}
