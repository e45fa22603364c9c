//! The supervisor itself, on the stores alone: `tests/` has the whole system under it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use simple_im::process::send;
use simple_im::record::{Process, Stack};
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(30);

async fn command(name: &str, data: &Path) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simple-im"));
    command.arg(name).arg("--data").arg(data).stdin(Stdio::null());
    if name == "up" {
        command.args(["--detach", "--edges", "0", "--workers", "0"]);
    }
    // `output` waits for the pipes to close: it returns only if what stays running does not hold them.
    let output =
        tokio::time::timeout(SOON * 2, command.output()).await.expect("it returns").expect("it starts");
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8"))
}

async fn up(data: &Path) -> Stack {
    let (ok, said) = command("up", data).await;
    assert!(ok && said.contains("ready after"), "{said}");
    Stack::read(data).expect("readable").expect("stack.toml")
}

fn process<'a>(stack: &'a Stack, name: &str) -> &'a Process {
    stack.process.iter().find(|it| it.name == name).expect(name)
}

/// Waits until `name` has another pid than this; gives how long that took.
async fn another_pid(data: &Path, before: &Process) -> Duration {
    let began = Instant::now();
    loop {
        let stack = Stack::read(data).expect("whole").expect("stack.toml is never away");
        let now = process(&stack, &before.name);
        if now.identity != before.identity && now.identity.lives() {
            assert_eq!(now.addresses, before.addresses, "it is started again at the same address");
            return began.elapsed();
        }
        assert!(began.elapsed() < SOON, "{} was not started again", before.name);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn postgres(url: &str, statement: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    let rows = client.query(statement, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn answers(url: &str) {
    let began = Instant::now();
    while let Err(error) = postgres(url, "SELECT 'x'").await {
        assert!(began.elapsed() < SOON, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_stack_is_kept_running_ended_exactly_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let data = &dir.path().join("data");
    // Ports of its own: another test's stack may take the default ones while this one is down.
    fs::create_dir(data).unwrap();
    let known: Vec<String> = ["nats", "postgres", "redis"]
        .map(|name| format!("{name} = {}\n", simple_im::stack::ports::free().unwrap()))
        .into();
    fs::write(data.join("ports.toml"), known.concat()).unwrap();
    let stack = up(data).await;
    assert!(process(&stack, "nats").addresses.url.clone().unwrap().ends_with(known[0].trim()[7..].trim()));
    let url = process(&stack, "postgres").addresses.url.clone().unwrap();
    let migrations = postgres(&url, "SELECT name FROM schema_migrations ORDER BY version").await.unwrap();
    assert_eq!(migrations.first().unwrap(), "0001_accounts");

    let (ok, said) = command("up", data).await;
    assert!(!ok && said.contains("runs on") && said.contains(&stack.supervisor.to_string()), "{said}");

    for name in ["nats", "postgres", "redis"] {
        let before = process(&stack, name);
        send(before.identity.pid, Signal::SIGKILL).unwrap();
        let took = another_pid(data, before).await;
        assert!(took < Duration::from_secs(1), "{name} was started again after {took:?}");
    }
    answers(&url).await;

    let (ok, said) = command("down", data).await;
    assert!(ok && said.contains("stopped"), "{said}");
    let after = Stack::read(data).unwrap().unwrap();
    assert!(after.process.is_empty());
    assert!(stack.process.iter().all(|it| !it.identity.lives()));

    let again = up(data).await;
    assert_eq!(process(&again, "postgres").addresses.url.as_ref(), Some(&url), "same port, same password");
    let kept = postgres(&url, "SELECT name FROM schema_migrations ORDER BY version").await.unwrap();
    assert_eq!(kept, migrations);

    // The supervisor dies without a word: the next one ends what it left, and `down` works all the same.
    send(again.supervisor, Signal::SIGKILL).unwrap();
    let third = up(data).await;
    assert!(again.process.iter().all(|it| !it.identity.lives()), "something of the second stack still runs");
    send(third.supervisor, Signal::SIGKILL).unwrap();
    let (ok, said) = command("down", data).await;
    assert!(ok && said.contains("left over"), "{said}");
    assert!(third.process.iter().all(|it| !it.identity.lives()));
    let (ok, said) = command("down", data).await;
    assert!(ok && said.contains("nothing runs"), "{said}");
}

#[tokio::test]
async fn what_cannot_start_is_said_and_nothing_stays_running() {
    let dir = tempfile::tempdir().unwrap();
    let data = &dir.path().join("data");
    fs::create_dir_all(data.join("postgres/data")).unwrap();
    // A cluster of a version that nobody has.
    fs::write(data.join("postgres/data/PG_VERSION"), "7\n").unwrap();
    let (ok, said) = command("up", data).await;
    assert!(!ok && said.contains("PostgreSQL 7"), "{said}");
    assert!(Stack::read(data).unwrap().unwrap().process.is_empty());
    let (ok, said) = command("down", &dir.path().join("nowhere")).await;
    assert!(!ok && said.contains("no data folder"), "{said}");
}
