//! `ack = "queued"`, `"delivered"`, `"read"` and `"receipts"`.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use tests::{
    harness::{System, before_and_after_restart},
    people::{User, stored},
    wire::{Got, Wire},
};

/// A receipt as the sender gets it.
fn receipt(id: &str, lvl: &str, seq: i64, by: &User) -> String {
    format!("[[a]]\nid = \"{id}\"\nlvl = \"{lvl}\"\nseq = {seq}\n[a.from]\nid = {}", by.id)
}

/// Sends a message with the ack it wants; the next thing that comes must be `stored`, but for receipts that come again.
async fn say_wanting(wire: &mut Wire, id: &str, to: &User, ack: &str, seq: i64) {
    wire.send(&format!("[[m]]\nid = \"{id}\"\nc = \"hello\"\nack = \"{ack}\"\nto = {}", to.id)).await;
    loop {
        let entry = wire.next().await;
        if !is_receipt(&entry) {
            return tests::wire::must_be(&stored(id, seq), &entry);
        }
    }
}

/// One that was told already may come again: it is kept until the node has said that it was told, and a backlog that is
/// read in between brings it.
fn is_receipt(entry: &toml::Table) -> bool {
    let lvl = entry.get("a").and_then(|a| a.get("lvl")).and_then(toml::Value::as_str);
    matches!(lvl, Some("delivered" | "read"))
}

#[tokio::test]
async fn queued_comes_before_stored() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        a.send(&format!("[[m]]\nid = \"1\"\nc = \"hello\"\nack = \"queued\"\nto = {}", bob.id)).await;
        a.expect_all(&["[[a]]\nid = \"1\"\nlvl = \"queued\"", &stored("1", 1)]).await;
        say_wanting(&mut a, "2", &bob, "stored", 2).await;
        a.send(&format!("[[m]]\nid = \"3\"\nc = \"hello\"\nack = \"sometime\"\nto = {}", bob.id)).await;
        a.expect(&tests::people::refused("3", "", "invalid")).await;
    })
    .await;
}

#[tokio::test]
async fn delivered_comes_when_a_device_acknowledges() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        let mut b = system.online(&bob, "phone", 1).await;
        say_wanting(&mut a, "1", &bob, "delivered", 1).await;
        b.next().await;
        a.nothing_but_heartbeat().await;
        b.acknowledge("1", 1, &alice).await;
        expect_receipt(&mut a, "1", "delivered", 1, &bob).await;
        // A message that did not ask gets none.
        say_wanting(&mut a, "2", &bob, "stored", 2).await;
        b.next().await;
        b.acknowledge("2", 2, &alice).await;
        say_wanting(&mut a, "3", &bob, "delivered", 3).await;
        b.next().await;
        b.send("[[a]]\nid = \"3\"").await;
        expect_receipt(&mut a, "3", "delivered", 3, &bob).await;
    })
    .await;
}

#[tokio::test]
async fn read_comes_when_a_recipient_has_read() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        let mut b = system.online(&bob, "phone", 1).await;
        for n in 1..=3 {
            say_wanting(&mut a, &n.to_string(), &bob, "read", n).await;
            b.next().await;
            b.acknowledge(&n.to_string(), n, &alice).await;
        }
        b.send(&format!("[[a]]\nlvl = \"read\"\nseq = 2\n[a.from]\nid = {}", alice.id)).await;
        // Everything up to it is read, and no more than that.
        let mut open = vec![1, 2];
        while !open.is_empty() {
            let entry = a.next().await;
            let seq = entry["a"]["seq"].as_integer().unwrap();
            tests::wire::must_be(&receipt(&seq.to_string(), "read", seq, &bob), &without_device(&entry));
            assert!(seq <= 2, "3 is not read yet: {entry}");
            open.retain(|n| *n != seq);
        }
        // From another device, at any time, without having got it there.
        let mut tablet = system.online(&bob, "tablet", 0).await;
        tablet.send(&format!("[[a]]\nlvl = \"read\"\nseq = 3\n[a.from]\nid = {}", alice.id)).await;
        expect_receipt(&mut a, "3", "read", 3, &bob).await;
    })
    .await;
}

#[tokio::test]
async fn both_receipts_come_to_who_asks_for_both() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        let mut b = system.online(&bob, "phone", 1).await;
        say_wanting(&mut a, "1", &bob, "receipts", 1).await;
        b.next().await;
        b.acknowledge("1", 1, &alice).await;
        expect_receipt(&mut a, "1", "delivered", 1, &bob).await;
        // It is not taken for one that was read.
        a.send_heartbeat().await;
        loop {
            match a.got().await {
                Got::Heartbeat => break,
                Got::Entry(entry) => {
                    tests::wire::must_be(&receipt("1", "delivered", 1, &bob), &without_device(&entry));
                }
                other => panic!("{other:?}"),
            }
        }
        b.send(&format!("[[a]]\nlvl = \"read\"\nseq = 1\n[a.from]\nid = {}", alice.id)).await;
        expect_receipt(&mut a, "1", "read", 1, &bob).await;
    })
    .await;
}

#[tokio::test]
async fn a_sender_who_is_away_gets_its_receipts_at_login() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        let mut b = system.online(&bob, "phone", 1).await;
        let token = a.token.clone();
        say_wanting(&mut a, "1", &bob, "delivered", 1).await;
        say_wanting(&mut a, "2", &bob, "read", 2).await;
        a.end().await;
        while a.got().await != tests::wire::Got::Closed {}
        for n in 1..=2 {
            b.next().await;
            b.acknowledge(&n.to_string(), n, &alice).await;
        }
        b.send(&format!("[[a]]\nlvl = \"read\"\nseq = 2\n[a.from]\nid = {}", alice.id)).await;
        tests::harness::eventually(tests::harness::SOON, async || {
            let kept =
                system.stores.number("SELECT count(*) FROM receipts WHERE user_id = $1", &[&alice.id]).await;
            if kept == 2 { Ok(()) } else { Err(format!("{kept} receipts are kept for alice")) }
        })
        .await;
        let mut a = system.connect(&alice, "phone", &token, 1).await;
        let mut open = vec![(1, "delivered"), (2, "read")];
        while !open.is_empty() {
            let entry = a.next().await;
            let seq = entry["a"]["seq"].as_integer().unwrap();
            let lvl = entry["a"]["lvl"].as_str().unwrap().to_owned();
            tests::wire::must_be(&receipt(&seq.to_string(), &lvl, seq, &bob), &without_device(&entry));
            open.retain(|kept| *kept != (seq, lvl.as_str()));
        }
        // Told once, they are forgotten.
        tests::harness::eventually(tests::harness::SOON, async || {
            let kept =
                system.stores.number("SELECT count(*) FROM receipts WHERE user_id = $1", &[&alice.id]).await;
            if kept == 0 { Ok(()) } else { Err(format!("{kept} receipts are still kept for alice")) }
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn in_a_group_each_reader_gives_a_receipt() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob, carol] = system.users(["alice", "bob", "carol"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        let mut b = system.online(&bob, "phone", 1).await;
        let mut c = system.online(&carol, "phone", 0).await;
        let keys = format!("name = \"trio\"\nmembers = [{}, {}]", bob.id, carol.id);
        let made = a.done("g", "create_group", &keys, "seq = 1\ngroup_id = \"…\"").await;
        let group = made["group_id"].as_integer().unwrap();
        a.send(&format!("[[gm]]\nid = \"1\"\nc = \"hello\"\nack = \"read\"\ngroup = {group}")).await;
        a.expect(&stored("1", 2)).await;
        for (wire, user) in [(&mut b, &bob), (&mut c, &carol)] {
            wire.next().await;
            wire.next().await;
            wire.send(&format!("[[a]]\nlvl = \"read\"\nseq = 2\ngroup = {group}")).await;
            let expected = |user: &User| {
                format!(
                    "[[a]]\nid = \"1\"\nlvl = \"read\"\nseq = 2\ngroup = {group}\n[a.from]\nid = {}",
                    user.id
                )
            };
            let mut entry = a.next().await;
            // Receipts are at-least-once: bob's may come again before carol's.
            while user.id != bob.id && entry["a"]["from"]["id"].as_integer() == Some(bob.id) {
                tests::wire::must_be(&expected(&bob), &without_device(&entry));
                entry = a.next().await;
            }
            tests::wire::must_be(&expected(user), &without_device(&entry));
        }
    })
    .await;
}

/// Receipts are at-least-once: those that must have come already, of this message or of earlier ones, may come again
/// before this one.
async fn expect_receipt(wire: &mut Wire, id: &str, lvl: &str, seq: i64, by: &User) {
    let step = |seq: i64, lvl: &str| (seq, lvl == "read");
    loop {
        let entry = wire.next().await;
        let found = entry["a"]["seq"].as_integer().zip(entry["a"]["lvl"].as_str());
        if found.is_none_or(|(found, of)| step(found, of) >= step(seq, lvl)) {
            return tests::wire::must_be(&receipt(id, lvl, seq, by), &without_device(&entry));
        }
    }
}

/// A receipt says which device acknowledged where that is known; these tests do not care.
fn without_device(entry: &toml::Table) -> toml::Table {
    let mut entry = entry.clone();
    if let Some(from) =
        entry.get_mut("a").and_then(|a| a.get_mut("from")).and_then(|from| from.as_table_mut())
    {
        from.remove("device");
    }
    entry
}
