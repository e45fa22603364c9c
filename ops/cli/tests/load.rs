//! The load generator: every mode on a small stack. That nothing is lost, doubled or out of order is asserted, and that
//! the figures are there; never what they are.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use simple_im::stack::ports::Ports;
use tokio::{process::Command, time::timeout};

const SOON: Duration = Duration::from_secs(180);

fn simple_im(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simple-im"));
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a mode; its line.
async fn load(args: &[&str]) -> Value {
    let output = timeout(SOON, simple_im(&[&["load"], args].concat()).output()).await;
    let output = output.unwrap_or_else(|_| panic!("{args:?} does not end")).expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}:\n{said}");
    judged(args[0], &output)
}

/// What every line has, and no line may have.
fn judged(mode: &str, output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    let line: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!(line["mode"], mode);
    for count in ["lost", "doubled", "reordered", "unanswered", "refused"] {
        assert!(line[count].is_null() || line[count] == 0, "{count}: {line}\n{said}");
    }
    for figure in ["edges", "workers", "seed"] {
        assert!(line[figure].is_u64(), "{figure}: {line}");
    }
    for name in ["simple-im", "nats", "postgres", "redis"] {
        let version = line["versions"][name].as_str().expect(name);
        assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{name}: {version}");
    }
    line
}

fn assert_figures(line: &Value, keys: &[&str]) {
    for key in keys {
        let value = key.split('.').fold(line, |value, part| &value[part]);
        assert!(value.is_number(), "no {key} in {line}");
    }
}

/// All that came of messages: `lost` and the like are there, too, and were looked at.
const TALK: [&str; 15] = [
    "msgs_per_s",
    "p50_ms",
    "p99_ms",
    "p999_ms",
    "delivered_p50_ms",
    "cpu_us_per_msg.edge",
    "cpu_us_per_msg.worker",
    "cpu_us_per_msg.nats",
    "cpu_us_per_msg.postgres",
    "cpu_us_per_msg.redis",
    "cpu_us_per_msg.total",
    "cpu_us_per_msg.generator",
    "lost",
    "doubled",
    "reordered",
];

/// A stack that ends with the test, also when it fails.
struct Up<'a>(&'a Path);

impl<'a> Up<'a> {
    async fn new(data: &'a Path) -> Self {
        fs::set_permissions(data, fs::Permissions::from_mode(0o700)).expect("a folder of our own");
        Ports::free(data, 2, 1).and_then(|ports| ports.keep()).expect("ports.toml");
        let this = Self(data);
        let data = data.to_str().expect("UTF-8");
        let mut up = simple_im(&["up", "--detach", "--data", data, "--edges", "2", "--workers", "1"]);
        let output = timeout(SOON, up.output()).await.expect("it returns").expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        this
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        let mut down = std::process::Command::new(env!("CARGO_BIN_EXE_simple-im"));
        // A second panic would hide the first.
        drop(down.arg("down").arg("--data").arg(self.0).output());
    }
}

#[tokio::test]
async fn every_mode_says_what_came_of_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let _up = Up::new(dir.path()).await;
    let stack = dir.path().to_str().expect("UTF-8");
    let on = |args: &'static str| {
        let args = args.split(' ').chain(["--stack", stack]).collect::<Vec<_>>();
        async move { load(&args).await }
    };
    let (closed, read, group, crowd, storm, offline, idle, wide, overload) = tokio::join!(
        on("throughput --pairs 8 --window 4 --warm 0 --secs 1"),
        on("throughput --pairs 4 --window 4 --warm 0 --secs 1 --acks read"),
        on("group --members 12 --warm 0 --secs 1"),
        on("group --members 40 --beside 20 --warm 0 --secs 1"),
        on("storm --clients 100 --pairs 4 --rate 40 --warm 0"),
        on("offline --users 60 --messages 420 --pairs 7 --window 3"),
        on("idle --sessions 50 --warm 0 --secs 1"),
        on("wide --conversations 60 --rounds 2"),
        on("overload --pairs 4 --capacity 100 --seconds 1 --slow 0 --drain 20"),
    );
    assert_figures(&closed, &TALK);
    assert_figures(&read, &TALK);
    for talk in [&closed, &read, &group] {
        assert!(talk["acked"].as_u64() > Some(0) && talk["repeated"].is_u64(), "{talk}");
    }
    assert_eq!(closed["acked"], closed["delivered"]);
    for (group, copies) in [(&group, 11), (&crowd, 39)] {
        assert_figures(group, &TALK);
        assert_figures(group, &["copies_per_s", "cpu_us_per_copy.total"]);
        assert_eq!(group["rows"], group["acked"]);
        assert_eq!(group["delivered"].as_u64(), group["acked"].as_u64().map(|acked| acked * copies));
    }
    assert_figures(&crowd, &["pair_p99_ms", "pair_acked_p99_ms"]);
    for count in ["pair_lost", "pair_doubled", "pair_reordered"] {
        assert_eq!(crowd[count], 0, "{crowd}");
    }
    assert_figures(&storm, &["logins_per_s", "login_p99_ms", "p99_ms", "cpu_us_per_login.total"]);
    assert_eq!((&storm["clients"], &storm["cut"]), (&Value::from(100), &Value::from(0)));
    assert_figures(&offline, &["stored_per_s", "retrieved_per_s", "p99_ms", "login_p99_ms"]);
    assert_figures(&offline, &["cpu_us_per_msg.total", "cpu_us_per_retrieved.total"]);
    for count in ["messages", "acked", "delivered"] {
        assert_eq!(offline[count], 420, "{offline}");
    }
    assert_eq!(offline["cursors_behind"], 0, "what was acknowledged was not kept: {offline}");
    assert_figures(&idle, &["edge_bytes_per_session", "edge_cpu_percent", "logins_per_s"]);
    assert_eq!(idle["sessions"], 50);
    assert_figures(&wide, &["first_news_ms", "last_news_ms", "login_ms"]);
    assert_eq!(wide["delivered"], 6, "{wide}");
    assert_figures(&overload, &["msgs_per_s", "rss_mib.e1.max"]);

    // It expects to be alone.
    let grown = on("grow --users 300 --messages 6000 --sample 100").await;
    assert_figures(&grown, &["login_p99_ms", "offline_p99_ms", "database_bytes"]);
    assert_eq!(grown["messages"], 6_000);
    // Every tenth conversation owes its second user what the first one sent last: about three in a hundred users.
    assert!(grown["delivered"].as_u64() > Some(0), "{grown}");
}

#[tokio::test]
async fn a_run_has_a_stack_of_its_own_and_is_drawn() {
    let dir = tempfile::tempdir().expect("a folder");
    let plot = dir.path().join("latency.svg");
    let args = "latency --start --edges 1 --workers 1 --pairs 15 --rate 100 --warm 0 --secs 2 --plot";
    let args: Vec<&str> = args.split(' ').chain([plot.to_str().expect("UTF-8")]).collect();
    let mut command = simple_im(&[&["load"], &args[..]].concat());
    // Where it makes its folder.
    let output = timeout(SOON, command.env("TMPDIR", dir.path()).output()).await;
    let output = output.expect("it ends").expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line = judged("latency", &output);
    assert_figures(&line, &TALK);
    assert_eq!((&line["edges"], &line["workers"]), (&Value::from(1), &Value::from(1)));
    // By the clock, whatever comes back: about 100 a second for two seconds.
    let written = line["written"].as_u64().expect("a count");
    assert!((100..=400).contains(&written), "{line}");
    assert_eq!((&line["acked"], &line["delivered"]), (&line["written"], &line["written"]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("acked/s"), "no progress: {said}");
    let drawn = fs::read_to_string(&plot).expect("the picture");
    assert!(drawn.contains("<svg") && drawn.contains("class=\"bar\"") && drawn.contains("class=\"p99\""));
    let left: Vec<_> =
        fs::read_dir(dir.path()).expect("the folder").flatten().map(|file| file.file_name()).collect();
    assert_eq!(left, ["latency.svg"], "something was left behind");
}
