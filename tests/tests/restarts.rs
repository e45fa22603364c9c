//! What was there before every process was restarted is there after it. (That every flow works after a restart is in
//! each flow's own test.)

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use tests::{
    harness::{SOON, System, eventually},
    people::{delivered, delivered_group, stored},
};

#[tokio::test]
async fn everything_survives_a_restart_of_every_process() {
    let mut system = System::start(2, 2).await;
    let [alice, bob, carol] = system.users(["alice", "bob", "carol"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 1).await;
    let (of_a, of_b) = (a.token.clone(), b.token.clone());

    // Contacts, a request that waits, a block, a group, messages read and unread.
    a.done("1", "add_contact", &format!("to = {}\nmessage = \"hi\"", bob.id), "seq = 1").await;
    b.next().await;
    b.done("2", "accept_contact", &format!("to = {}", alice.id), "seq = 2\ncontact_version = \"…\"").await;
    a.next().await;
    a.done("3", "add_contact", &format!("to = {}\nmessage = \"hi\"", carol.id), "seq = 1").await;
    let keys = format!("name = \"trio\"\nmembers = [{}, {}]", bob.id, carol.id);
    let made = a.done("4", "create_group", &keys, "seq = 1\ngroup_id = \"…\"").await;
    let group = made["group_id"].as_integer().unwrap();
    b.next().await;
    a.say_group("5", group, "hello all", 2).await;
    b.expect(&delivered_group("5", "hello all", 2, group, &alice, "phone")).await;
    a.say("6", &bob, "to bob", 3).await;
    b.expect(&delivered("6", "to bob", 3, &bob, &alice, "phone")).await;
    b.request("7", "block", &format!("to = {}", carol.id)).await;
    b.next().await;
    b.send(&format!("[[a]]\nseq = 1\n[a.from]\nid = {}", alice.id)).await;
    b.send(&format!("[[a]]\nseq = 3\n[a.from]\nid = {}", alice.id)).await;
    drop((a, b));

    system.restart_all().await;
    let mut b = system.connect(&bob, "phone", &of_b, 0).await;
    let mut a = system.connect(&alice, "phone", &of_a, 1).await;
    let mut c = system.online(&carol, "phone", 0).await;
    // Bob had not acknowledged the group's two; of his talk with alice everything.
    let group_made = format!(
        "[[r]]\nid = \"4\"\nt = \"create_group\"\n{keys}\ngroup_id = {group}\nts = \"…\"\nseq = 1\n\
         from = {{ id = {}, device = \"phone\" }}",
        alice.id
    );
    let hello = delivered_group("5", "hello all", 2, group, &alice, "phone");
    let asked = format!(
        "[[r]]\nid = \"3\"\nt = \"add_contact\"\nto = {}\nmessage = \"hi\"\nts = \"…\"\nseq = 1\n\
         from = {{ id = {}, device = \"phone\" }}",
        carol.id, alice.id
    );
    b.expect_all(&[&group_made, &hello]).await;
    c.expect_all(&[&group_made, &hello, &asked]).await;

    // Nor had alice acknowledged his acceptance.
    let accepted = a.next().await;
    assert_eq!(
        (accepted["r"]["id"].as_str(), accepted["r"]["seq"].as_integer()),
        (Some("2"), Some(2)),
        "{accepted}"
    );

    // The talk goes on where it was: numbers, retries, rules.
    a.say("6", &bob, "to bob", 3).await;
    a.say("8", &bob, "and again", 4).await;
    loop {
        let entry = b.next().await;
        let seq = entry["m"]["seq"].as_integer().unwrap();
        assert!(seq == 3 || seq == 4, "{entry}");
        if seq == 4 {
            break;
        }
    }
    c.send_message("9", bob.id, "blocked?").await;
    c.expect(&tests::people::refused("9", "", "blocked")).await;
    c.done("10", "accept_contact", &format!("to = {}", alice.id), "seq = 2\ncontact_version = \"…\"").await;
    a.next().await;
    b.say_group("11", group, "we are back", 3).await;
    for wire in [&mut a, &mut c] {
        wire.expect(&delivered_group("11", "we are back", 3, group, &bob, "phone")).await;
    }
    for edge in 0..2 {
        let contacts = system.call(edge, "GET", "/contact/version/0").token(&alice.token).send().await;
        let mut ids: Vec<i64> =
            contacts.entries("user").iter().map(|u| u["id"].as_integer().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, [bob.id, carol.id], "{}", contacts.text);
    }
    system.finish().await;
}

/// One process at a time, while two users talk: nothing that was acked is missing, nothing comes in another order.
#[tokio::test]
async fn a_talk_goes_on_while_processes_restart_one_by_one() {
    let mut system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 0).await;
    let mut seq = 0;
    for worker in [0, 1] {
        for n in 1..=20 {
            a.say(&format!("a{worker}{n}"), &bob, "before", seq + n).await;
        }
        seq += 20;
        system.restart_worker(worker).await;
        for n in 1..=20 {
            a.say(&format!("b{worker}{n}"), &bob, "after", seq + n).await;
        }
        seq += 20;
    }
    system.restart_edge(1).await;
    // A worker that is killed outright: what was sent to it meanwhile is stored by the other.
    system.kill_worker(0).await;
    for n in 1..=20 {
        a.say(&format!("c{n}"), &bob, "killed", seq + n).await;
    }
    seq += 20;
    system.start_worker(0).await;
    let mut last = 0;
    while last < seq {
        let got = b.next().await["m"]["seq"].as_integer().unwrap();
        assert!(got <= last + 1, "{got} comes after {last}");
        last = last.max(got);
    }
    system.finish().await;
}

/// Messages sent while no worker runs are kept by the broker, and acked when one is back.
#[tokio::test]
async fn what_is_sent_while_no_worker_runs_is_stored_later() {
    let mut system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 1).await;
    system.kill_worker(0).await;
    system.kill_worker(1).await;
    for n in 1..=10 {
        a.send(&format!("[[m]]\nid = \"m{n}\"\nc = \"waiting\"\nack = \"queued\"\nto = {}", bob.id)).await;
        a.expect(&format!("[[a]]\nid = \"m{n}\"\nlvl = \"queued\"")).await;
    }
    // HTTP says to come again.
    let reply = eventually(SOON, async || {
        let reply = system.call(0, "GET", "/group").token(&alice.token).send().await;
        if reply.status == 503 { Ok(reply) } else { Err(format!("{} {}", reply.status, reply.text)) }
    })
    .await;
    assert!(reply.expect_refused(503, "unavailable").retry_after.is_some());
    system.start_worker(1).await;
    for n in 1..=10 {
        a.expect(&stored(&format!("m{n}"), n)).await;
    }
    for n in 1..=10 {
        b.expect(&delivered(&format!("m{n}"), "waiting", n, &bob, &alice, "phone")).await;
    }
    system.start_worker(0).await;
    system.finish().await;
}
