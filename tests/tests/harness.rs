//! The harness itself: the servers a run shares, and that they end with it.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use tests::harness::{
    eventually,
    servers::{self, RUN, Servers},
    stores::Stores,
};

#[tokio::test]
async fn the_servers_of_a_run_answer() {
    let servers = servers::shared().await.unwrap();
    let stores = Stores::open(&servers, "t_harness", 1).await.unwrap();
    assert_eq!(stores.number("SELECT 1::bigint", &[]).await, 1);
    let pong: String = stores.redis("PING", &[]).await;
    assert_eq!(pong, "PONG");
    assert_eq!(stores.nats.connection_state(), async_nats::connection::State::Connected);
    stores.drop_all().await;
}

/// A run of its own, whose runner is a `sleep` that is killed.
#[tokio::test]
async fn servers_and_what_a_killed_test_left_behind_end_with_the_runner() {
    let run = format!("watchdog-{}", std::process::id());
    let dir = servers::tmp().unwrap().join(format!("run-{run}"));
    fs::create_dir_all(&dir).unwrap();
    let mut runner = Command::new("sleep").arg("600").spawn().unwrap();
    // Stands for an edge whose test was killed: it carries the run's name.
    let mut orphan = Command::new("sleep").arg("600").env(RUN, &run).spawn().unwrap();
    let mut holder = Command::new(servers::binary("test-servers").unwrap())
        .arg(&run)
        .arg(&dir)
        .arg(runner.id().to_string())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let urls: Servers = eventually(Duration::from_secs(60), || async {
        let text = fs::read_to_string(dir.join("servers.toml")).map_err(|e| format!("servers.toml: {e}"))?;
        toml::from_str(&text).map_err(|e| e.to_string())
    })
    .await;

    runner.kill().unwrap();
    runner.wait().unwrap();
    let ended = eventually(Duration::from_secs(20), async || {
        holder.try_wait().ok().flatten().ok_or_else(|| "the holder still runs".to_owned())
    })
    .await;
    assert!(ended.success());
    assert!(!orphan.wait().unwrap().success(), "the orphan was killed");
    assert!(!dir.exists(), "its directory is gone");
    for url in [urls.nats, urls.postgres, urls.redis] {
        let at = url.find("127.0.0.1").unwrap();
        let address = url[at..].split('/').next().unwrap();
        assert!(std::net::TcpStream::connect(address).is_err(), "{address} is free again");
    }
}
