//! `simple-im admin lanes`: what it shows, and changing their number.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use tests::{
    harness::{SOON, System, eventually},
    people::{User, delivered, stored},
    wire::{body, kind, must_be},
};

async fn totals(system: &System) -> (i64, i64) {
    let query = "SELECT taken, stored - kept - removed FROM conservation WHERE lane IS NULL";
    let row = &system.stores.rows(query, &[]).await[0];
    (row.get(0), row.get(1))
}

/// Everybody writes to everybody: the conversations' message number `seq`, and one more between `ahead`.
async fn talk(system: &System, users: &[User], seq: i64, ahead: Option<(&User, &User)>) {
    for from in users {
        let mut wire = system.online(from, &format!("pad{seq}"), 0).await;
        for to in users.iter().filter(|to| to.id > from.id) {
            let extra = i64::from(ahead.is_some_and(|(one, other)| one.id == from.id && other.id == to.id));
            let id = format!("{seq}.{}", to.id);
            wire.send_message(&id, to.id, "hello").await;
            // What others have written comes too.
            loop {
                let entry = wire.next().await;
                if kind(&entry) == "a" && body(&entry)["id"].as_str() == Some(&id) {
                    must_be(&stored(&id, seq + extra), &entry);
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn lanes_show_their_owners_and_their_number_changes() {
    let mut system = System::start(1, 1).await;
    let users = system.users(["alice", "bob", "carol", "dave"]).await;
    talk(&system, &users, 1, None).await;
    let listed = eventually(SOON, async || {
        let listed = system.admin(&["lanes", "list"]).await.done();
        if listed.contains("4 lanes, 0 without an owner, 0 batches") { Ok(listed) } else { Err(listed) }
    })
    .await;
    assert_eq!(listed.lines().filter(|line| line.contains("w1 (pid ")).count(), 4, "{listed}");

    let refused = async |system: &System, expected: &str| {
        let said = system.admin(&["lanes", "set", "6"]).await.failed();
        assert!(said.contains(expected), "{expected}: {said}");
    };
    refused(&system, "expected no edge").await;
    // A frame that waits while every worker is away.
    let mut a = system.online(&users[0], "phone", 0).await;
    system.workers[0].stop().await;
    a.send_message("waits", users[1].id, "for a worker").await;
    eventually(SOON, async || match system.stores.pending().await? {
        (0, _) => Err("nothing waits in the stream".to_owned()),
        _ => Ok(()),
    })
    .await;
    let listed = system.admin(&["lanes", "list"]).await.done();
    assert!(listed.contains("4 without an owner, 1 batches"), "{listed}");
    assert!(listed.contains("nobody") && listed.contains(" s "), "the oldest one's age is shown: {listed}");
    system.stop_edges().await;
    refused(&system, "expected an empty stream, found 1 batches").await;
    system.start_worker(0).await;
    // Ready is not yet there to commit.
    eventually(SOON, async || {
        let listed = system.admin(&["lanes", "list"]).await.done();
        if listed.contains(" 0 without an owner") { Ok(()) } else { Err(listed) }
    })
    .await;
    refused(&system, "expected no worker").await;
    tests::harness::checks::at_rest(&system).await;
    system.workers[0].stop().await;
    let before = totals(&system).await;

    for (lanes, seq) in [(6_u16, 2), (2, 3), (2, 4)] {
        let said = system.admin(&["lanes", "set", &lanes.to_string()]).await.done();
        assert!(said.contains(&format!("are {lanes} now")), "{said}");
        if seq == 2 {
            // A worker that was not told ends itself.
            system.workers[0].launch().unwrap();
            let worker = &mut system.workers[0];
            eventually(SOON, async || if worker.has_died() { Ok(()) } else { Err("it lives".to_owned()) })
                .await;
            assert!(worker.logged().contains("was made with 6 lanes"), "{}", worker.tail());
            system.allow("was made with 6 lanes");
        }
        assert_eq!(totals(&system).await.1, 0, "stored is what is there");
        system.configure_lanes(lanes);
        system.start_all().await;
        // The waiting message was the second one of alice and bob.
        talk(&system, &users, seq, Some((&users[0], &users[1]))).await;
        system.conserved().await;
        let listed = system.admin(&["lanes", "list"]).await.done();
        assert!(listed.contains(&format!("{lanes} lanes")), "{listed}");
        if seq < 4 {
            system.stop_all().await;
        }
    }
    let rows = system.stores.number("SELECT count(*) FROM lanes", &[]).await;
    assert!(rows <= 2, "{rows} rows for 2 lanes");
    assert_eq!(totals(&system).await, (before.0 + 18, 0), "nothing of the account was lost with the lanes");
    let mut b = system.online(&users[1], "new", 0).await;
    let first = format!("1.{}", users[1].id);
    b.expect(&delivered(&first, "hello", 1, &users[1], &users[0], "pad1")).await;
    system.finish().await;
}
