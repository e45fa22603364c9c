//! Being away: the backlog at login, `/offline` over HTTP, and picking up exactly where a connection dropped.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::time::Duration;

use tests::{
    away::{ids, numbered, offline, send_numbered},
    harness::{SOON, System, before_and_after_restart, eventually},
    people::delivered,
    wire::body,
};

#[tokio::test]
async fn what_was_sent_meanwhile_comes_at_login_in_order() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        send_numbered(&mut a, &bob, 1..=30).await;
        let mut b = system.online(&bob, "phone", 1).await;
        for n in 1..=30 {
            b.expect(&numbered(n, &bob, &alice)).await;
        }
        // Live goes on where the backlog ended.
        send_numbered(&mut a, &bob, 31..=35).await;
        for n in 31..=35 {
            b.expect(&numbered(n, &bob, &alice)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_dropped_connection_gets_exactly_what_it_had_not_acknowledged() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        let mut b = system.online(&bob, "phone", 1).await;
        let token = b.token.clone();
        send_numbered(&mut a, &bob, 1..=10).await;
        for n in 1..=10 {
            b.expect(&numbered(n, &bob, &alice)).await;
        }
        for n in 1..=6 {
            b.acknowledge(&format!("m{n}"), n, &alice).await;
        }
        system.cursor_at(&bob, "phone", &alice, 6).await;
        drop(b);
        send_numbered(&mut a, &bob, 11..=12).await;

        let mut b = system.connect(&bob, "phone", &token, 0).await;
        for n in 7..=12 {
            b.expect(&numbered(n, &bob, &alice)).await;
        }
        // Out of order: 8 to 12 are acknowledged, 7 is not, so the cursor stays before it.
        for n in 8..=12 {
            b.acknowledge(&format!("m{n}"), n, &alice).await;
        }
        b.nothing_but_heartbeat().await;
        b.end().await;
        let mut b = system.connect(&bob, "phone", &token, 1).await;
        b.expect(&numbered(7, &bob, &alice)).await;
        // What was acknowledged out of order may come again. A bare id takes the oldest of that id.
        b.send("[[a]]\nid = \"m7\"").await;
        for n in 8..=12 {
            b.acknowledge(&format!("m{n}"), n, &alice).await;
        }
        a.say("last", &bob, "the last", 13).await;
        loop {
            let entry = b.next().await;
            let seq = body(&entry)["seq"].as_integer().unwrap();
            assert!((8..=13).contains(&seq), "{entry}");
            if seq == 13 {
                break;
            }
        }
        b.acknowledge("last", 13, &alice).await;
        system.cursor_at(&bob, "phone", &alice, 13).await;
        drop(b);
        let mut b = system.connect(&bob, "phone", &token, 0).await;
        b.nothing_but_heartbeat().await;
        a.say("x", &bob, "new", 14).await;
        b.expect(&delivered("x", "new", 14, &bob, &alice, "phone")).await;
    })
    .await;
}

/// Each device has a cursor of its own.
#[tokio::test]
async fn one_device_does_not_acknowledge_for_another() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut phone = system.online(&bob, "phone", 0).await;
        let tablet = system.online(&bob, "tablet", 1).await;
        let token = tablet.token.clone();
        drop(tablet);
        let mut a = system.online(&alice, "phone", 1).await;
        send_numbered(&mut a, &bob, 1..=3).await;
        for n in 1..=3 {
            phone.expect(&numbered(n, &bob, &alice)).await;
            phone.acknowledge(&format!("m{n}"), n, &alice).await;
        }
        system.cursor_at(&bob, "phone", &alice, 3).await;
        let mut tablet = system.connect(&bob, "tablet", &token, 0).await;
        for n in 1..=3 {
            tablet.expect(&numbered(n, &bob, &alice)).await;
        }
        // A new device starts where the furthest one is.
        let mut watch = system.online(&bob, "watch", 1).await;
        a.say("m4", &bob, "number 4", 4).await;
        watch.expect(&numbered(4, &bob, &alice)).await;
    })
    .await;
}

/// Messages, groups' messages and requests wait alike.
#[tokio::test]
async fn everything_that_is_delivered_waits_too() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let of_bob = system.online(&bob, "phone", 1).await.token;
        let mut a = system.online(&alice, "phone", 0).await;
        a.done("r1", "add_contact", &format!("to = {}\nmessage = \"hi\"", bob.id), "seq = 1").await;
        a.say("m1", &bob, "hello", 2).await;
        let keys = format!("name = \"two\"\nmembers = [{}]", bob.id);
        let made = a.done("r2", "create_group", &keys, "seq = 1\ngroup_id = \"…\"").await;
        let group = made["group_id"].as_integer().unwrap();
        a.say_group("g1", group, "hello, both of us", 2).await;
        let from = format!("ts = \"…\"\nfrom = {{ id = {}, device = \"phone\" }}", alice.id);
        let page = format!(
            "[[response]]\nstatus = 0\nmore = 0\ncursor = \"…\"\n\
             [[m]]\nid = \"m1\"\nc = \"hello\"\nseq = 2\nto = {{ id = {0} }}\n{from}\n\
             [[gm]]\nid = \"g1\"\nc = \"hello, both of us\"\nseq = 2\ngroup = {group}\n{from}\n\
             [[r]]\nid = \"r1\"\nt = \"add_contact\"\nmessage = \"hi\"\nseq = 1\nto = {0}\n{from}\n\
             [[r]]\nid = \"r2\"\nt = \"create_group\"\nname = \"two\"\nmembers = [{0}]\ngroup_id = {group}\n\
             seq = 1\n{from}",
            bob.id
        );
        offline(system, &of_bob, "", 1).await.expect(200, &page);
        system.call(0, "DELETE", "/offline").token(&of_bob).send().await.expect_ok();
        let mut b = system.connect(&bob, "phone", &of_bob, 0).await;
        b.nothing_but_heartbeat().await;
    })
    .await;
}

/// simple_im's structures in Redis, for one who is away: a list of names, and a body for each.
#[tokio::test]
async fn what_waits_for_one_who_is_away_is_cached() {
    let system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let of_bob = system.online(&bob, "phone", 1).await.token;
    system.directory_stands().await;
    system.away(&bob).await;
    let mut a = system.online(&alice, "phone", 0).await;
    send_numbered(&mut a, &bob, 1..=3).await;
    let list = system.stores.key(&format!("offline_{}", bob.id));
    let named = async |count: usize| {
        eventually(SOON, async || {
            let named: Vec<String> = system.stores.redis("LRANGE", &[&list, "0", "-1"]).await;
            if named.len() == count {
                Ok(named)
            } else {
                Err(format!("the cache names {named:?}, not {count}"))
            }
        })
        .await
    };
    for (n, key) in (1..).zip(named(3).await) {
        let conversation = format!("dm:{}:{}", alice.id, bob.id);
        assert_eq!(key, system.stores.key(&format!("offline_{}_{conversation}_{n}", bob.id)));
        let body: String = system.stores.redis("GET", &[&key]).await;
        assert!(body.contains(&format!("number {n}")), "{body}");
        let ttl: i64 = system.stores.redis("TTL", &[&key]).await;
        assert!((6 * 86_400..=7 * 86_400).contains(&ttl), "kept for 7 days: {ttl} s");
    }
    // What is cleared leaves the cache, too, and nothing else does.
    assert_eq!(ids(&offline(&system, &of_bob, "", 1).await).len(), 3);
    send_numbered(&mut a, &bob, 4..=5).await;
    named(5).await;
    system.call(0, "DELETE", "/offline").token(&of_bob).send().await.expect_ok();
    named(2).await;
    let bodies = system.stores.keys(&format!("offline_{}_*", bob.id)).await;
    assert_eq!(bodies, named(2).await);
    system.finish().await;
}

/// Bodies come from Redis where they are there, and from PostgreSQL where not.
#[tokio::test]
async fn an_emptied_cache_loses_nothing() {
    let system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let of_bob = system.online(&bob, "phone", 1).await.token;
    let mut a = system.online(&alice, "phone", 0).await;
    send_numbered(&mut a, &bob, 1..=5).await;
    system.stores.wipe_redis().await;
    send_numbered(&mut a, &bob, 6..=8).await;
    let all: Vec<String> = (1..=8).map(|n| format!("m{n}")).collect();
    assert_eq!(ids(&offline(&system, &of_bob, "", 0).await), all);
    let mut b = system.connect(&bob, "phone", &of_bob, 1).await;
    for n in 1..=8 {
        b.expect(&numbered(n, &bob, &alice)).await;
    }
    system.finish().await;
}

/// A login with more than a page waiting, from many people at once.
#[tokio::test]
async fn a_long_absence_is_caught_up_with() {
    let system = System::start(2, 2).await;
    let bob = system.user("bob").await;
    let of_bob = system.online(&bob, "phone", 1).await.token;
    let mut senders = Vec::new();
    for n in 0..4 {
        let user = system.user(&format!("sender{n}")).await;
        let mut wire = system.online(&user, "phone", n % 2).await;
        let mut bytes = Vec::new();
        for m in 1..=400 {
            bytes.extend(wire.framed(&format!("[[m]]\nid = \"m{m}\"\nc = \"number {m}\"\nto = {}", bob.id)));
        }
        wire.send_raw(&bytes).await;
        for m in 1..=400 {
            wire.expect(&tests::people::stored(&format!("m{m}"), m)).await;
        }
        senders.push(user);
    }
    let page = offline(&system, &of_bob, "", 0).await;
    assert_eq!(page.entries("m").len(), 1000, "at most 1,000 entries a page");

    let mut b = system.connect(&bob, "phone", &of_bob, 0).await;
    let mut next = std::collections::HashMap::new();
    for _ in 0..1600 {
        let entry = b.next().await;
        let (from, seq) =
            (entry["m"]["from"]["id"].as_integer().unwrap(), entry["m"]["seq"].as_integer().unwrap());
        let expected = next.entry(from).or_insert(1);
        assert_eq!(seq, *expected, "in order within each conversation: {entry}");
        *expected += 1;
        b.send(&format!("[[a]]\nseq = {seq}\n[a.from]\nid = {from}")).await;
    }
    for user in &senders {
        system.cursor_at(&bob, "phone", user, 400).await;
    }
    assert!(b.got_within(Duration::from_millis(300)).await.is_none());
    system.finish().await;
}

/// A client that acknowledges nothing is sent 1,000 deliveries, then no more until it does.
#[tokio::test]
async fn deliveries_pause_a_thousand_past_the_cursor() {
    let options =
        tests::harness::Options { edge: vec![("limits.unacked", "10".into())], ..Default::default() };
    let system = System::start_with(2, 2, options).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 1).await;
    send_numbered(&mut a, &bob, 1..=25).await;
    let mut got = 0;
    while got < 25 {
        for _ in 0..10.min(25 - got) {
            got += 1;
            b.expect(&numbered(got, &bob, &alice)).await;
        }
        assert!(b.got_within(Duration::from_millis(500)).await.is_none(), "the pause holds after {got}");
        // One frame: halfway through, deliveries would go on, and pause again for the acks still to come.
        let acks = |n| format!("[[a]]\nid = \"m{n}\"\nseq = {n}\n[a.from]\nid = {}\n", alice.id);
        b.send(&((got - 9)..=got).map(acks).collect::<String>()).await;
    }
    system.cursor_at(&bob, "phone", &alice, 25).await;
    system.finish().await;
}
