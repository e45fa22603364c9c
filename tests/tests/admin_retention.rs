//! `simple-im admin retention`: what goes, what stays, what clients get afterwards, and that talk goes on meanwhile.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use tests::{
    harness::{SOON, System, eventually},
    people::{User, delivered, stored},
};

const DAY: i64 = 86_400;

fn talk(one: &User, other: &User) -> String {
    format!("dm:{}:{}", one.id.min(other.id), one.id.max(other.id))
}

/// Makes a conversation's messages up to `seq` so much older.
async fn age(system: &System, conversation: &str, seq: i64, days: i64) {
    let query = "UPDATE messages SET ts = ts - $3 WHERE conv = $1 AND seq <= $2";
    assert!(system.stores.execute(query, &[&conversation, &seq, &(days * DAY)]).await > 0);
}

/// The numbers that a conversation has.
async fn seqs(system: &System, conversation: &str) -> Vec<i64> {
    let rows =
        system.stores.rows("SELECT seq FROM messages WHERE conv = $1 ORDER BY seq", &[&conversation]).await;
    rows.iter().map(|row| row.get(0)).collect()
}

/// Texts that retention has removed, and whether the account holds with them.
async fn removed(system: &System) -> (i64, bool) {
    let row = &system
        .stores
        .rows("SELECT removed, stored = kept + removed FROM conservation WHERE lane IS NULL", &[])
        .await[0];
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn what_is_old_goes_and_every_conversation_keeps_its_newest() {
    let system = System::start(1, 2).await;
    let [alice, bob, carol] = system.users(["alice", "bob", "carol"]).await;
    system.directory_stands().await;
    let mut a = system.online(&alice, "phone", 0).await;
    // Carol has a device, and is away: what she is owed is in Redis too, and receipts wait for nobody.
    let c = system.online(&carol, "phone", 0).await;
    let token = c.token.clone();
    drop(c);
    system.away(&carol).await;
    for seq in 1..=20 {
        a.send(&format!("[[m]]\nid = \"b{seq}\"\nc = \"to bob\"\nto = {}\nack = \"delivered\"", bob.id))
            .await;
        a.expect(&stored(&format!("b{seq}"), seq)).await;
        a.say(&format!("c{seq}"), &carol, "to carol", seq).await;
    }
    let made = a
        .done(
            "g",
            "create_group",
            &format!("name = \"us\"\nmembers = [{}]", bob.id),
            "seq = 1\ngroup_id = \"…\"",
        )
        .await;
    let group = made["group_id"].as_integer().unwrap();
    for seq in 2..=6 {
        a.say_group(&format!("g{seq}"), group, "to all", seq).await;
    }
    let (with_bob, with_carol, of_group) = (talk(&alice, &bob), talk(&alice, &carol), format!("g:{group}"));
    age(&system, &with_bob, 12, 100).await;
    age(&system, &with_carol, 20, 100).await;
    age(&system, &of_group, 3, 100).await;
    // One that was stamped by a clock ten years ahead hides nothing behind it.
    let ahead = "UPDATE messages SET ts = ts + 400 * 86400 WHERE conv = $1 AND seq = 5";
    system.stores.execute(ahead, &[&with_bob]).await;
    // Receipts for one that goes and one that stays, not yet told.
    drop(a);
    system.away(&alice).await;
    for seq in [3_i64, 15] {
        let query = "INSERT INTO receipts (user_id, device, conv, seq, by_id, read, id) VALUES ($1, 'phone', $2, $3, $4, false, 'x')";
        system.stores.execute(query, &[&alice.id, &with_bob, &seq, &bob.id]).await;
    }

    let refused = async |arguments: &[&str], expected: &str| {
        let said = system.admin(arguments).await.failed();
        assert!(said.contains(expected), "{expected}: {said}");
    };
    refused(&["retention", "--older-than", "5d"], "device_days").await;
    refused(&["retention", "--older-than", "5w"], "d, h, m or s").await;
    let dry = system.admin(&["retention", "--older-than", "90d", "--dry-run"]).await.done();
    assert!(dry.starts_with("33 messages of 3 conversations would go"), "{dry}");
    assert_eq!(removed(&system).await, (0, true));

    let said =
        system.admin(&["retention", "--older-than", "90d", "--batch", "4", "--pause-ms", "0"]).await.done();
    assert!(said.starts_with("33 messages of 3 conversations are gone, 1 receipts with them"), "{said}");
    let left: Vec<i64> = [5].into_iter().chain(13..=20).collect();
    assert_eq!(seqs(&system, &with_bob).await, left);
    assert_eq!(seqs(&system, &with_carol).await, [20], "all were old, and the newest stays");
    assert_eq!(seqs(&system, &of_group).await, [4, 5, 6]);
    // The group's first was a request, whose answer is kept.
    assert_eq!(removed(&system).await, (32, true));
    let receipts = "SELECT sum(seq)::bigint FROM receipts";
    assert_eq!(system.stores.number(receipts, &[]).await, 15);
    // Again, there is nothing to do.
    let said = system.admin(&["retention", "--older-than", "90d"]).await.done();
    assert!(said.starts_with("0 messages of 0 conversations are gone"), "{said}");

    let mut a = system.online(&alice, "phone", 0).await;
    assert_eq!(tests::wire::body(&a.next().await)["seq"].as_integer(), Some(15), "the receipt that stayed");

    // Numbers go on, and nobody sees a gap as anything but what is gone.
    a.say("c21", &carol, "new", 21).await;
    a.say("b21", &bob, "new", 21).await;
    let mut c = system.connect(&carol, "phone", &token, 0).await;
    c.expect(&delivered("c20", "to carol", 20, &carol, &alice, "phone")).await;
    c.expect(&delivered("c21", "new", 21, &carol, &alice, "phone")).await;
    let older =
        system.call(0, "GET", &format!("/history?with={}&before=20", alice.id)).token(&token).send().await;
    assert_eq!(older.status, 200);
    assert!(older.body.get("m").is_none() && older.response()["more"].as_integer() == Some(0), "{older:?}");
    let history = system
        .call(0, "GET", &format!("/history?with={}&limit=200", alice.id))
        .token(&bob.token)
        .send()
        .await;
    assert_eq!(history.body["m"].as_array().unwrap().len(), 10, "{history:?}");
    // A retry of something kept is known; one of something that is gone is a message of its own.
    a.send(&format!("[[m]]\nid = \"b13\"\nc = \"to bob\"\nto = {}\nack = \"delivered\"", bob.id)).await;
    a.expect(&stored("b13", 13)).await;
    a.send(&format!("[[m]]\nid = \"b1\"\nc = \"to bob\"\nto = {}\nack = \"delivered\"", bob.id)).await;
    a.expect(&stored("b1", 22)).await;
    system.finish().await;
}

/// Younger than the cache of bodies: they go from Redis, too.
#[tokio::test]
async fn cached_bodies_go_with_their_messages() {
    let system = System::start(1, 1).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    // Before anybody is there: a node that registers its sessions later may name one that has gone.
    system.directory_stands().await;
    let b = system.online(&bob, "phone", 0).await;
    drop(b);
    system.away(&bob).await;
    let mut a = system.online(&alice, "phone", 0).await;
    for seq in 1..=5 {
        a.say(&format!("m{seq}"), &bob, "hello", seq).await;
    }
    let bodies = async || system.stores.keys(&format!("offline_{}_*", bob.id)).await.len();
    eventually(SOON, async || match bodies().await {
        5 => Ok(()),
        found => Err(format!("{found} bodies")),
    })
    .await;
    age(&system, &talk(&alice, &bob), 3, 3).await;
    system.admin(&["retention", "--older-than", "2d", "--unseen-too"]).await.done();
    assert_eq!(bodies().await, 2);
    system.finish().await;
}

/// A conversation of many windows, many conversations, and users who talk while they are swept.
#[tokio::test]
async fn talk_goes_on_while_much_is_removed() {
    let system = System::start(1, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 0).await;
    let with_bob = talk(&alice, &bob);
    a.say("1", &bob, "hello", 1).await;
    b.expect(&delivered("1", "hello", 1, &bob, &alice, "phone")).await;
    let fill = "INSERT INTO messages (conv, seq, sender, ts, kind, want, device, id, content, digest)
        SELECT c, s, 1, CASE WHEN s <= n - 3 THEN 1000 ELSE 2000000000 END, 0, 0, 'x', s::text, 'text', decode(md5(c || s), 'hex')
        FROM (SELECT 'dm:1:' || (1000 + k) AS c, CASE WHEN k = 7 THEN 2500 ELSE 5 END AS n FROM generate_series(1, 1200) k) convs,
             generate_series(1, n) s";
    system.stores.execute(fill, &[]).await;
    let sweeping = system.admin(&["retention", "--older-than", "90d", "--batch", "300", "--pause-ms", "1"]);
    let talking = async {
        for seq in 2..=40 {
            let id = seq.to_string();
            a.say(&id, &bob, "still here", seq).await;
            b.expect(&delivered(&id, "still here", seq, &bob, &alice, "phone")).await;
        }
    };
    let (swept, ()) = tokio::join!(sweeping, talking);
    let said = swept.done();
    let expected = 1199 * 2 + 2497;
    assert!(said.starts_with(&format!("{expected} messages of 1200 conversations are gone")), "{said}");
    let rows = system.stores.number("SELECT count(*) FROM messages WHERE conv <> $1", &[&with_bob]).await;
    assert_eq!(rows, 1200 * 3);
    let newest = "SELECT count(*) FROM (SELECT conv, max(seq) AS s FROM messages WHERE conv <> $1 GROUP BY conv) n WHERE s IN (5, 2500)";
    assert_eq!(system.stores.number(newest, &[&with_bob]).await, 1200, "each keeps its newest");
    assert_eq!(seqs(&system, &with_bob).await.len(), 40);
    // One at a time.
    system
        .stores
        .rows(
            "SELECT pg_advisory_lock(hashtextextended('simple-im retention ' || $1, 0))",
            &[&system.stores.name],
        )
        .await;
    let said = system.admin(&["retention", "--older-than", "90d"]).await.failed();
    assert!(said.contains("another retention runs"), "{said}");
    system.finish().await;
}
