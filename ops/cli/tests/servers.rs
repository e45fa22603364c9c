//! The three servers really start, answer, keep their data over a restart, and end when told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use simple_im::stack::ports;
use simple_im::stack::servers::{Nats, Postgres, Redis, Running, Store};

async fn start(store: Store, dir: &Path) -> Running {
    let log = dir.join(format!("{}.log", store.kind()));
    store
        .start(&log)
        .await
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fs::read_to_string(&log).unwrap_or_default()))
}

async fn query(url: &str, statements: &str) -> Vec<String> {
    let (client, connection) =
        tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a statement");
    let connection = tokio::spawn(connection);
    let rows = client.simple_query(statements).await.expect("a statement");
    drop(client);
    connection.await.expect("a task").expect("a connection");
    let row = |message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    rows.into_iter().filter_map(row).collect()
}

/// The folder is its owner's alone, as with `--data` in root's home: PostgreSQL's user cannot pass through it.
#[tokio::test]
async fn postgres_under_a_folder_closed_to_its_user() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let home = dir.path().join("postgres");

    let first = start(Postgres::prepare(&home, ports::free().unwrap()).await.unwrap(), dir.path()).await;
    query(&first.url(), "CREATE TABLE kept (word text); INSERT INTO kept VALUES ('still here')").await;
    let shown = query(&first.url(), "SHOW fsync; SHOW synchronous_commit; SHOW wal_compression").await;
    assert_eq!(shown, ["on", "on", "lz4"]);
    let first_url = first.url();
    assert!(first.stop().await.unwrap().success());

    let second = start(Postgres::prepare(&home, ports::free().unwrap()).await.unwrap(), dir.path()).await;
    assert_ne!(second.url(), first_url, "each start was given its own port");
    assert_eq!(query(&second.url(), "SELECT word FROM kept").await, ["still here"]);
    let store = second.store().clone();
    second.kill().await.unwrap();
    let third = start(store, dir.path()).await;
    assert_eq!(query(&third.url(), "SELECT word FROM kept").await, ["still here"]);
    assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn nats_with_a_stream_that_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = Nats::prepare(&dir.path().join("nats"), ports::free().unwrap()).unwrap();
    let running = start(store.clone(), dir.path()).await;
    let client = shared::nats::connect(&running.url()).await.unwrap();
    let stream = async_nats::jetstream::stream::Config {
        name: "kept".to_owned(),
        subjects: vec!["kept.>".to_owned()],
        ..Default::default()
    };
    let jetstream = async_nats::jetstream::new(client);
    jetstream.create_stream(stream).await.unwrap();
    jetstream.publish("kept.one", "body".into()).await.unwrap().await.unwrap();
    assert!(running.kill().await.is_ok());

    let running = start(store, dir.path()).await;
    let client = shared::nats::connect(&running.url()).await.unwrap();
    let mut stream = async_nats::jetstream::new(client).get_stream("kept").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 1);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn redis_keeps_nothing_over_a_restart_and_evicts_no_route() {
    let dir = tempfile::tempdir().unwrap();
    let store = Redis::prepare(&dir.path().join("redis"), ports::free().unwrap()).unwrap();
    let running = start(store.clone(), dir.path()).await;
    let client = redis::Client::open(running.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let policy: (String, String) =
        redis::cmd("CONFIG").arg(&["GET", "maxmemory-policy"]).query_async(&mut connection).await.unwrap();
    assert_eq!(policy.1, "volatile-ttl");
    let () = redis::cmd("SET").arg(&["route_1", "x"]).query_async(&mut connection).await.unwrap();
    assert!(running.stop().await.unwrap().success());

    let running = start(store, dir.path()).await;
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: i64 = redis::cmd("DBSIZE").query_async(&mut connection).await.unwrap();
    assert_eq!(keys, 0);
    running.stop().await.unwrap();
}
