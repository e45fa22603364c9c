//! `simple-im login`, `send`, `tail` and `logout`, as scripts use them: pipes, JSON, exit codes, a token that only its owner can
//! read, each message once.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};
use tests::{
    harness::{SOON, System, eventually},
    people::User,
    shell::Shell,
};

fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn texts(lines: &str) -> Vec<String> {
    objects(lines).iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}

/// Ends once nothing more waits.
const WAITING: [&str; 4] = ["tail", "--json", "--idle", "1"];

/// What a tail acknowledged before it ended is known: the next one begins behind it.
async fn acked(system: &System, user: &User, seq: i64) {
    let query = "SELECT coalesce(max(seq), 0) FROM cursors WHERE user_id = $1";
    eventually(SOON, async || match system.stores.number(query, &[&user.id]).await {
        found if found >= seq => Ok(()),
        found => Err(format!("acknowledged up to {found}")),
    })
    .await;
}

async fn send(shell: &Shell, to: &User, arguments: &[&str], input: &str) -> tests::shell::Ended {
    let to = format!("id:{}", to.id);
    shell.run(&[&["send", to.as_str()], arguments].concat(), input).await
}

#[tokio::test]
async fn lines_go_from_a_pipe_to_a_pipe() {
    let system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let (a, b) = (Shell::logged_in(&system, &alice, 0).await, Shell::logged_in(&system, &bob, 1).await);
    let kept = fs::read_to_string(a.session()).unwrap();
    assert_eq!(fs::metadata(a.session()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(kept.contains("token = ") && !kept.contains(&alice.password), "{kept}");

    let mut tail = b.start(&["tail", "--json"]);
    let sent = a.run(&["send", &bob.phone, "--json"], "one\n\n你好 👩‍👩‍👧\nlast \"\x1b[2J").await.with(0);
    let places: Vec<Value> = objects(&sent).iter().map(|line| line["seq"].clone()).collect();
    assert_eq!(places, [json!(1), json!(2), json!(3)], "the empty line is passed over: {sent}");
    let conversation = format!("dm:{}:{}", alice.id.min(bob.id), alice.id.max(bob.id));
    for (at, text) in ["one", "你好 👩‍👩‍👧", "last \"\x1b[2J"].into_iter().enumerate() {
        let line = tail.json().await;
        let expected = json!({
            "kind": "m", "conversation": conversation, "seq": at + 1, "id": objects(&sent)[at]["id"], "from": alice.id,
            "device": line["device"], "own": false, "to": bob.id, "ts": objects(&sent)[at]["ts"], "text": text,
        });
        assert_eq!(line, expected);
        assert!(line["device"].as_str().unwrap().starts_with("send"), "{line}");
    }
    // From the argument; an own message sent on another device comes here as well.
    send(&a, &bob, &["hello, Bob"], "").await.with(0);
    assert_eq!(tail.json().await["text"], "hello, Bob");
    send(&b, &alice, &["hello, Alice"], "").await.with(0);
    let own = tail.json().await;
    assert_eq!(
        (&own["own"], &own["to"], &own["text"]),
        (&json!(true), &json!(alice.id), &json!("hello, Alice"))
    );
    assert_eq!(tail.stop().await, (vec![], Some(0)));
    system.finish().await;
}

#[tokio::test]
async fn a_tail_goes_on_where_the_last_one_ended() {
    let system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let (a, b) = (Shell::logged_in(&system, &alice, 0).await, Shell::logged_in(&system, &bob, 1).await);
    send(&a, &bob, &[], "one\ntwo\nthree\nfour\n").await.with(0);
    assert_eq!(texts(&b.run(&["tail", "--json", "--count", "2"], "").await.with(0)), ["one", "two"]);
    acked(&system, &bob, 2).await;
    assert_eq!(texts(&b.run(&["tail", "--json", "--count", "2"], "").await.with(0)), ["three", "four"]);
    acked(&system, &bob, 4).await;
    assert_eq!(b.run(&WAITING, "").await.with(0), "");

    // A pipe that nobody reads any more: what was not written comes again.
    let mut tail = b.start(&["tail", "--json"]);
    send(&a, &bob, &["five"], "").await.with(0);
    assert_eq!(tail.json().await["text"], "five");
    assert_eq!(tail.stop().await, (vec![], Some(0)));
    acked(&system, &bob, 5).await;

    // For people: one line each, and nothing in it that a terminal would obey.
    send(&a, &bob, &["\x1b]0;mine\x07two\nlines"], "").await.with(0);
    let plain = b.run(&["tail", "--count", "1"], "").await.with(0);
    assert!(plain.ends_with(" alice: ␛]0;mine␇two␤lines\n"), "{plain:?}");
    system.finish().await;
}

#[tokio::test]
async fn the_same_id_is_stored_once() {
    let system = System::start(1, 1).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let (a, b) = (Shell::logged_in(&system, &alice, 0).await, Shell::logged_in(&system, &bob, 0).await);
    let one = ["--json", "--id", "night-42", "the backup is done"];
    let first = send(&a, &bob, &one, "").await.with(0);
    assert_eq!(send(&a, &bob, &one, "").await.with(0), first);
    let lines = ["--json", "--id", "log"];
    let first = send(&a, &bob, &lines, "a\nb\n").await.with(0);
    assert_eq!(objects(&first)[1]["id"], "log-2");
    // The second run had one more to say.
    let second = send(&a, &bob, &lines, "a\nb\nc\n").await.with(0);
    assert_eq!(objects(&second)[..2], objects(&first)[..]);
    let all = b.run(&["tail", "--json", "--count", "4"], "").await.with(0);
    assert_eq!(texts(&all), ["the backup is done", "a", "b", "c"]);
    system.finish().await;
}

#[tokio::test]
async fn each_end_has_its_exit_code() {
    let system = System::start(1, 1).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let (a, b) = (Shell::logged_in(&system, &alice, 0).await, Shell::logged_in(&system, &bob, 0).await);
    // 1: refused, and the other lines go on.
    let mut wire = system.online(&bob, "phone", 0).await;
    wire.request("block", "block", &format!("to = {}", alice.id)).await;
    wire.next().await;
    let ended = send(&a, &bob, &["--json", "hello?"], "").await;
    assert!(ended.err.contains("blocked"), "{}", ended.err);
    assert_eq!(objects(&ended.with(1))[0]["refused"], "blocked");
    wire.request("unblock", "unblock", &format!("to = {}", alice.id)).await;
    wire.next().await;
    let long = "x".repeat(70_000);
    let ended = send(&a, &bob, &["--json"], &format!("before\n{long}\n{}\nafter\n", &long[..40_000])).await;
    assert_eq!(objects(&ended.with(1)).len(), 3, "one line is not even tried");
    let both = b.run(&["tail", "--json", "--count", "2"], "").await.with(0);
    assert_eq!(texts(&both), ["before", "after"]);
    a.run(&["send", "99999999999", "hi"], "").await.failed(1);
    // 2: wrong arguments.
    a.run(&["send", "id:nobody", "hi"], "").await.failed(2);
    // 3: nobody there.
    let mut command = a.command(&["send", "--timeout", "1", "id:1", "hi"]);
    let nowhere = "http://127.0.0.1:9";
    command.env("SIMPLE_IM_SERVER", nowhere).env("SIMPLE_IM_PASSWORD", "x");
    a.run_command(command, "").await.failed(3);
    // 4: not logged in; a wrong password; a revoked token.
    let fresh = Shell::of(&system, &bob, 0);
    assert!(fresh.run(&["tail"], "").await.failed(4).contains("simple-im login"));
    fresh.run(&["login"], "wrong\n").await.failed(4);
    b.run(&["logout"], "").await.with(0);
    assert!(!fs::read_to_string(b.session()).unwrap().contains("token = "));
    b.run(&["tail"], "").await.failed(4);
    // A token that was revoked elsewhere is replaced, where there is a password for that.
    let kept = fs::read_to_string(a.session()).unwrap();
    a.run(&["logout"], "").await.with(0);
    fs::write(a.session(), &kept).unwrap();
    a.run(&["tail", "--idle", "0"], "").await.failed(4);
    fs::write(a.session(), &kept).unwrap();
    let mut command = a.command(&["send", &format!("id:{}", bob.id), "again"]);
    command.env("SIMPLE_IM_PASSWORD", &alice.password);
    a.run_command(command, "").await.with(0);
    fs::set_permissions(a.session(), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(a.run(&["tail"], "").await.failed(1).contains("0644"));
    system.finish().await;
}

#[tokio::test]
async fn a_tail_outlives_its_node_and_shows_everything_once() {
    let mut system = System::start(2, 2).await;
    let [alice, bob, carol] = system.users(["alice", "bob", "carol"]).await;
    let (a, b) = (Shell::logged_in(&system, &alice, 1).await, Shell::logged_in(&system, &bob, 0).await);
    let mut wire = system.online(&alice, "phone", 1).await;
    let keys = format!("name = \"all\"\nmembers = [{}, {}]", bob.id, carol.id);
    let group =
        wire.done("make", "create_group", &keys, "seq = 1\ngroup_id = \"…\"").await["group_id"].clone();
    let to = format!("group:{group}");

    let mut tail = b.start(&["tail", "--json"]);
    let made = tail.json().await;
    assert_eq!((&made["request"]["t"], &made["request"]["name"]), (&json!("create_group"), &json!("all")));
    let lines: String = (1..=150).map(|n| format!("number {n}\n")).collect();
    let arguments = ["send", to.as_str()];
    let sending = a.run(&arguments, &lines);
    let reading = async {
        let mut all = Vec::new();
        while all.len() < 150 {
            all.push(tail.json().await["text"].as_str().unwrap().to_owned());
        }
        all
    };
    let killing = system.kill_edge(0);
    let (sent, read, ()) = tokio::join!(sending, reading, killing);
    sent.with(0);
    let expected: Vec<String> = (1..=150).map(|n| format!("number {n}")).collect();
    assert_eq!(read, expected);
    assert_eq!(tail.stop().await, (vec![], Some(0)));
    acked(&system, &bob, 151).await;
    assert_eq!(b.run(&WAITING, "").await.with(0), "", "everything was acknowledged");
    system.finish().await;
}
