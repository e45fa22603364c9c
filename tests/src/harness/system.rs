//! Some edges and workers as real processes, with a schema, a key prefix and a subject prefix of their own.

mod lives;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicI64, AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use shared::subject::permissions::Role;
use simple_im::stack::servers::Access;

use super::{
    broker::Broker,
    checks,
    process::{self, Addresses, Process},
    proxy::{Proxy, Store, Way},
    servers::{self, Servers},
    stores::Stores,
};

/// What a test wants to be different.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `section.key`, value: for every edge.
    pub edge: Vec<(&'static str, String)>,
    /// `section.key`, value: for every worker.
    pub worker: Vec<(&'static str, String)>,
    /// Every process reaches its stores by ways that [`System::way`] can cut.
    pub cuttable: bool,
    /// The edges are this binary, of another release.
    pub edge_binary: Option<PathBuf>,
    /// The workers are this binary, of another release.
    pub worker_binary: Option<PathBuf>,
}

/// A running system. [`System::finish`] at the end of the test checks that nothing is pending; a system dropped
/// without it is just killed.
#[derive(Debug)]
pub struct System {
    /// `e1`, `e2`, …
    pub edges: Vec<Process>,
    /// `w1`, `w2`, …
    pub workers: Vec<Process>,
    /// What they keep.
    pub stores: Stores,
    pub(super) allowed: Vec<String>,
    pub(super) accepted_before: f64,
    pub(super) edge_killed: bool,
    proxies: Vec<Proxy>,
    /// Its own, where it is guarded.
    pub broker: Option<Broker>,
    phones: AtomicI64,
}

impl System {
    /// Starts a system with the usual settings and waits until it is ready.
    pub async fn start(edges: usize, workers: usize) -> Self {
        Self::start_with(edges, workers, Options::default()).await
    }

    /// Starts a system with settings of the test's own.
    ///
    /// # Panics
    /// When it does not come up: with the reason, and the logs of what did not.
    pub async fn start_with(edges: usize, workers: usize, options: Options) -> Self {
        let own_broker = || options.edge.iter().any(|(key, _)| *key == "nats.url");
        let guarded = std::env::var_os(GUARDED).is_some() && !own_broker();
        let servers = servers::shared().await.expect("the servers of the run");
        Self::begin(servers, guarded, edges, workers, &options).await
    }

    /// Starts a system on a broker of its own that lets each part do no more than it must. So do all systems of a run with
    /// the environment variable `IM_TEST_GUARDED`.
    pub async fn start_guarded(edges: usize, workers: usize, options: Options) -> Self {
        let servers = servers::shared().await.expect("the servers of the run");
        Self::begin(servers, true, edges, workers, &options).await
    }

    /// Starts a system on servers of the test's own.
    pub async fn start_on(servers: Servers, edges: usize, workers: usize, options: Options) -> Self {
        Self::begin(servers, false, edges, workers, &options).await
    }

    async fn begin(servers: Servers, guarded: bool, edges: usize, workers: usize, options: &Options) -> Self {
        match Self::try_start(servers, guarded, edges, workers, options).await {
            Ok(system) => system,
            Err(error) => panic!("the system does not start: {error:#}"),
        }
    }

    async fn try_start(
        mut servers: Servers,
        guarded: bool,
        edges: usize,
        workers: usize,
        options: &Options,
    ) -> anyhow::Result<Self> {
        let name = own_name();
        let dir = process::log_dir(&servers.run, &name)?;
        let broker = match guarded {
            true => Some(Broker::start(&servers.run, &name, edges, &dir).await?),
            false => None,
        };
        if let Some(broker) = &broker {
            servers.nats = broker.url();
        }
        let stores = Stores::open(&servers, &name, LANES).await?;
        let mut system = Self {
            edges: Vec::new(),
            workers: Vec::new(),
            stores,
            // What the broker's client says of a broker that it cannot reach.
            allowed: if options.cuttable { vec!["async_nats::connector".to_owned()] } else { Vec::new() },
            accepted_before: 0.0,
            edge_killed: false,
            proxies: Vec::new(),
            broker,
            phones: AtomicI64::new(13_800_000_000),
        };
        for n in 1..=edges {
            let one = format!("e{n}");
            let settings = system.settings(&servers, "edge", &one, options.cuttable, &dir).await?;
            system.edges.push(Process::new(
                &one,
                servers::binary("edge")?,
                &dir,
                with(settings, EDGE, &options.edge),
            ));
        }
        for n in 1..=workers {
            let one = format!("w{n}");
            let settings = system.settings(&servers, "worker", &one, options.cuttable, &dir).await?;
            system.workers.push(Process::new(
                &one,
                servers::binary("worker")?,
                &dir,
                with(settings, WORKER, &options.worker),
            ));
        }
        for (processes, binary) in
            [(&mut system.edges, &options.edge_binary), (&mut system.workers, &options.worker_binary)]
        {
            for (process, binary) in processes.iter_mut().zip(binary.iter().cycle()) {
                process.becomes(binary.clone()).await?;
            }
        }
        system.launch_all().await?;
        Ok(system)
    }

    /// What a process of this system is told besides the usual and the test's own.
    async fn settings(
        &mut self,
        servers: &Servers,
        kind: &str,
        process: &str,
        cuttable: bool,
        dir: &Path,
    ) -> anyhow::Result<Vec<(String, String)>> {
        let name = self.stores.name.clone();
        let mut settings = vec![
            (servers::RUN.to_owned(), servers.run.clone()),
            setting("nats.prefix", &name),
            setting("nats.lanes", LANES),
            setting(&format!("{kind}.name"), process),
            setting(&format!("{kind}.ready_file"), dir.join(format!("{process}.ready.toml")).display()),
        ];
        let mut nats = servers.nats.clone();
        if let Some(broker) = &self.broker {
            let access = broker.access(if kind == "edge" { Role::Edge(Some(process)) } else { Role::Worker });
            nats = access.url;
            settings.extend(access.password_file.map(|file| setting("nats.password_file", file.display())));
        }
        let mut stores = vec![(Store::Nats, "nats.url", &nats)];
        if kind == "worker" {
            stores.push((Store::Postgres, "postgres.url", &servers.postgres));
            stores.push((Store::Redis, "redis.url", &servers.redis));
            settings.push(setting("postgres.schema", &name));
            settings.push(setting("redis.prefix", format!("{name}:")));
        }
        for (store, key, url) in stores {
            let mut url = url.clone();
            if cuttable {
                let (proxy, through) = Proxy::open(process, store, &url).await?;
                self.proxies.push(proxy);
                url = through;
            }
            settings.push(setting(key, url));
        }
        Ok(settings)
    }

    /// What an operator's command is told beside a worker's settings: whom the broker lets do everything.
    pub fn as_admin(&self) -> Vec<(String, String)> {
        let Some(broker) = &self.broker else { return Vec::new() };
        let Access { url, password_file } = broker.access(Role::Admin);
        let file = password_file.map(|file| setting("nats.password_file", file.display()));
        file.into_iter().chain([setting("nats.url", url)]).collect()
    }

    /// Cuts, or opens again, every process's way to a store; of a system started as `cuttable`.
    pub fn way(&self, store: Store, way: Way) {
        for process in self.edges.iter().chain(&self.workers) {
            self.way_of(&process.name, store, way);
        }
    }

    /// The same for one process alone: `e1`, `w2`.
    pub fn way_of(&self, process: &str, store: Store, way: Way) {
        assert!(!self.proxies.is_empty(), "the system was not started as cuttable");
        for proxy in self.proxies.iter().filter(|proxy| proxy.process == process && proxy.store == store) {
            proxy.set(way);
        }
    }

    /// Counts frames that the test itself has given to the broker, as an edge would.
    pub fn gave_the_broker(&mut self, frames: u32) {
        self.accepted_before += f64::from(frames);
    }

    /// Takes it that so many accepted frames were in the stream, not committed, when the test wiped it.
    pub fn vanished_with_the_stream(&mut self, frames: u32) {
        self.accepted_before -= f64::from(frames);
    }

    /// Whether every count is in its place now, as [`System::finish`] asks at the end.
    pub async fn conserved(&self) {
        checks::at_rest(self).await;
        checks::conserved(self).await;
    }

    /// Where an edge takes clients.
    pub fn tcp(&self, edge: usize) -> &str {
        &self.edges[edge].addresses().tcp
    }

    /// Where an edge has its HTTP API, with the scheme.
    pub fn http(&self, edge: usize) -> String {
        format!("http://{}", self.edges[edge].addresses().http)
    }

    /// Everything an edge has said about where it is.
    pub fn edge(&self, edge: usize) -> &Addresses {
        self.edges[edge].addresses()
    }

    /// A phone number that no other user of this system has.
    pub fn new_phone(&self) -> String {
        self.phones.fetch_add(1, Ordering::Relaxed).to_string()
    }

    /// Lets log lines that contain this pass as expected, where an ERROR or WARN is what the test provokes.
    pub fn allow(&mut self, text: &str) {
        self.allowed.push(text.to_owned());
    }

    /// Ends the test: everything at rest, every count in its place, no error in a log, nothing left in a store.
    pub async fn finish(mut self) {
        checks::at_rest(&self).await;
        checks::conserved(&self).await;
        for process in self.edges.iter_mut().chain(&mut self.workers) {
            assert!(!process.has_died(), "{} has died by itself:\n{}", process.name, process.tail());
            process.stop().await;
        }
        checks::logs_clean(&self);
        self.stores.drop_all().await;
    }

    async fn launch_all(&mut self) -> anyhow::Result<()> {
        for process in self.workers.iter_mut().chain(&mut self.edges) {
            process.launch()?;
        }
        for process in self.workers.iter_mut().chain(&mut self.edges) {
            process.listening().await;
        }
        for process in self.workers.iter().chain(&self.edges) {
            process.ready().await;
        }
        Ok(())
    }

    async fn remember_accepted(&mut self, edge: usize) {
        if self.edges[edge].runs() {
            self.accepted_before += self.edges[edge].metric(checks::ACCEPTED).await;
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for process in self.workers.iter().chain(&self.edges) {
                eprintln!("──── the end of {}'s log\n{}", process.name, process.tail());
            }
        }
    }
}

/// With this environment variable every system that brings no broker of its own is guarded.
const GUARDED: &str = "IM_TEST_GUARDED";

/// Few, so that they are set up quickly and every lane sees traffic.
const LANES: u16 = 4;

const EDGE: &[(&str, &str)] = &[
    ("edge.listen", "127.0.0.1:0"),
    ("edge.http", "127.0.0.1:0"),
    ("edge.metrics", "127.0.0.1:0"),
    ("node.heartbeat_ms", "100"),
    ("node.lease_ms", "1500"),
    ("node.cursor_ms", "50"),
    ("drain.notice_ms", "50"),
    // Less than the harness waits for a process to end.
    ("drain.deadline_seconds", "10"),
    ("log.filter", "info"),
];

const WORKER: &[(&str, &str)] = &[
    ("worker.metrics", "127.0.0.1:0"),
    ("worker.balance_ms", "100"),
    ("worker.confirm_ms", "1500"),
    ("worker.node_dead_ms", "2000"),
    ("nats.stream_bytes", "67108864"),
    ("postgres.pool", "4"),
    // A moment in which the machine stands still is no outage.
    ("redis.timeout_ms", "5000"),
    // As weak as argon2 goes: the tests register hundreds of users.
    ("account.argon2_kib", "8"),
    ("account.argon2_passes", "1"),
    // Every test has the same address, and many provoke failures.
    ("account.login_failures", "100000"),
    ("log.filter", "info"),
];

fn with(
    mut settings: Vec<(String, String)>,
    usual: &[(&str, &str)],
    own: &[(&str, String)],
) -> Vec<(String, String)> {
    settings.extend(usual.iter().map(|(key, value)| setting(key, value)));
    settings.extend(own.iter().map(|(key, value)| setting(key, value)));
    settings
}

/// `section.key` as the environment variable that sets it.
fn setting(key: &str, value: impl ToString) -> (String, String) {
    (format!("IM_{}", key.replace('.', "__").to_uppercase()), value.to_string())
}

fn own_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() % 1_000_000_000;
    format!("t{}_{}_{now}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
