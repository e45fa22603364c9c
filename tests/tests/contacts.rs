//! Contacts: asking, waiting, accepting, declining, deleting, blocking, and the version delta.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use tests::{
    harness::{System, before_and_after_restart},
    people::{User, done, refused},
    wire::Wire,
};
use toml::Table;

/// A forwarded request between two users as its target gets it.
fn forwarded(id: &str, t: &str, more: &str, seq: i64, to: &User, from: &User) -> String {
    format!(
        "[[r]]\nid = \"{id}\"\nt = \"{t}\"\nto = {}\n{more}\nts = \"…\"\nseq = {seq}\n\
         from = {{ id = {}, device = \"phone\" }}",
        to.id, from.id
    )
}

fn to(user: &User) -> String {
    format!("to = {}", user.id)
}

fn asking(user: &User, message: &str) -> String {
    format!("to = {}\nmessage = \"{message}\"", user.id)
}

/// Both on the wire, each on a node of its own.
async fn pair(system: &System) -> (User, User, Wire, Wire) {
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let a = system.online(&alice, "phone", 0).await;
    let b = system.online(&bob, "phone", 1).await;
    (alice, bob, a, b)
}

/// Makes two users contacts; the conversation then is at `seq` 2, and each side's version is returned.
async fn befriend(a: &mut Wire, alice: &User, b: &mut Wire, bob: &User) -> (i64, i64) {
    a.done("ask", "add_contact", &asking(bob, "hi"), "seq = 1").await;
    b.expect(&forwarded("ask", "add_contact", "message = \"hi\"", 1, bob, alice)).await;
    let accepted = b.done("yes", "accept_contact", &to(alice), "seq = 2\ncontact_version = \"…\"").await;
    let told = a.expect(&forwarded("yes", "accept_contact", "contact_version = \"…\"", 2, alice, bob)).await;
    (version(&told), version(&accepted))
}

fn version(entry: &Table) -> i64 {
    entry["contact_version"].as_integer().expect("a version is a number")
}

/// The delta since a version: ids, negative where deleted; and the version now.
async fn delta(system: &System, user: &User, since: i64, edge: usize) -> (Vec<i64>, i64) {
    let path = format!("/contact/version/{since}");
    let reply = system.call(edge, "GET", &path).token(&user.token).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let mut ids: Vec<i64> = reply
        .entries("user")
        .iter()
        .map(|user| {
            let id = user["id"].as_integer().unwrap();
            match user.get("deleted") {
                Some(deleted) => {
                    assert_eq!(deleted.as_integer(), Some(1));
                    -id
                }
                None => {
                    assert!(["name", "phone", "avatar"].iter().all(|key| user.contains_key(*key)), "{user}");
                    id
                }
            }
        })
        .collect();
    ids.sort_unstable();
    (ids, version(&reply.response()))
}

#[tokio::test]
async fn asking_and_accepting_make_contacts_of_both() {
    before_and_after_restart(async |system: &System| {
        let (alice, bob, mut a, mut b) = pair(system).await;
        assert!(delta(system, &alice, 0, 0).await.0.is_empty());
        let (of_alice, of_bob) = befriend(&mut a, &alice, &mut b, &bob).await;
        for edge in 0..2 {
            assert_eq!(delta(system, &alice, 0, edge).await, (vec![bob.id], of_alice));
            assert_eq!(delta(system, &bob, 0, edge).await, (vec![alice.id], of_bob));
            assert_eq!(delta(system, &alice, of_alice, edge).await, (vec![], of_alice));
        }
        let conversation = format!("dm:{}:{}", alice.id, bob.id);
        let rows = system
            .stores
            .rows(
                "SELECT seq, sender, id FROM messages WHERE conv = $1 AND kind > 0 ORDER BY seq",
                &[&conversation],
            )
            .await;
        let rows: Vec<(i64, i64, String)> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        assert_eq!(rows, [(1, alice.id, "ask".to_owned()), (2, bob.id, "yes".to_owned())]);
        let waiting =
            system.stores.number("SELECT count(*) FROM contact_requests WHERE to_id = $1", &[&bob.id]).await;
        assert_eq!(waiting, 0);
    })
    .await;
}

#[tokio::test]
async fn asking_again_waits_and_contacts_are_not_asked() {
    before_and_after_restart(async |system: &System| {
        let (alice, bob, mut a, mut b) = pair(system).await;
        a.done("1", "add_contact", &asking(&bob, "hi"), "seq = 1").await;
        a.refused("2", "add_contact", &asking(&bob, "please"), "waiting").await;
        // The very same request again is a retry: the answer it had.
        a.done("1", "add_contact", &asking(&bob, "hi"), "seq = 1").await;
        b.expect(&forwarded("1", "add_contact", "message = \"hi\"", 1, &bob, &alice)).await;
        b.send(&format!("[[r]]\nid = \"3\"\nt = \"accept_contact\"\nto = {}", alice.id)).await;
        let answer = done("3", "accept_contact", "seq = 2\ncontact_version = \"…\"");
        // The retry of "1" may have been shown to b once more.
        loop {
            let entry = b.next().await;
            if tests::wire::kind(&entry) == "rr" {
                tests::wire::must_be(&answer, &entry);
                break;
            }
            tests::wire::must_be(&forwarded("1", "add_contact", "message = \"hi\"", 1, &bob, &alice), &entry);
        }
        a.expect(&forwarded("3", "accept_contact", "contact_version = \"…\"", 2, &alice, &bob)).await;
        a.refused("4", "add_contact", &asking(&bob, "again"), "exists").await;
        b.refused("5", "add_contact", &asking(&alice, "again"), "exists").await;
    })
    .await;
}

#[tokio::test]
async fn what_nobody_asked_for_cannot_be_accepted_or_declined() {
    before_and_after_restart(async |system: &System| {
        let (alice, bob, mut a, mut b) = pair(system).await;
        b.refused("1", "accept_contact", &to(&alice), "no_request").await;
        b.refused("2", "decline_contact", &to(&alice), "no_request").await;
        a.done("3", "add_contact", &asking(&bob, "hi"), "seq = 1").await;
        // Nor one's own request.
        a.refused("4", "accept_contact", &to(&bob), "no_request").await;
        a.refused("5", "decline_contact", &to(&bob), "no_request").await;
        assert!(delta(system, &alice, 0, 1).await.0.is_empty());
        a.refused("6", "add_contact", "to = 99999999\nmessage = \"\"", "not_found").await;
        a.refused("7", "accept_contact", "to = 99999999", "not_found").await;
        a.refused("8", "add_contact", &asking(&alice, "me"), "invalid").await;
        a.refused("9", "delete_contact", &to(&bob), "not_found").await;
    })
    .await;
}

#[tokio::test]
async fn declining_ends_a_request_and_another_may_follow() {
    before_and_after_restart(async |system: &System| {
        let (alice, bob, mut a, mut b) = pair(system).await;
        a.done("1", "add_contact", &asking(&bob, "hi"), "seq = 1").await;
        b.expect(&forwarded("1", "add_contact", "message = \"hi\"", 1, &bob, &alice)).await;
        b.done("2", "decline_contact", &to(&alice), "seq = 2").await;
        a.expect(&forwarded("2", "decline_contact", "", 2, &alice, &bob)).await;
        assert!(delta(system, &alice, 0, 0).await.0.is_empty());
        b.refused("3", "accept_contact", &to(&alice), "no_request").await;
        a.done("4", "add_contact", &asking(&bob, "come on"), "seq = 3").await;
        b.expect(&forwarded("4", "add_contact", "message = \"come on\"", 3, &bob, &alice)).await;
    })
    .await;
}

#[tokio::test]
async fn deleting_a_contact_shows_in_both_deltas() {
    before_and_after_restart(async |system: &System| {
        let (alice, bob, mut a, mut b) = pair(system).await;
        let (of_alice, of_bob) = befriend(&mut a, &alice, &mut b, &bob).await;
        let answer = a.done("1", "delete_contact", &to(&bob), "seq = 3\ncontact_version = \"…\"").await;
        let told =
            b.expect(&forwarded("1", "delete_contact", "contact_version = \"…\"", 3, &bob, &alice)).await;
        assert!(version(&answer) > of_alice && version(&told) > of_bob);
        assert_eq!(delta(system, &alice, of_alice, 1).await, (vec![-bob.id], version(&answer)));
        assert_eq!(delta(system, &bob, of_bob, 0).await, (vec![-alice.id], version(&told)));
        a.refused("2", "delete_contact", &to(&bob), "not_found").await;
        // Messages need no contact relation; and they can become contacts again.
        a.say("m", &bob, "still friends?", 4).await;
        b.next().await;
        b.done("3", "add_contact", &asking(&alice, "yes"), "seq = 5").await;
        a.expect(&forwarded("3", "add_contact", "message = \"yes\"", 5, &alice, &bob)).await;
        a.done("4", "accept_contact", &to(&bob), "seq = 6\ncontact_version = \"…\"").await;
        let (ids, _) = delta(system, &alice, version(&answer), 0).await;
        assert_eq!(ids, [bob.id]);
    })
    .await;
}

#[tokio::test]
async fn two_adds_that_cross_make_contacts_at_once() {
    before_and_after_restart(async |system: &System| {
        let (alice, bob, mut a, mut b) = pair(system).await;
        a.done("1", "add_contact", &asking(&bob, "hi"), "seq = 1").await;
        b.expect(&forwarded("1", "add_contact", "message = \"hi\"", 1, &bob, &alice)).await;
        let answer =
            b.done("2", "add_contact", &asking(&alice, "hi too"), "seq = 2\ncontact_version = \"…\"").await;
        let told = a
            .expect(&forwarded(
                "2",
                "add_contact",
                "message = \"hi too\"\ncontact_version = \"…\"",
                2,
                &alice,
                &bob,
            ))
            .await;
        assert_eq!(delta(system, &alice, 0, 0).await, (vec![bob.id], version(&told)));
        assert_eq!(delta(system, &bob, 0, 1).await, (vec![alice.id], version(&answer)));

        // The same at the same moment, whichever comes first.
        let (carol, dave, mut c, mut d) = pair(system).await;
        c.request("1", "add_contact", &asking(&dave, "hi")).await;
        d.request("1", "add_contact", &asking(&carol, "hi")).await;
        for wire in [&mut c, &mut d] {
            let (first, second) = (wire.next().await, wire.next().await);
            let mut kinds = [tests::wire::kind(&first), tests::wire::kind(&second)];
            kinds.sort_unstable();
            assert_eq!(kinds, ["r", "rr"], "{first}{second}");
            for entry in [&first, &second].map(tests::wire::body) {
                assert!(entry.get("s").is_none_or(|s| s.as_integer() == Some(0)), "{entry}");
            }
        }
        assert_eq!(delta(system, &carol, 0, 1).await.0, [dave.id]);
        assert_eq!(delta(system, &dave, 0, 0).await.0, [carol.id]);
    })
    .await;
}

#[tokio::test]
async fn a_blocked_user_reaches_nobody_until_unblocked() {
    before_and_after_restart(async |system: &System| {
        let (alice, bob, mut a, mut b) = pair(system).await;
        b.request("1", "block", &to(&alice)).await;
        let blocked = b.next().await;
        assert_eq!(blocked["rr"]["s"].as_integer(), Some(0), "{blocked}");
        a.send_message("2", bob.id, "hello?").await;
        a.expect(&refused("2", "", "blocked")).await;
        a.refused("3", "add_contact", &asking(&bob, "hi"), "blocked").await;
        let kept = system.stores.number("SELECT count(*) FROM blocks WHERE user_id = $1", &[&bob.id]).await;
        assert_eq!(kept, 1);
        // The one who blocks can still write.
        b.send_message("4", alice.id, "leave me alone").await;
        let ack = b.next().await;
        assert_eq!(ack["a"]["lvl"].as_str(), Some("stored"), "{ack}");
        let got = a.next().await;
        assert_eq!(
            got["m"]["c"].as_str(),
            Some("leave me alone"),
            "who blocks is not shown to the blocked: {got}"
        );

        b.request("5", "unblock", &to(&alice)).await;
        let unblocked = b.next().await;
        assert_eq!(unblocked["rr"]["s"].as_integer(), Some(0), "{unblocked}");
        a.send_message("6", bob.id, "thank you").await;
        let ack = a.next().await;
        assert_eq!(ack["a"]["id"].as_str(), Some("6"), "{ack}");
        // Nothing that was refused has come: this is the next thing b hears.
        let got = b.next().await;
        assert_eq!(got["m"]["id"].as_str(), Some("6"), "{got}");
        b.refused("7", "block", "to = 99999999", "not_found").await;
    })
    .await;
}

/// A retry that comes late has its first answer and changes nothing by now.
#[tokio::test]
async fn a_late_retry_of_a_block_does_not_block_again() {
    before_and_after_restart(async |system: &System| {
        let (alice, bob, mut a, mut b) = pair(system).await;
        b.done("1", "block", &to(&alice), "").await;
        b.done("2", "unblock", &to(&alice), "").await;
        b.done("1", "block", &to(&alice), "").await;
        a.say("3", &bob, "may I?", 1).await;
        b.next().await;
        b.done("4", "block", &to(&alice), "").await;
        b.done("2", "unblock", &to(&alice), "").await;
        a.send_message("5", bob.id, "and now?").await;
        a.expect(&refused("5", "", "blocked")).await;
    })
    .await;
}

/// More than the broker carries in one message: the list is cut, and goes on from the version it gives.
#[tokio::test]
async fn a_long_list_of_contacts_comes_in_parts() {
    let system = System::start(1, 1).await;
    let alice = system.user("alice").await;
    let users = "INSERT INTO users (phone, name, avatar, password)
        SELECT 'n' || n, repeat('\"', 64), repeat('\"', 512), '' FROM generate_series(1, 2000) n";
    system.stores.execute(users, &[]).await;
    let contacts = "INSERT INTO contacts (user_id, contact_id, version)
        SELECT $1, id, row_number() OVER (ORDER BY id) FROM users WHERE phone LIKE 'n%'";
    system.stores.execute(contacts, &[&alice.id]).await;
    let version_now = "INSERT INTO contact_versions (user_id, version) VALUES ($1, 2000)";
    system.stores.execute(version_now, &[&alice.id]).await;
    let (mut since, mut seen, mut parts) = (0, std::collections::BTreeSet::new(), 0);
    loop {
        let path = format!("/contact/version/{since}");
        let reply = system.call(0, "GET", &path).token(&alice.token).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        parts += 1;
        for user in reply.entries("user") {
            assert!(seen.insert(user["id"].as_integer().unwrap()), "nobody is shown twice");
        }
        since = version(&reply.response());
        assert_eq!(since, seen.len() as i64, "the version of the last one shown");
        match reply.response().get("more").and_then(toml::Value::as_integer) {
            Some(more) => assert_eq!(more, 1),
            None => break,
        }
    }
    assert!(parts > 1 && seen.len() == 2000, "{} in {parts} parts", seen.len());
    system.finish().await;
}

#[tokio::test]
async fn a_request_waits_for_one_who_is_away() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut b = system.online(&bob, "phone", 1).await;
        let token = b.token.clone();
        b.nothing_but_heartbeat().await;
        drop(b);
        let mut a = system.online(&alice, "phone", 0).await;
        a.done("1", "add_contact", &asking(&bob, "while you were out"), "seq = 1").await;
        let mut b = system.connect(&bob, "phone", &token, 0).await;
        b.expect(&forwarded("1", "add_contact", "message = \"while you were out\"", 1, &bob, &alice)).await;
        drop(a);
        b.done("2", "accept_contact", &to(&alice), "seq = 2\ncontact_version = \"…\"").await;
        let mut a = system.online(&alice, "phone", 1).await;
        a.expect(&forwarded("2", "accept_contact", "contact_version = \"…\"", 2, &alice, &bob)).await;
    })
    .await;
}
