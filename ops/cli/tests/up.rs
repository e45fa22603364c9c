//! The supervisor: what it starts, starts again, ends, and finds again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use simple_im::process::send;
use simple_im::record::{Process, Stack};
use simple_im::stack::ports::Ports;
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(30);
const STORES_ALONE: [&str; 2] = ["0", "0"];
/// Any file that none of our processes would open.
const LEFT_OPEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

/// Runs `simple-im NAME --data DATA …` with a descriptor that the shell left open on this file: [`held`] looks for it.
async fn command(name: &str, data: &Path, processes: [&str; 2]) -> (bool, String) {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec 7<\"$0\"; exec \"$@\"", LEFT_OPEN, env!("CARGO_BIN_EXE_simple-im"), name]);
    command.arg("--data").arg(data).stdin(Stdio::null());
    if name == "up" {
        command.args(["--detach", "--edges", processes[0], "--workers", processes[1]]);
    }
    // `output` waits for the pipes to close: it returns only if what stays running does not hold them.
    let output =
        tokio::time::timeout(SOON * 2, command.output()).await.expect("it returns").expect("it starts");
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8"))
}

/// Whether this process has the caller's left-open file.
fn holds_the_callers_file(pid: u32) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("a live process of ours");
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target == Path::new(LEFT_OPEN)))
}

async fn up(data: &Path, processes: [&str; 2]) -> Stack {
    let (ok, said) = command("up", data, processes).await;
    assert!(ok && said.contains("ready after"), "{said}");
    Stack::read(data).expect("readable").expect("stack.toml")
}

fn process<'a>(stack: &'a Stack, name: &str) -> &'a Process {
    stack.process.iter().find(|it| it.name == name).expect(name)
}

/// Ports of the folder's own, for so many edges and workers.
fn own_ports(data: &Path, edges: u16, workers: u16) {
    fs::create_dir(data).expect("a new folder");
    Ports::free(data, edges, workers).and_then(|ports| ports.keep()).expect("ports.toml");
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
    own_ports(data, 0, 0);
    let stack = up(data, STORES_ALONE).await;
    let url = process(&stack, "postgres").addresses.url.clone().unwrap();
    let migrations = postgres(&url, "SELECT name FROM schema_migrations ORDER BY version").await.unwrap();
    assert_eq!(migrations.first().unwrap(), "0001_accounts");

    assert!(!holds_the_callers_file(stack.supervisor), "the supervisor holds the caller's file");
    assert!(stack.process.iter().all(|it| !holds_the_callers_file(it.identity.pid)));

    let (ok, said) = command("up", data, STORES_ALONE).await;
    assert!(!ok && said.contains("runs on") && said.contains(&stack.supervisor.to_string()), "{said}");

    for name in ["nats", "postgres", "redis"] {
        let before = process(&stack, name);
        send(before.identity.pid, Signal::SIGKILL).unwrap();
        let took = another_pid(data, before).await;
        assert!(took < Duration::from_secs(10), "{name} was started again after {took:?}");
    }
    answers(&url).await;

    let (ok, said) = command("down", data, STORES_ALONE).await;
    assert!(ok && said.contains("stopped"), "{said}");
    let after = Stack::read(data).unwrap().unwrap();
    assert!(after.process.is_empty());
    assert!(stack.process.iter().all(|it| !it.identity.lives()));

    let again = up(data, STORES_ALONE).await;
    assert_eq!(process(&again, "postgres").addresses.url.as_ref(), Some(&url), "same port, same password");
    let kept = postgres(&url, "SELECT name FROM schema_migrations ORDER BY version").await.unwrap();
    assert_eq!(kept, migrations);

    // The supervisor dies without a word: the next one ends what it left, and `down` works all the same.
    send(again.supervisor, Signal::SIGKILL).unwrap();
    let third = up(data, STORES_ALONE).await;
    assert!(again.process.iter().all(|it| !it.identity.lives()), "something of the second stack still runs");
    send(third.supervisor, Signal::SIGKILL).unwrap();
    let (ok, said) = command("down", data, STORES_ALONE).await;
    assert!(ok && said.contains("left over"), "{said}");
    assert!(third.process.iter().all(|it| !it.identity.lives()));
    let (ok, said) = command("down", data, STORES_ALONE).await;
    assert!(ok && said.contains("nothing runs"), "{said}");
}

#[tokio::test]
async fn what_cannot_start_is_said_and_nothing_stays_running() {
    let dir = tempfile::tempdir().unwrap();
    let data = &dir.path().join("data");
    fs::create_dir_all(data.join("postgres/data")).unwrap();
    // A cluster of a version that nobody has.
    fs::write(data.join("postgres/data/PG_VERSION"), "7\n").unwrap();
    let (ok, said) = command("up", data, STORES_ALONE).await;
    assert!(!ok && said.contains("PostgreSQL 7"), "{said}");
    assert!(Stack::read(data).unwrap().unwrap().process.is_empty());
    let (ok, said) = command("down", &dir.path().join("nowhere"), STORES_ALONE).await;
    assert!(!ok && said.contains("no data folder"), "{said}");
}

/// Needs the edge and the worker beside the command: `cargo build --bins` makes them.
#[tokio::test]
async fn edges_and_workers_are_started_again_at_their_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let data = &dir.path().join("data");
    own_ports(data, 1, 1);
    let stack = up(data, ["2", "2"]).await;
    let names: Vec<&str> = stack.process.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["nats", "postgres", "redis", "e1", "e2", "w1", "w2"]);
    // Who may look at processes learns no password.
    let secrets: Vec<String> =
        ["nats/edge-e1.password", "nats/worker.password", "postgres/password", "redis/password"]
            .map(|file| fs::read_to_string(data.join(file)).unwrap())
            .into();
    for name in ["e1", "e2", "w1", "w2"] {
        let pid = process(&stack, name).identity.pid;
        let shown = fs::read(format!("/proc/{pid}/environ")).unwrap();
        let shown = String::from_utf8_lossy(&shown);
        assert!(
            !secrets.iter().any(|secret| shown.contains(secret)),
            "{name}'s environment holds a password"
        );
        assert!(shown.contains("IM_NATS__PASSWORD_FILE="), "{name} is told where its password is");
    }
    for name in ["e1", "w1"] {
        let before = process(&stack, name);
        let metrics = before.addresses.metrics.as_deref().unwrap();
        simple_im::ready::ask(metrics).await.unwrap();
        send(before.identity.pid, Signal::SIGKILL).unwrap();
        let took = another_pid(data, before).await;
        assert!(took < Duration::from_secs(10), "{name} was started again after {took:?}");
        let began = Instant::now();
        while let Err(reason) = simple_im::ready::ask(metrics).await {
            assert!(began.elapsed() < SOON, "{name}: {reason:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let (ok, said) = command("down", data, STORES_ALONE).await;
    assert!(ok && said.contains("stopped"), "{said}");
    assert!(!fs::read_to_string(data.join("log/supervisor.log")).unwrap().contains("killed"), "a straggler");
}
