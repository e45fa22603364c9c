//! Crowds: a thousand connections that send junk, a thousand that send nothing, and one conversation among them; a group of
//! many.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::time::{Duration, Instant};

use tests::{
    harness::{Options, SOON, System, eventually},
    people::delivered_group,
    talk::Talk,
    wire::{Got, Wire},
};

#[tokio::test]
async fn a_thousand_connections_that_send_junk() {
    let system = System::start(2, 2).await;
    let mut talk = Talk::begin(&system).await;
    let junk: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00",
        b"#999999999999\n",
        b"#12\nnot toml at all",
        b"\x00\x01\x02\x03\xff\xfe\xfd\n\n",
        b"[[m]] id = \"1\" c = \"hello\" to = 1\n",
        b"{\"json\": true}\n\n",
        b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n\n",
    ];
    for round in 0..20 {
        let mut crowd = Vec::new();
        for n in 0..50 {
            let mut wire = Wire::connect(system.tcp((round + n) % 2)).await;
            wire.try_send_raw(junk[n % junk.len()]).await;
            crowd.push(wire);
        }
        talk.round().await;
        // Some hang up at once, some wait for what is said to them.
        for wire in crowd.iter_mut().skip(25) {
            wire.end().await;
        }
    }
    for _ in 0..10 {
        talk.round().await;
    }
    assert!(talk.slowest < Duration::from_secs(10), "the slowest round took {:?}", talk.slowest);
    no_connection_left(&system, 2).await;
    system.finish().await;
}

#[tokio::test]
async fn a_thousand_connections_that_send_nothing() {
    let options = Options { edge: vec![("limits.login_seconds", "12".into())], ..Options::default() };
    let system = System::start_with(2, 2, options).await;
    let mut talk = Talk::begin(&system).await;
    let mut crowd = Vec::new();
    for n in 0..1000 {
        let begun = Instant::now();
        let mut wire = Wire::connect(system.tcp(n % 2)).await;
        if n < 10 {
            // Heartbeats are answered, but they are no login.
            wire.nothing_but_heartbeat().await;
        }
        crowd.push((begun, wire));
        if n % 50 == 0 {
            talk.round().await;
        }
    }
    let last = crowd[999].0;
    for (_, wire) in &mut crowd {
        // Closed when the time to log in is over; a word about it may come first.
        while wire.got().await != Got::Closed {}
    }
    let took = last.elapsed();
    assert!((Duration::from_secs(12)..SOON * 2).contains(&took), "closed after the login deadline: {took:?}");
    talk.round().await;
    assert!(talk.slowest < Duration::from_secs(10), "the slowest round took {:?}", talk.slowest);
    no_connection_left(&system, 2).await;
    system.finish().await;
}

/// Every connection but these has been given up by the edges.
async fn no_connection_left(system: &System, but: i64) {
    eventually(SOON, async || {
        let mut open = 0.0;
        for edge in &system.edges {
            open += edge.metric("im_edge_connections").await;
        }
        if open as i64 <= but { Ok(()) } else { Err(format!("{open} connections are open, expected {but}")) }
    })
    .await;
}

/// Users whom nobody will log in as: made here in one go, as a password's hash takes its time.
const AWAY: &str = "INSERT INTO users (phone, name, password)
    SELECT $1 || n, 'away', 'none' FROM generate_series(1, 300) n RETURNING id";

/// More members than are worth looking for, and than are woken at once: every node gets it, and its members who are here
/// have it once and in order.
#[tokio::test]
async fn a_group_of_many_is_told_on_every_node() {
    let worker = vec![("group.cache_offline_below", "0".into())];
    let system = System::start_with(2, 2, Options { worker, ..Options::default() }).await;
    system.directory_stands().await;
    let [alice, bob, carol] = system.users(["alice", "bob", "carol"]).await;
    let away = system.stores.rows(AWAY, &[&system.new_phone()]).await;
    let away: Vec<String> = away.iter().map(|row| row.get::<_, i64>(0).to_string()).collect();
    let mut a = system.online(&alice, "phone", 0).await;
    let mut others = [
        system.online(&alice, "pad", 1).await,
        system.online(&bob, "phone", 0).await,
        system.online(&bob, "pad", 1).await,
        system.online(&carol, "phone", 1).await,
    ];
    let keys = format!("name = \"many\"\nmembers = [{}, {}, {}]", bob.id, carol.id, away.join(", "));
    let made = a.done("g", "create_group", &keys, "seq = 1\ngroup_id = \"…\"").await;
    let group = made["group_id"].as_integer().unwrap();
    for seq in 2..=6 {
        a.say_group(&format!("m{seq}"), group, "hello", seq).await;
    }
    for wire in &mut others {
        wire.next().await;
        for seq in 2..=6 {
            wire.expect(&delivered_group(&format!("m{seq}"), "hello", seq, group, &alice, "phone")).await;
        }
        wire.nothing_but_heartbeat().await;
    }
    a.nothing_but_heartbeat().await;
    system.finish().await;
}
