//! `DIR/stack.toml`: what runs where, for people, tests and `simple-im down`.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde::{Deserialize, Serialize};
use shared::client::http::Api;
use shared::config::Args;
use shared::tls::Trust;

use crate::process::{Identity, boot_id};

/// The file's name in the data folder.
pub const FILE: &str = "stack.toml";

/// The file whose blocks are used on a full disk, and how many bytes of them there are.
const SPARE: &str = "stack.toml.spare";
const SPARE_BYTES: usize = 16 << 10;

const HEADER: &str = "# What runs here. Kept by `simple-im up`: rewritten whole at every change, never edited.\n\
                      # `started` is the process's start in clock ticks since boot: with the pid it names one process.\n";

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The broker.
    Nats,
    /// The database.
    Postgres,
    /// The fast memory.
    Redis,
    /// Holds client connections.
    Edge,
    /// Does the work.
    Worker,
}

/// Where a process is reached; what it does not have stays away from the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// An edge's client port, `host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// An edge's HTTP API, `host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// An edge's port for simple_im's original clients, `host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compat: Option<String>,
    /// Their HTTP API, `host:port`: a login there names `compat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compat_http: Option<String>,
    /// What clients of the two and of `http` trust, a PEM file; where it is missing they speak without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Metrics, `/livez` and `/readyz` of an edge or worker, `host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// What a store's client connects to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl Addresses {
    /// The URL of an edge's HTTP API, if it has one.
    pub fn base(&self) -> Option<String> {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        Some(format!("{scheme}://{}", self.http.as_ref()?))
    }

    /// An edge's HTTP API as clients speak to it.
    ///
    /// # Errors
    /// There is none, or what its clients trust cannot be read.
    pub fn api(&self) -> Result<Api> {
        let base = self.base().context("expected an edge's HTTP address, found none")?;
        Ok(match &self.ca {
            Some(ca) => Api::of(base, &Trust::Roots(ca.clone()))?,
            None => Api::new(base),
        })
    }
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// `nats`, `postgres`, `redis`, `e1`, `w1`, …
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Which process, of all that ever ran on this machine since it started.
    #[serde(flatten)]
    pub identity: Identity,
    /// Where its output goes.
    pub log: PathBuf,
    /// Where it is reached.
    #[serde(flatten)]
    pub addresses: Addresses,
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// The supervisor's pid.
    pub supervisor: u32,
    /// The machine's boot: after another one no pid here means anything.
    pub boot: String,
    /// What runs.
    #[serde(default)]
    pub process: Vec<Process>,
}

impl Stack {
    /// This supervisor's, with nothing running yet.
    pub fn of_this_process() -> Self {
        Self { supervisor: std::process::id(), boot: boot_id(), process: Vec::new() }
    }

    /// The file of this data folder, if there is one.
    pub fn read(data: &Path) -> Result<Option<Self>> {
        let path = data.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map(Some).with_context(|| format!("{}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{}", path.display())),
        }
    }

    /// A worker's configuration with the addresses and passwords of this folder's stores laid over it, for a tool; without
    /// a folder as it is.
    ///
    /// # Errors
    /// When no stack runs there.
    pub fn over(mut config: Args, data: Option<&Path>) -> Result<Args> {
        let Some(data) = data else { return Ok(config) };
        let stack = Self::read(data)?.with_context(|| format!("no stack runs on {}", data.display()))?;
        let own = data.join("worker.toml");
        if config.config.is_none() && own.is_file() {
            config.config = Some(own);
        }
        for (key, kind) in
            [("nats.url", Kind::Nats), ("postgres.url", Kind::Postgres), ("redis.url", Kind::Redis)]
        {
            let process = stack.process.iter().find(|process| process.kind == kind);
            let url = process.and_then(|process| process.addresses.url.as_deref());
            let url = url.with_context(|| format!("the stack on {} has no {kind:?}", data.display()))?;
            config.set.push(format!("{key}={url}"));
        }
        Ok(config)
    }

    /// Writes it whole, then renames it into place. It holds the stores' passwords: for its owner alone.
    ///
    /// On a full disk it goes into a spare file's blocks, which [`Self::reserve`] has set aside, and the two change
    /// names: a process that is started again then must stand in the file as at any other time.
    pub fn write(&self, data: &Path) -> Result<()> {
        let text = format!("{HEADER}{}", toml::to_string(self)?);
        let path = data.join(FILE);
        match replace(&path, &text) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                let spare = data.join(SPARE);
                overwrite(&spare, &text)
                    .and_then(|()| {
                        Ok(renameat2(AT_FDCWD, &spare, AT_FDCWD, &path, RenameFlags::RENAME_EXCHANGE)?)
                    })
                    .context("writing stack.toml into its spare blocks")
            }
            written => written.context("writing stack.toml"),
        }
    }

    /// Sets aside room for writing the file on a full disk.
    pub fn reserve(data: &Path) -> Result<()> {
        overwrite(&data.join(SPARE), &"\n".repeat(SPARE_BYTES)).context("reserving room for stack.toml")
    }

    /// Whether it is of this boot of the machine.
    pub fn is_of_this_boot(&self) -> bool {
        self.boot == boot_id()
    }
}

/// Replaces a file as a whole, readable by its owner alone.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let partial = path.with_extension("toml.new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(text.as_bytes())?;
    fs::rename(partial, path)
}

/// Writes over a file's blocks from its beginning, keeping those beyond for a longer text.
fn overwrite(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    let length = file.metadata()?.len();
    // What is left of a longer text before is blanked, not cut: a cut would give its blocks away.
    let rest = usize::try_from(length).unwrap_or(0).saturating_sub(text.len());
    file.write_all("\n".repeat(rest).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_has_its_addresses_and_no_url() {
        let dir = tempfile::tempdir().unwrap();
        let mut stack = Stack::of_this_process();
        stack.process.push(Process {
            name: "e1".to_owned(),
            kind: Kind::Edge,
            identity: Identity { pid: 7, started: 9 },
            log: PathBuf::from("/data/log/e1.log"),
            addresses: Addresses { tcp: Some("127.0.0.1:1987".to_owned()), ..Addresses::default() },
        });
        stack.write(dir.path()).unwrap();
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        let expected = "[[process]]\nname = \"e1\"\nkind = \"edge\"\npid = 7\nstarted = 9\n\
                        log = \"/data/log/e1.log\"\ntcp = \"127.0.0.1:1987\"\n";
        assert!(text.ends_with(expected), "{text}");
        assert_eq!(Stack::read(dir.path()).unwrap(), Some(stack));
    }
}
