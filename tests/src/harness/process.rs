//! One edge or worker as a child process: its settings, its log, the addresses it says it has.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::Deserialize;
use tokio::process::{Child, Command};

use super::{eventually, servers};

/// What a process writes to its `ready_file` once it listens.
#[derive(Debug, Clone, Deserialize)]
pub struct Addresses {
    /// Where clients connect; an edge's.
    #[serde(default)]
    pub tcp: String,
    /// Where the HTTP API is; an edge's.
    #[serde(default)]
    pub http: String,
    /// Where simple_im's original clients connect; an edge's that serves them.
    #[serde(default)]
    pub compat: String,
    /// Where their HTTP API is.
    #[serde(default)]
    pub compat_http: String,
    /// Where metrics and health are.
    pub metrics: String,
    /// The process itself.
    pub pid: u32,
}

/// An edge or worker that can be stopped and started again under the same settings.
#[derive(Debug)]
pub struct Process {
    /// `e1`, `w2`.
    pub name: String,
    binary: PathBuf,
    settings: Vec<(String, String)>,
    /// Settings that this binary does not know.
    unknown: Vec<String>,
    ready: PathBuf,
    log: PathBuf,
    child: Option<Child>,
    addresses: Option<Addresses>,
}

impl Process {
    /// Not yet started. `settings` are environment variables; `dir` takes its log and its ready file.
    pub fn new(name: &str, binary: PathBuf, dir: &Path, settings: Vec<(String, String)>) -> Self {
        let file = |suffix: &str| dir.join(format!("{name}.{suffix}"));
        let (ready, log) = (file("ready.toml"), file("log"));
        Self {
            name: name.to_owned(),
            binary,
            settings,
            unknown: Vec::new(),
            ready,
            log,
            child: None,
            addresses: None,
        }
    }

    /// From its next start on it is this binary, of another release perhaps: what that does not know it is not told.
    ///
    /// # Errors
    /// The binary cannot be run.
    pub async fn becomes(&mut self, binary: PathBuf) -> anyhow::Result<()> {
        let settings = self.settings.iter().map(|(key, value)| (key, value));
        let asked = Command::new(&binary).envs(settings).arg("--check-config").output().await?;
        let said =
            String::from_utf8_lossy(&asked.stderr).into_owned() + &String::from_utf8_lossy(&asked.stdout);
        let unknown = |key: &&String| !asked.status.success() && said.contains(key.as_str());
        self.unknown = self.settings.iter().map(|(key, _)| key).filter(unknown).cloned().collect();
        self.binary = binary;
        Ok(())
    }

    /// Gives it, or takes from it, an environment variable at its next start.
    pub fn set(&mut self, name: &str, value: Option<String>) {
        self.settings.retain(|(key, _)| key != name);
        self.settings.extend(value.map(|value| (name.to_owned(), value)));
    }

    /// Its environment variables.
    pub fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// Starts it, without waiting until it is ready.
    pub fn launch(&mut self) -> anyhow::Result<()> {
        fs::remove_file(&self.ready).ok();
        self.addresses = None;
        let log = fs::File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.binary)
            .envs(self.settings.iter().filter(|(key, _)| !self.unknown.contains(key)).cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until it has said where it listens.
    ///
    /// # Panics
    /// When it ends instead, or takes too long; with the end of its log.
    pub async fn listening(&mut self) {
        let end = tokio::time::Instant::now() + Duration::from_secs(20);
        let addresses = loop {
            if let Some(addresses) =
                fs::read_to_string(&self.ready).ok().and_then(|text| toml::from_str(&text).ok())
            {
                break addresses;
            }
            let child = self.child.as_mut().expect("launched before it is waited for");
            if let Some(status) = child.try_wait().expect("a child can be asked") {
                panic!("{} ended with {status} before it was ready:\n{}", self.name, self.tail());
            }
            assert!(
                tokio::time::Instant::now() < end,
                "{} is not ready after 20 s:\n{}",
                self.name,
                self.tail()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        self.addresses = Some(addresses);
    }

    /// Waits until its `/readyz` says yes.
    pub async fn ready(&self) {
        let url = format!("http://{}/readyz", self.addresses().metrics);
        eventually(Duration::from_secs(20), || async {
            let reply = get(&url).await.map_err(|e| format!("{}: {e}", self.name))?;
            let status = reply.status();
            let said = reply.text().await.unwrap_or_default();
            if status.is_success() { Ok(()) } else { Err(format!("{} says {status} {said}", self.name)) }
        })
        .await;
    }

    /// Where it listens; the last addresses it had when it has been killed.
    pub fn addresses(&self) -> &Addresses {
        self.addresses.as_ref().expect("a process is asked for its addresses after it listened")
    }

    /// Whether it has been started and not ended by the test.
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.expect("a child can be killed");
        }
    }

    /// SIGTERM, without waiting for anything.
    pub fn terminate(&self) {
        let pid = self.child.as_ref().and_then(Child::id).expect("it runs");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGTERM)
            .expect("a child can be signalled");
    }

    /// SIGTERM, and the end of its drain.
    ///
    /// # Panics
    /// When it does not end in time, or not with success.
    pub async fn stop(&mut self) {
        if self.child.is_some() {
            self.terminate();
            self.ended().await;
        }
    }

    /// The end of its drain.
    ///
    /// # Panics
    /// When it does not end in time, or not with success.
    pub async fn ended(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        match tokio::time::timeout(Duration::from_secs(15), child.wait()).await {
            Ok(status) => {
                let status = status.expect("a child can be awaited");
                assert!(status.success(), "{} ended with {status}:\n{}", self.name, self.tail());
            }
            Err(_) => panic!("{} has not ended 15 s after SIGTERM:\n{}", self.name, self.tail()),
        }
    }

    /// Waits until it has ended by itself, as it should.
    ///
    /// # Panics
    /// When it does not end in time, or not with success.
    pub async fn ends(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let ended = tokio::time::timeout(Duration::from_secs(20), child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("{} goes on:\n{}", self.name, self.tail()));
        let status = status.expect("a child can be awaited");
        assert!(status.success(), "{} ended with {status}:\n{}", self.name, self.tail());
    }

    /// SIGHUP.
    pub fn hangup(&self) {
        self.signal(nix::sys::signal::Signal::SIGHUP);
    }

    /// SIGSTOP, or SIGCONT: a process that hangs, or goes on.
    pub fn freeze(&self, frozen: bool) {
        self.signal(if frozen {
            nix::sys::signal::Signal::SIGSTOP
        } else {
            nix::sys::signal::Signal::SIGCONT
        });
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = self.child.as_ref().and_then(Child::id).expect("it runs");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal)
            .expect("a child can be signalled");
    }

    /// Whether the process itself has ended, without having been asked to.
    pub fn has_died(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Everything it has logged, over all its starts.
    pub fn logged(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        let log = self.logged();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// The sum over a metric's series, or one series written with its labels, at this moment; 0 where it has none.
    pub async fn metric(&self, name: &str) -> f64 {
        let url = format!("http://{}/metrics", self.addresses().metrics);
        let text = match get(&url).await {
            Ok(reply) => reply.text().await.unwrap_or_default(),
            Err(error) => panic!("{} does not show its metrics: {error}\n{}", self.name, self.tail()),
        };
        text.lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

/// The directory for one test's logs; gone with the run.
pub fn log_dir(run: &str, test: &str) -> anyhow::Result<PathBuf> {
    let dir = servers::tmp()?.join(format!("run-{run}")).join(test);
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

async fn get(url: &str) -> reqwest::Result<reqwest::Response> {
    shared::client::http::builder(None).build()?.get(url).send().await
}
