//! Some edges and workers as real processes, with a schema, a key prefix and a subject prefix of their own.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicI64, AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
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
        match Self::try_start(edges, workers, &options).await {
            Ok(system) => system,
            Err(error) => panic!("the system does not start: {error:#}"),
        }
    }

    async fn try_start(edges: usize, workers: usize, options: &Options) -> anyhow::Result<Self> {
        let servers = servers::shared().await?;
        let name = own_name();
        let stores = Stores::open(&servers, &name, LANES).await?;
        let dir = process::log_dir(&servers.run, &name)?;
        let mut system = Self {
            edges: Vec::new(),
            workers: Vec::new(),
            stores,
            // What the broker's client says of a broker that it cannot reach.
            allowed: if options.cuttable { vec!["async_nats::connector".to_owned()] } else { Vec::new() },
            accepted_before: 0.0,
            edge_killed: false,
            proxies: Vec::new(),
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
        let mut stores = vec![(Store::Nats, "nats.url", &servers.nats)];
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

    /// Drains an edge and starts it again, on other ports.
    pub async fn restart_edge(&mut self, edge: usize) {
        self.remember_accepted(edge).await;
        self.edges[edge].stop().await;
        self.start_edge(edge).await;
    }

    /// The same under traffic: what it accepts until its end is in no count.
    pub async fn roll_edge(&mut self, edge: usize) {
        self.edge_killed = true;
        self.edges[edge].stop().await;
        self.start_edge(edge).await;
    }

    /// Kills an edge and leaves it dead.
    pub async fn kill_edge(&mut self, edge: usize) {
        self.edge_killed = true;
        self.edges[edge].kill().await;
    }

    /// Drains an edge and leaves it stopped.
    pub async fn stop_edge(&mut self, edge: usize) {
        self.remember_accepted(edge).await;
        self.edges[edge].stop().await;
    }

    /// Starts an edge that was killed or stopped.
    pub async fn start_edge(&mut self, edge: usize) {
        let process = &mut self.edges[edge];
        process.launch().expect("the edge can be started again");
        process.listening().await;
        process.ready().await;
    }

    /// Drains a worker and starts it again.
    pub async fn restart_worker(&mut self, worker: usize) {
        self.workers[worker].stop().await;
        self.start_worker(worker).await;
    }

    /// Kills a worker and leaves it dead.
    pub async fn kill_worker(&mut self, worker: usize) {
        self.workers[worker].kill().await;
    }

    /// Starts a worker that was killed.
    pub async fn start_worker(&mut self, worker: usize) {
        let process = &mut self.workers[worker];
        process.launch().expect("the worker can be started again");
        process.listening().await;
        process.ready().await;
    }

    /// Stops every process and starts every process.
    pub async fn restart_all(&mut self) {
        self.stop_all().await;
        self.start_all().await;
    }

    /// Stops every edge.
    pub async fn stop_edges(&mut self) {
        for edge in 0..self.edges.len() {
            self.stop_edge(edge).await;
        }
    }

    /// Stops every process.
    pub async fn stop_all(&mut self) {
        for edge in 0..self.edges.len() {
            self.remember_accepted(edge).await;
        }
        for process in self.edges.iter_mut().chain(&mut self.workers) {
            process.stop().await;
        }
    }

    /// Starts every process.
    pub async fn start_all(&mut self) {
        self.launch_all().await.expect("every process can be started again");
    }

    /// Gives every process another number of lanes at its next start.
    pub fn configure_lanes(&mut self, lanes: u16) {
        let (key, value) = setting("nats.lanes", lanes);
        for process in self.edges.iter_mut().chain(&mut self.workers) {
            process.set(&key, Some(value.clone()));
        }
        self.stores.lanes = lanes;
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
