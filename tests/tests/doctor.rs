//! `simple-im doctor` on real servers: a stack as it should be, one that is deliberately wrong, a proxy that pools
//! transactions, and one that cannot be reached.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use simple_im::stack::{
    ports,
    servers::{Nats, Postgres, Redis, Running},
};
use tests::{
    harness::{SOON, eventually, process::Process, servers::binary},
    private::{self, Data, run, simple_im},
};
use tokio::process::{Child, Command};

/// What a private stack on one machine cannot have, and need not.
const PRIVATE: [&str; 4] = ["nats.replicas", "nats.sync_interval", "nats.tls", "postgres.standby"];

/// The report of `doctor --json`, which ends with the exit code that it names.
async fn report(arguments: &[&str]) -> Value {
    let output = run(&[&["doctor", "--json"], arguments].concat()).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let report: Value = serde_json::from_str(&said)
        .unwrap_or_else(|error| panic!("{error}: {said}{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(output.status.code().map(i64::from), report["exit"].as_i64(), "{said}");
    report
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Severity and what was found, by key and subject.
fn findings(report: &Value) -> BTreeMap<(&str, &str), (&str, &str)> {
    let findings = report["findings"].as_array().expect("a list").iter();
    findings
        .map(|it| ((text(&it["key"]), text(&it["subject"])), (text(&it["severity"]), text(&it["found"]))))
        .collect()
}

/// Keys of what is not as it should be, with their severities. The kernel's are the machine's, which is not on trial.
fn troubles(report: &Value) -> BTreeSet<(&str, &str)> {
    findings(report)
        .into_iter()
        .filter(|((key, _), (severity, _))| *severity != "ok" && !key.starts_with("kernel."))
        .map(|((key, _), (severity, _))| (key, severity))
        .collect()
}

#[tokio::test]
async fn a_private_stack_is_worth_notes_alone() {
    let own = Data::new(2, 2);
    let data = private::text(own.path());
    simple_im(&["up", "--detach", "--data", data, "--edges", "2", "--workers", "2"]).await;

    let report = report(&["--stack", data]).await;
    let text = run(&["doctor", "--all", "--stack", data]).await;
    simple_im(&["down", "--data", data]).await;

    assert_eq!(troubles(&report), PRIVATE.map(|key| (key, "note")).into(), "{report:#}");
    let found = findings(&report);
    for (key, subject) in [
        ("postgres.fsync", "postgres"),
        ("postgres.proxy", "postgres"),
        ("nats.storage", "IM_IN"),
        ("redis.maxmemory_policy", "redis"),
        ("settings.same", "all"),
        ("process.unseen", "all"),
        ("process.ready", "e2"),
        ("clock.skew", "nats"),
        ("clock.skew", "w1"),
        ("secrets.password", "postgres.url"),
        ("secrets.file", Path::new(data).join("stack.toml").to_str().unwrap()),
    ] {
        assert_eq!(found.get(&(key, subject)).map(|it| it.0), Some("ok"), "{key} of {subject}: {report:#}");
    }
    assert!(found.contains_key(&("kernel.nofile", "e1")) && found.contains_key(&("kernel.nofile", "redis")));
    let kernel = found.iter().filter(|((key, _), _)| key.starts_with("kernel."));
    let expected = kernel
        .map(|(_, (severity, _))| ["ok", "note", "warning", "danger"].iter().position(|it| it == severity));
    let expected = expected.max().flatten().unwrap().saturating_sub(1);
    assert_eq!(report["exit"].as_u64(), Some(expected as u64));
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("ok       postgres.fsync (postgres): on\n"), "{text}");
    assert!(text.contains("note     postgres.standby (postgres): found no synchronous one"), "{text}");
    // Neither the database's password nor any other secret.
    let password = fs::read_to_string(Path::new(data).join("postgres/password")).unwrap();
    assert!(!text.contains(password.trim()) && !report.to_string().contains(password.trim()));
}

/// Stores and processes of a test's own.
struct Wrong {
    _dir: tempfile::TempDir,
    nats: Running,
    postgres: Running,
    redis: Running,
    _processes: Vec<Process>,
    metrics: Vec<String>,
}

impl Wrong {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("postgres")).unwrap();
        // A password that `prepare` finds is the one it takes.
        fs::write(at("postgres/password"), "example-only").unwrap();
        let postgres = Postgres::prepare(&at("postgres"), ports::free().unwrap()).await.unwrap();
        let over = "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\nmax_connections = 14\n";
        fs::write(at("postgres/data/postgresql.auto.conf"), over).unwrap();
        let nats = Nats::prepare(&at("nats"), ports::free().unwrap()).unwrap();
        let redis = Redis::prepare(&at("redis"), ports::free().unwrap()).unwrap();
        let logs = ["nats.log", "postgres.log", "redis.log"].map(at);
        let [nats_log, postgres_log, redis_log] = &logs;
        let starting = (nats.start(nats_log), postgres.start(postgres_log), redis.start(redis_log));
        let (nats, postgres, redis) = tokio::try_join!(starting.0, starting.1, starting.2).unwrap();
        let mut link =
            redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let policy = ["SET", "maxmemory-policy", "allkeys-lru"];
        let () = redis::cmd("CONFIG").arg(&policy).query_async(&mut link).await.unwrap();

        let mut processes = Vec::new();
        for (name, own) in [
            ("w1", [("WORKER__CHUNK_FRAMES", "500"), ("NATS__LANES", "8")]),
            ("w2", [("WORKER__CHUNK_FRAMES", "1000"), ("NATS__LANES", "8")]),
            ("e1", [("NODE__LEASE_MS", "5000"), ("NATS__LANES", "4")]),
        ] {
            let (kind, prefix) = if name == "e1" { ("edge", "EDGE") } else { ("worker", "WORKER") };
            let ready = dir.path().join(format!("{name}.ready.toml"));
            let mut settings = vec![
                (format!("IM_{prefix}__NAME"), name.to_owned()),
                (format!("IM_{prefix}__METRICS"), "127.0.0.1:0".to_owned()),
                (format!("IM_{prefix}__PUBLISHED_ON"), "127.0.0.1".to_owned()),
                (format!("IM_{prefix}__READY_FILE"), ready.display().to_string()),
                ("IM_NATS__URL".to_owned(), nats.url()),
            ];
            let more = match kind {
                "edge" => {
                    [("IM_EDGE__LISTEN", "0.0.0.0:0".to_owned()), ("IM_EDGE__HTTP", "127.0.0.1:0".to_owned())]
                }
                _ => [("IM_POSTGRES__URL", postgres.url()), ("IM_REDIS__URL", redis.url())],
            };
            settings.extend(more.map(|(key, value)| (key.to_owned(), value)));
            settings.extend(own.map(|(key, value)| (format!("IM_{key}"), value.to_owned())));
            let mut process = Process::new(name, binary(kind).unwrap(), dir.path(), settings);
            process.launch().unwrap();
            processes.push(process);
        }
        for process in &mut processes {
            process.listening().await;
        }
        let metrics = processes.iter().map(|it| it.addresses().metrics.clone()).collect();
        Self { _dir: dir, nats, postgres, redis, _processes: processes, metrics }
    }

    fn arguments(&self) -> Vec<String> {
        let stores =
            [("nats", self.nats.url()), ("postgres", self.postgres.url()), ("redis", self.redis.url())];
        let stores = stores.into_iter().flat_map(|(name, url)| [format!("--{name}"), url]);
        stores.chain(self.metrics.iter().flat_map(|url| ["--process".to_owned(), url.clone()])).collect()
    }
}

#[tokio::test]
async fn everything_that_is_wrong_is_found() {
    let wrong = Wrong::start().await;
    let arguments = wrong.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let report = report(&arguments).await;
    assert_eq!(report["exit"], 2, "{report:#}");
    let found = findings(&report);
    for (key, subject, severity, what) in [
        ("postgres.fsync", "postgres", "danger", "off"),
        ("postgres.full_page_writes", "postgres", "danger", "off"),
        ("postgres.synchronous_commit", "postgres", "danger", "off"),
        ("postgres.max_connections", "postgres", "danger", "14, of which 3 are reserved"),
        ("redis.maxmemory_policy", "redis", "danger", "allkeys-lru"),
        ("secrets.password", "postgres.url", "danger", "an example (this command, w1, w2)"),
        ("settings.vital", "nats.lanes", "danger", "4 (e1) and 8 (w1, w2)"),
        ("settings.differ", "worker.chunk_frames", "warning", "1000 (w2) and 500 (w1)"),
        ("edge.lease", "e1", "danger", "5000 ms"),
        ("edge.advertise", "e1", "warning", "0.0.0.0:0"),
        ("process.edges", "all", "note", "1"),
    ] {
        let Some((how, shown)) = found.get(&(key, subject)) else {
            panic!("no finding {key} of {subject}: {report:#}")
        };
        assert!(*how == severity && shown.contains(what), "{key} of {subject}: {how}, {shown}");
    }
    assert!(!report.to_string().contains("example-only"), "a password is told");
    for finding in report["findings"].as_array().unwrap() {
        for part in ["why", "remedy", "expected"] {
            assert!(!finding[part].as_str().unwrap().is_empty(), "{finding:#}");
        }
    }
    let text = run(&[&["doctor"], &arguments[..]].concat()).await;
    assert_eq!(text.status.code(), Some(2));
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.starts_with("DANGER   edge.lease (e1): found 5000 ms; expected below the workers' 3000 ms"),
        "{text}"
    );
    assert!(text.contains("remedy: fsync = on"), "{text}");

    // One of them gone: what is left is judged all the same, and the report says that it is not whole.
    let Wrong { redis, .. } = wrong;
    redis.stop().await.unwrap();
    let blind = self::report(&arguments).await;
    assert_eq!((blind["exit"].as_i64(), blind["counts"]["unreachable"].as_i64()), (Some(3), Some(1)));
    assert!(findings(&blind).contains_key(&("redis.unreachable", "redis")));
    assert!(findings(&blind).contains_key(&("postgres.fsync", "postgres")));
}

/// A proxy in front of PostgreSQL, in some way of pooling.
async fn bouncer(dir: &Path, url: &str, more: &str) -> (Child, String) {
    let port = ports::free().unwrap();
    let rest = url.strip_prefix("postgres://im:").unwrap();
    let (password, address) = rest.split_once('@').unwrap();
    let server = address.trim_start_matches("127.0.0.1:").trim_end_matches("/im");
    let settings = format!(
        "[databases]\nim = host=127.0.0.1 port={server} dbname=im user=im password={password}\n[pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n{more}\n"
    );
    let file = dir.join(format!("bouncer-{port}.ini"));
    fs::write(&file, settings).unwrap();
    let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"];
    let program = program.map(PathBuf::from).into_iter().find(|it| it.is_file());
    let mut command = Command::new(program.expect("pgbouncer, which ops/install installs"));
    if nix::unistd::geteuid().is_root() {
        // It refuses to be root, too.
        let user = nix::unistd::User::from_name("postgres").unwrap().expect("the user postgres");
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        std::os::unix::fs::chown(&file, Some(user.uid.as_raw()), None).unwrap();
    }
    let log = fs::File::create(dir.join(format!("bouncer-{port}.log"))).unwrap();
    let child =
        command.arg("-q").arg(&file).stdin(Stdio::null()).stderr(log).kill_on_drop(true).spawn().unwrap();
    eventually(SOON, async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    (child, format!("postgres://im:{password}@127.0.0.1:{port}/im"))
}

#[tokio::test]
async fn a_proxy_that_pools_transactions_is_found_and_one_that_pools_sessions_is_not() {
    let servers = tests::harness::servers::shared().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    // Its user has to get at its file.
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for (more, severity, said) in [
        ("pool_mode = session\nignore_startup_parameters = options", "ok", "one session"),
        (
            "pool_mode = transaction\nignore_startup_parameters = options",
            "danger",
            "lost its process, lock, setting",
        ),
        (
            "pool_mode = transaction\nignore_startup_parameters = options\ndefault_pool_size = 1",
            "danger",
            "waits for",
        ),
        ("pool_mode = transaction", "danger", "unsupported startup parameter"),
    ] {
        let (_bouncer, url) = bouncer(dir.path(), &servers.postgres, more).await;
        let report = report(&["--nats", &servers.nats, "--postgres", &url, "--redis", &servers.redis]).await;
        let (how, found) = findings(&report)[&("postgres.proxy", "postgres")];
        assert!(how == severity && found.contains(said), "{more}: {how}, {found}");
    }
}

#[tokio::test]
async fn nobody_there_is_a_finding_and_a_bad_configuration_is_none() {
    let closed = ports::free().unwrap();
    let url = |scheme: &str| format!("{scheme}://127.0.0.1:{closed}");
    let (nats, postgres, redis) = (url("nats"), url("postgres"), url("redis"));
    let address = format!("127.0.0.1:{closed}");
    let report =
        report(&["--nats", &nats, "--postgres", &postgres, "--redis", &redis, "--process", &address]).await;
    assert_eq!(report["exit"], 3);
    let expected: BTreeSet<(&str, &str)> =
        ["nats.unreachable", "postgres.unreachable", "process.unreachable", "redis.unreachable"]
            .map(|key| (key, "warning"))
            .into();
    assert!(expected.is_subset(&troubles(&report)), "{report:#}");
    assert_eq!(run(&["doctor", "--stack", "/nowhere"]).await.status.code(), Some(3));
    assert_eq!(run(&["doctor", "--set", "postgres.pool=0"]).await.status.code(), Some(64));
}
