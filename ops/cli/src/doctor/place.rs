//! Where to look: a stack's folder, or the addresses that were given, laid over the workers' own configuration.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use shared::config::Args;

use crate::record::{FILE, Kind, Stack};

/// How long one question may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What `simple-im doctor` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The data folder of a stack that runs on this machine: its stack.toml says where everything is.
    #[arg(long, value_name = "DIR")]
    pub stack: Option<PathBuf>,
    /// NATS, in place of nats.url. A password is better put into the environment: IM_NATS__URL.
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
    /// PostgreSQL, in place of postgres.url (IM_POSTGRES__URL).
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,
    /// Redis, in place of redis.url (IM_REDIS__URL).
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// The metrics address of an edge or a worker, host:port; may be repeated.
    #[arg(long = "process", value_name = "URL")]
    pub processes: Vec<String>,
    /// The monitoring address of NATS, http://host:8222: some of its settings are seen only there.
    #[arg(long, value_name = "URL")]
    pub nats_monitor: Option<String>,
    /// One JSON object in place of text.
    #[arg(long)]
    pub json: bool,
    /// What is as it should be, too.
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "its own options say what they are")]
    pub config: Args,
}

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Place {
    /// The workers' configuration with the stores' addresses in it.
    pub config: Args,
    /// Names and metrics addresses of edges and workers.
    pub processes: Vec<(String, String)>,
    /// Names and pids of the stores' processes on this machine.
    pub stores: Vec<(String, u32)>,
    /// Files that hold passwords.
    pub files: Vec<PathBuf>,
}

impl Place {
    /// Reads the stack's record, if one is meant.
    ///
    /// # Errors
    /// When there is none, or nothing runs.
    pub fn of(options: &Options) -> Result<Self> {
        let config = options.config.clone();
        let mut place = Self { config, processes: Vec::new(), stores: Vec::new(), files: Vec::new() };
        if let Some(data) = &options.stack {
            place.add(data)?;
        }
        let given =
            [("nats.url", &options.nats), ("postgres.url", &options.postgres), ("redis.url", &options.redis)];
        for (key, url) in given {
            place.config.set.extend(url.iter().map(|url| format!("{key}={url}")));
        }
        place.processes.extend(options.processes.iter().map(|url| (url.clone(), url.clone())));
        place.files.extend(place.config.config.clone());
        Ok(place)
    }

    fn add(&mut self, data: &Path) -> Result<()> {
        let stack = Stack::read(data)?.with_context(|| format!("no {FILE} in {}", data.display()))?;
        let gone = format!("expected a running stack on {}, found it ended", data.display());
        ensure!(stack.is_of_this_boot() && !stack.process.is_empty(), gone);
        self.files.push(data.join(FILE));
        let own = data.join("worker.toml");
        if self.config.config.is_none() && own.is_file() {
            self.config.config = Some(own);
        }
        for process in stack.process {
            let key = match process.kind {
                Kind::Edge | Kind::Worker => {
                    let metrics = process.addresses.metrics.unwrap_or_default();
                    self.processes.push((process.name, metrics));
                    continue;
                }
                Kind::Nats => "nats.url",
                Kind::Postgres => "postgres.url",
                Kind::Redis => "redis.url",
            };
            // Before what the command line says: that is laid over it.
            let url = process.addresses.url.unwrap_or_default();
            self.config.set.insert(0, format!("{key}={url}"));
            self.stores.push((process.name, process.identity.pid));
        }
        Ok(())
    }
}

/// Whether a store's URL leads to another machine, as far as its host's name says.
pub fn is_remote(url: &str) -> bool {
    let rest = match url.split_once("://") {
        Some(("unix", _)) => return false,
        Some((_, rest)) => rest,
        None => url,
    };
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    !(host.is_empty() || host == "localhost" || host == "::1" || host.starts_with("127."))
}

/// This machine's clock, microseconds since 1970.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_names() {
        for url in [
            "nats://127.0.0.1:4222",
            "postgres://im:p@ss@localhost/im",
            "redis://[::1]:6379/2",
            "unix:///run/redis.sock",
            "postgres:///im",
        ] {
            assert!(!is_remote(url), "{url}");
        }
        for url in ["nats://nats:4222", "postgres://im:x@10.0.0.7/im", "redis://[2001:db8::1]:6379"] {
            assert!(is_remote(url), "{url}");
        }
    }

    #[test]
    fn the_command_line_lies_over_the_stack() {
        let dir = tempfile::tempdir().unwrap();
        let mut stack = Stack::of_this_process();
        let process = |name: &str, kind, metrics: Option<&str>, url: Option<&str>| crate::record::Process {
            name: name.to_owned(),
            kind,
            identity: crate::process::Identity { pid: 7, started: 9 },
            log: PathBuf::new(),
            addresses: crate::record::Addresses {
                metrics: metrics.map(str::to_owned),
                url: url.map(str::to_owned),
                ..Default::default()
            },
        };
        stack.process = vec![
            process("nats", Kind::Nats, None, Some("nats://127.0.0.1:1")),
            process("e1", Kind::Edge, Some("127.0.0.1:2"), None),
        ];
        stack.write(dir.path()).unwrap();
        let options = Options {
            stack: Some(dir.path().to_owned()),
            nats: Some("nats://127.0.0.1:3".to_owned()),
            postgres: None,
            redis: None,
            processes: vec!["127.0.0.1:4".to_owned()],
            nats_monitor: None,
            json: false,
            all: false,
            config: Args::default(),
        };
        let place = Place::of(&options).unwrap();
        assert_eq!(place.config.set, ["nats.url=nats://127.0.0.1:1", "nats.url=nats://127.0.0.1:3"]);
        let names: Vec<&str> = place.processes.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["e1", "127.0.0.1:4"]);
        assert_eq!(place.stores, [("nats".to_owned(), 7)]);
        let elsewhere = Options { stack: Some(dir.path().join("no")), ..options };
        assert!(Place::of(&elsewhere).is_err());
    }
}
