//! A person at a shell: the `simple-im` commands that chat, with a home of its own.

use std::{path::PathBuf, process::Stdio};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::{
    harness::{SOON, System, servers},
    people::User,
};

/// A home with a session file, and the system's addresses in the environment.
#[derive(Debug)]
pub struct Shell {
    home: TempDir,
    server: String,
    phone: String,
    ca: Option<PathBuf>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it said beside that.
    pub err: String,
}

impl Ended {
    /// What it printed.
    ///
    /// # Panics
    /// When it ended with another code.
    pub fn with(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self.out
    }

    /// What it said beside that.
    ///
    /// # Panics
    /// When it ended with another code.
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self.err
    }
}

/// A command that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Shell {
    /// One where `user` is not logged in yet. It reaches every edge's HTTP, beginning with this one.
    pub fn of(system: &System, user: &User, edge: usize) -> Self {
        let edges = (0..system.edges.len()).map(|at| system.http((edge + at) % system.edges.len()));
        Self {
            home: TempDir::new().expect("a temporary folder"),
            server: edges.collect::<Vec<_>>().join(","),
            phone: user.phone.clone(),
            ca: None,
        }
    }

    /// One where nobody is logged in, at these addresses, with this phone number and perhaps an authority to believe.
    ///
    /// # Panics
    /// When there is no place for its home.
    pub fn at(server: &str, phone: &str, ca: Option<PathBuf>) -> Self {
        let home = TempDir::new().expect("a temporary folder");
        Self { home, server: server.to_owned(), phone: phone.to_owned(), ca }
    }

    /// The same home and phone number, with somebody else to believe, or nobody in particular.
    pub fn believe(&mut self, ca: Option<PathBuf>) {
        self.ca = ca;
    }

    /// One where `user` is logged in.
    pub async fn logged_in(system: &System, user: &User, edge: usize) -> Self {
        let shell = Self::of(system, user, edge);
        shell.run(&["login"], &format!("{}\n", user.password)).await.with(0);
        shell
    }

    /// Where the session file is.
    pub fn session(&self) -> PathBuf {
        self.home.path().join(".config/simple-im/session.toml")
    }

    /// The environment of its commands.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let ca = self.ca.as_ref().map(|ca| ("SIMPLE_IM_CA", ca.display().to_string()));
        let rest = [
            ("HOME", self.home.path().display().to_string()),
            ("SIMPLE_IM_SERVER", self.server.clone()),
            ("SIMPLE_IM_PHONE", self.phone.clone()),
            ("TZ", "UTC".to_owned()),
        ];
        rest.into_iter().chain(ca).collect()
    }

    /// A command that is still to be run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(servers::binary("simple-im").expect("the command is built"));
        command
            .args(arguments)
            .env_clear()
            .envs(self.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end, with this on its stdin.
    pub async fn run(&self, arguments: &[&str], input: &str) -> Ended {
        self.run_command(self.command(arguments), input).await
    }

    /// The same with a command that was changed.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn run_command(&self, mut command: Command, input: &str) -> Ended {
        let mut child = command.spawn().expect("the command starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        // A command that does not read its stdin may be gone by now.
        stdin.write_all(input.as_bytes()).await.ok();
        drop(stdin);
        let output =
            timeout(SOON * 2, child.wait_with_output()).await.expect("it ends").expect("it is awaited");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Starts a command whose lines are read one by one; its stderr is the test's own.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Running { child, lines }
    }
}

impl Running {
    /// Its next line.
    ///
    /// # Panics
    /// When none comes.
    pub async fn line(&mut self) -> String {
        let line = timeout(SOON * 2, self.lines.next_line()).await.expect("a line comes");
        line.expect("it can be read").expect("a line before the end")
    }

    /// Its next line, as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub async fn json(&mut self) -> serde_json::Value {
        let line = self.line().await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Asks it to end, and gives the lines it had not shown and its exit code.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn stop(self) -> (Vec<String>, Option<i32>) {
        let pid = self.child.id().expect("it runs");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGTERM)
            .expect("a child can be signalled");
        self.ended().await
    }

    /// The lines up to its end, and its exit code.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn ended(mut self) -> (Vec<String>, Option<i32>) {
        let rest = async {
            let mut rest = Vec::new();
            while let Ok(Some(line)) = self.lines.next_line().await {
                rest.push(line);
            }
            (rest, self.child.wait().await.expect("it is awaited").code())
        };
        timeout(SOON * 2, rest).await.expect("it ends")
    }
}
