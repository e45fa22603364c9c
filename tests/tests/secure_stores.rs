//! NATS, PostgreSQL and Redis over TLS: with an authority that is trusted everything works, with another nothing does.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
    time::Duration,
};

use shared::{config::SecretUrl, nats::Door};
use simple_im::stack::{
    ports,
    servers::{Nats, Postgres, Redis, Running},
};
use tests::{
    certificates::{Authority, Pair},
    harness::{Options, SOON, System, eventually, servers},
    talk::Talk,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use workers::{config::WorkerConfig, directory::Directory, store};

/// The three, with TLS beside what they speak otherwise: the harness looks into them without.
struct Secure {
    servers: servers::Servers,
    redis_tls: u16,
    _running: [Running; 3],
}

impl Secure {
    async fn start(dir: &Path, pair: &Pair) -> Self {
        let (log, shared) = (dir.join("servers.log"), servers::shared().await.unwrap());
        let (certificate, key) = (pair.certificate.display(), pair.key.display());
        let nats = Nats::prepare(&dir.join("nats"), ports::free().unwrap()).unwrap();
        let tls = format!(
            "tls {{\n  cert_file: \"{certificate}\"\n  key_file: \"{key}\"\n}}\nallow_non_tls: true\n"
        );
        append(&dir.join("nats/nats.conf"), &tls);
        let redis = Redis::prepare(&dir.join("redis"), ports::free().unwrap()).unwrap();
        let redis_tls = ports::free().unwrap();
        let tls = format!(
            "tls-port {redis_tls}\ntls-cert-file {certificate}\ntls-key-file {key}\n\
             tls-ca-cert-file {certificate}\ntls-auth-clients no\n"
        );
        append(&dir.join("redis/redis.conf"), &tls);
        let postgres = Postgres::prepare(&dir.join("postgres"), ports::free().unwrap()).await.unwrap();
        let data = dir.join("postgres/data");
        let owner = fs::metadata(&data).unwrap();
        for (from, name) in [(&pair.certificate, "server.crt"), (&pair.key, "server.key")] {
            let to = data.join(name);
            fs::copy(from, &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
            chown(&to, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        append(&data.join("postgresql.conf"), "ssl = on\n");
        let running = [nats.start(&log).await, postgres.start(&log).await, redis.start(&log).await];
        let running = running.map(|started| started.unwrap_or_else(|error| panic!("{error:#}")));
        let [nats, postgres, redis] = running.each_ref().map(Running::url);
        let servers = servers::Servers { nats, postgres, redis, run: shared.run, pids: Vec::new() };
        Self { servers, redis_tls, _running: running }
    }

    /// The settings of a worker that insists on TLS and trusts this authority.
    fn config(&self, authority: &Authority) -> WorkerConfig {
        let mut config = WorkerConfig::default();
        let root = || authority.root().display().to_string();
        (config.nats.way.url, config.nats.way.ca) = (SecretUrl::new(self.nats()), root());
        (config.postgres.url, config.postgres.ca) = (SecretUrl::new(self.postgres()), root());
        (config.redis.url, config.redis.ca) = (SecretUrl::new(self.redis()), root());
        config
    }

    fn nats(&self) -> String {
        self.servers.nats.replace("nats://", "tls://")
    }

    fn postgres(&self) -> String {
        format!("{}?sslmode=verify-full", self.servers.postgres)
    }

    fn redis(&self) -> String {
        let (before, _) = self.servers.redis.rsplit_once(':').unwrap();
        format!("{}:{}", before.replace("redis://", "rediss://"), self.redis_tls)
    }
}

fn append(file: &Path, text: &str) {
    fs::File::options().append(true).open(file).unwrap().write_all(text.as_bytes()).unwrap();
}

#[tokio::test]
async fn every_store_is_reached_over_tls_by_those_who_trust_it() {
    let dir = tempfile::tempdir().unwrap();
    // PostgreSQL's user looks into no folder that is this user's alone; it is handed its own.
    let authority = Authority::new(dir.path(), "authority");
    let secure = Secure::start(dir.path(), &authority.sign("store", 2049)).await;
    let root = authority.root().display().to_string();
    let options = Options {
        edge: vec![("nats.url", secure.nats()), ("nats.ca", root.clone())],
        worker: vec![
            ("nats.url", secure.nats()),
            ("nats.ca", root.clone()),
            ("postgres.url", secure.postgres()),
            ("postgres.ca", root.clone()),
            ("redis.url", secure.redis()),
            ("redis.ca", root),
        ],
        ..Options::default()
    };
    let system = System::start_on(secure.servers.clone(), 2, 1, options).await;
    let mut talk = Talk::begin(&system).await;
    talk.round().await;
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'simple-im worker' AND ssl = $1";
    assert!(system.stores.number(encrypted, &[&true]).await > 0, "the worker's connections are encrypted");
    assert_eq!(system.stores.number(encrypted, &[&false]).await, 0, "all of them");
    drop(talk);
    system.finish().await;
}

#[tokio::test]
async fn a_store_that_shows_another_authority_s_certificate_is_not_spoken_to() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new(dir.path(), "authority"), Authority::new(dir.path(), "other"));
    let secure = Secure::start(dir.path(), &authority.sign("store", 2049)).await;
    for (trusted, works) in [(&authority, true), (&other, false)] {
        let config = secure.config(trusted);
        assert_eq!(store::connect_one(&config.postgres).await.is_ok(), works, "PostgreSQL");

        let door = Door::new(&config.nats.way).unwrap();
        let connected = timeout(SOON, door.options().connect(door.server().clone())).await.unwrap();
        assert_eq!(connected.is_ok(), works, "NATS");

        let directory = Directory::new(&config).unwrap();
        let (keeper, end) = (directory.clone(), CancellationToken::new());
        let running = tokio::spawn({
            let end = end.clone();
            async move { keeper.run(Vec::new, end).await }
        });
        let up = eventually_up(&directory);
        match works {
            true => timeout(SOON, up).await.expect("Redis"),
            false => assert!(timeout(Duration::from_secs(1), up).await.is_err(), "Redis"),
        }
        end.cancel();
        running.await.unwrap();
    }
    // A server that is known by its URL alone is believed by nobody here: the system knows no such root.
    let door = Door::of_url(&secure.nats()).unwrap();
    assert!(door.options().connect(door.server().clone()).await.is_err());
}

async fn eventually_up(directory: &Directory) {
    eventually(SOON * 2, async || if directory.is_up() { Ok(()) } else { Err("not up".to_owned()) }).await;
}
