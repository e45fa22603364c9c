//! A full disk is said, and what is started again stands in `stack.toml` all the same. On a small file system of
//! its own, which only root can mount; elsewhere there is nothing to try.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use simple_im::process::send;
use simple_im::record::{Process, Stack};

const SIMPLE_IM: &str = env!("CARGO_BIN_EXE_simple-im");
const LIMIT: Duration = Duration::from_secs(30);

fn run(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn nats(data: &Path) -> Process {
    let stack = Stack::read(data).expect("whole").expect("stack.toml");
    stack.process.into_iter().find(|it| it.name == "nats").expect("nats")
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LIMIT, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn write_until_full(path: &Path) -> bool {
    let mut file = fs::File::create(path).expect("a file");
    std::iter::repeat_with(|| file.write_all(&[0; 4096])).take(100_000).any(|written| written.is_err())
}

/// The mounted disk with the stack on it; both go with this, however the test ends.
struct SmallDisk<'a>(&'a str);

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let down = run(SIMPLE_IM, &["down", "--data", self.0]);
        let unmounted = run("umount", &[self.0]);
        assert!(std::thread::panicking() || down && unmounted, "down {down}, unmounted {unmounted}");
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_not_suffered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    if !run("mount", &["-t", "tmpfs", "-o", "size=200m,mode=0700", "simple-im-test", path]) {
        writeln!(std::io::stderr(), "not root: no small disk to fill").unwrap();
        return;
    }
    let _disk = SmallDisk(path);
    assert!(run(SIMPLE_IM, &["up", "--data", path, "--detach", "--edges", "0", "--workers", "0"]), "up");

    let fill = dir.path().join("fill");
    assert!(write_until_full(&fill), "the disk cannot be filled");
    let log = || fs::read_to_string(dir.path().join("log/supervisor.log")).unwrap_or_default();
    until("the disk was full, and nothing said so", || log().contains("THE DISK IS FULL")).await;

    let before = nats(dir.path());
    send(before.identity.pid, Signal::SIGKILL).unwrap();
    until("the new pid does not stand in stack.toml", || nats(dir.path()).identity != before.identity).await;
    fs::remove_file(&fill).unwrap();
    until("there is room again, and nothing said so", || log().contains("there is room again")).await;
    until("nats does not run", || nats(dir.path()).identity.lives()).await;
}
