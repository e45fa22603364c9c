//! The client library's examples, as programs against the real system: each answers, passes on and imports everything once, also
//! when it is killed in between and when an edge dies under it.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::process::Stdio;

use tests::{
    harness::{SOON, System, servers::build_dir},
    people::{User, delivered, delivered_group},
    wire::Wire,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// An example, with who it is in its environment.
fn example(system: &System, user: &User, name: &str, arguments: &[&str]) -> Command {
    let path = build_dir().unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not there: cargo build --workspace --examples", path.display());
    let servers: Vec<String> = (0..system.edges.len()).map(|edge| system.http(edge)).collect();
    let mut command = Command::new(path);
    command
        .args(arguments)
        .env("SIMPLE_IM_SERVER", servers.join(","))
        .env("SIMPLE_IM_PHONE", &user.phone)
        .env("SIMPLE_IM_PASSWORD", &user.password)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// One that runs, connected.
async fn started(mut command: Command) -> Child {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = timeout(SOON * 2, lines.next_line()).await.expect("it says that it is there").unwrap();
    assert!(line.as_ref().is_some_and(|line| line.starts_with("user ")), "{line:?}");
    // Whatever else it says is the test's own to say.
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            eprintln!("{line}");
        }
    });
    child
}

#[tokio::test]
async fn the_echo_bot_answers_each_message_once() {
    let mut system = System::start(2, 2).await;
    let [alice, bot] = system.users(["alice", "bot"]).await;
    let mut child = started(example(&system, &bot, "echo_bot", &[])).await;
    let mut wire = system.online(&alice, "phone", 1).await;
    for n in 1..=10 {
        wire.send_message(&format!("q{n}"), bot.id, &format!("question {n}")).await;
    }
    let mut heard = heard(&mut wire, 10).await;
    // Killed, with what is on its way; and an edge with it.
    for n in 11..=20 {
        wire.send_message(&format!("q{n}"), bot.id, &format!("question {n}")).await;
    }
    child.kill().await.unwrap();
    system.kill_edge(0).await;
    let _child = started(example(&system, &bot, "echo_bot", &[])).await;
    heard.extend(self::heard(&mut wire, 10).await);
    let expected: Vec<String> = (1..=20).map(|n| format!("question {n}")).collect();
    assert_eq!(heard, expected);
    let answers = "SELECT count(*)::bigint FROM messages WHERE sender = $1";
    assert_eq!(system.stores.rows(answers, &[&bot.id]).await[0].get::<_, i64>(0), 20);
    system.finish().await;
}

/// The texts of so many messages, passing over the acks of one's own.
async fn heard(wire: &mut Wire, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let entry = wire.next().await;
        texts.extend(entry.get("m").map(|message| message["c"].as_str().unwrap().to_owned()));
    }
    texts
}

#[tokio::test]
async fn the_bridge_passes_on_both_ways_and_nothing_back() {
    let system = System::start(1, 1).await;
    let [alice, bob, bridge] = system.users(["alice", "bob", "bridge"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 0).await;
    let mut groups = Vec::new();
    for wire in [&mut a, &mut b] {
        let keys = format!("name = \"side\"\nmembers = [{}]", bridge.id);
        let made = wire.done("make", "create_group", &keys, "seq = 1\ngroup_id = \"…\"").await;
        groups.push(made["group_id"].as_integer().unwrap());
    }
    let (one, other) = (groups[0], groups[1]);
    let arguments = [one.to_string(), other.to_string()];
    let arguments = arguments.each_ref().map(String::as_str);
    let _child = started(example(&system, &bridge, "group_bridge", &arguments)).await;
    a.say_group("a1", one, "hello over there", 2).await;
    let expected =
        delivered_group(&format!("bridge-g:{one}-2"), "alice: hello over there", 2, other, &bridge, "bridge");
    b.expect(&expected).await;
    b.say_group("b1", other, "hello back", 3).await;
    let expected =
        delivered_group(&format!("bridge-g:{other}-3"), "bob: hello back", 3, one, &bridge, "bridge");
    a.expect(&expected).await;
    system.finish().await;
}

#[tokio::test]
async fn the_importer_stores_nothing_twice() {
    let system = System::start(1, 1).await;
    let [alice, source] = system.users(["alice", "source"]).await;
    let lines: String = (1..=300)
        .map(|n| format!("{{\"id\":\"old-{n}\",\"to\":{},\"text\":\"record {n}\"}}\n", alice.id))
        .collect();
    let import = async |lines: &str| {
        let mut command = example(&system, &source, "importer", &[]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).await.unwrap();
        let output = timeout(SOON * 2, child.wait_with_output()).await.expect("it ends").unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(import(&lines).await, (Some(0), "300 stored, 0 refused\n".to_owned()));
    assert_eq!(import(&lines).await, (Some(0), "300 stored, 0 refused\n".to_owned()));
    let bad =
        "{\"id\":\"x\",\"text\":\"to nobody\"}\n{\"id\":\"y\",\"to\":99999999,\"text\":\"hi\"}\nno JSON\n";
    let (code, said) = import(bad).await;
    assert!(code == Some(1) && said.ends_with("0 stored, 3 refused\n"), "{said}");
    let stored = "SELECT count(*)::bigint FROM messages WHERE sender = $1";
    assert_eq!(system.stores.rows(stored, &[&source.id]).await[0].get::<_, i64>(0), 300);
    let mut wire = system.online(&alice, "phone", 0).await;
    wire.expect(&delivered("old-1", "record 1", 1, &alice, &source, "importer")).await;
    system.finish().await;
}
