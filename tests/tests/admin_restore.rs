//! `simple-im admin after-restore`: a restored backup numbers nothing again that clients have seen, and nobody is shown
//! how that is done.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use tests::{
    harness::System,
    people::{User, delivered, delivered_group},
};

fn talk(one: &User, other: &User) -> String {
    format!("dm:{}:{}", one.id.min(other.id), one.id.max(other.id))
}

/// Takes the store back to what a backup would have: of one conversation the newest messages are lost, and of another it
/// knows nothing.
async fn go_back(system: &System, lost_after: (&str, i64), unknown: &str) {
    let (conv, seq) = lost_after;
    system.stores.execute("DELETE FROM messages WHERE conv = $1 AND seq > $2", &[&conv, &seq]).await;
    system.stores.execute("UPDATE cursors SET seq = least(seq, $2) WHERE conv = $1", &[&conv, &seq]).await;
    for table in ["messages", "participants", "cursors", "reads"] {
        system.stores.execute(&format!("DELETE FROM {table} WHERE conv = $1"), &[&unknown]).await;
    }
}

/// Rows that only keep a place.
async fn gaps(system: &System) -> i64 {
    system.stores.number("SELECT count(*) FROM messages WHERE kind < 0", &[]).await
}

#[tokio::test]
async fn conversations_go_on_where_no_client_has_been() {
    let mut system = System::start(2, 2).await;
    let [alice, bob, carol] = system.users(["alice", "bob", "carol"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 1).await;
    let mut c = system.online(&carol, "phone", 1).await;
    let (with_bob, with_carol) = (talk(&alice, &bob), talk(&alice, &carol));
    for seq in 1..=5 {
        a.say(&format!("b{seq}"), &bob, "hello", seq).await;
        b.expect(&delivered(&format!("b{seq}"), "hello", seq, &bob, &alice, "phone")).await;
        b.acknowledge(&format!("b{seq}"), seq, &alice).await;
    }
    a.say("c1", &carol, "hello", 1).await;
    c.expect(&delivered("c1", "hello", 1, &carol, &alice, "phone")).await;
    let keys = format!("name = \"us\"\nmembers = [{}]", bob.id);
    let made = a.done("g", "create_group", &keys, "seq = 1\ngroup_id = \"…\"").await;
    let group = made["group_id"].as_integer().unwrap();
    b.next().await;
    a.request("ask", "add_contact", &format!("to = {}\nmessage = \"hi\"", bob.id)).await;
    a.next().await;
    b.next().await;
    b.request("yes", "accept_contact", &format!("to = {}", alice.id)).await;
    let answer = b.next().await;
    let version = tests::wire::body(&answer)["contact_version"].as_integer().unwrap();
    a.next().await;
    system.cursor_at(&bob, "phone", &alice, 5).await;

    let said = system.admin(&["after-restore"]).await.failed();
    assert!(said.contains("expected no worker"), "{said}");
    for worker in 0..2 {
        system.workers[worker].stop().await;
    }
    go_back(&system, (&with_bob, 3), &with_carol).await;
    let said = system.admin(&["after-restore"]).await.done();
    assert!(
        said.contains("2 conversations go on 1000000 further") && said.contains("keys of Redis are gone"),
        "{said}"
    );
    assert_eq!(gaps(&system).await, 2, "one in each conversation that the backup knows");
    let said = system.admin(&["after-restore"]).await.failed();
    assert!(said.contains("--again"), "{said}");
    for worker in 0..2 {
        system.start_worker(worker).await;
    }

    // Sessions that were there all along, with what the backup has lost, are shown what comes.
    a.say("b6", &bob, "after", 1_000_004).await;
    b.expect(&delivered("b6", "after", 1_000_004, &bob, &alice, "phone")).await;
    a.say("b7", &bob, "after", 1_000_005).await;
    b.expect(&delivered("b7", "after", 1_000_005, &bob, &alice, "phone")).await;
    a.say("c2", &carol, "after", 1_000_001).await;
    c.expect(&delivered("c2", "after", 1_000_001, &carol, &alice, "phone")).await;
    a.say_group("g2", group, "after", 1_000_002).await;
    b.expect(&delivered_group("g2", "after", 1_000_002, group, &alice, "phone")).await;
    let took_part = "SELECT count(*) FROM participants WHERE conv = $1 AND from_seq = 1 AND to_seq IS NULL";
    assert_eq!(system.stores.number(took_part, &[&with_carol]).await, 2);

    // A device that comes later sees messages, and nothing else.
    let mut tablet = system.online(&bob, "tablet", 0).await;
    let mut shown = Vec::new();
    for _ in 0..4 {
        shown.push(tests::wire::body(&tablet.next().await)["seq"].as_integer().unwrap());
    }
    shown.sort_unstable();
    assert_eq!(shown, [1, 1_000_002, 1_000_004, 1_000_005], "it begins where the user's furthest device is");
    tablet.nothing_but_heartbeat().await;
    let get = |path: String, token: String| system.call(0, "GET", &path).token(&token).send();
    let history = get(format!("/history?with={}&limit=200", alice.id), bob.token.clone()).await;
    let seqs: Vec<i64> =
        history.body["m"].as_array().unwrap().iter().map(|m| m["seq"].as_integer().unwrap()).collect();
    assert_eq!(seqs, [1, 2, 3, 1_000_004, 1_000_005]);
    let listed = get("/conversation".to_owned(), carol.token.clone()).await;
    let row = &listed.body["conversation"].as_array().unwrap()[0];
    assert_eq!(row["unread"].as_integer(), Some(1), "{listed:?}");

    // What is new is new: users, groups, and contact versions.
    let dave = system.user("dave").await;
    assert!(dave.id > 1_000_000, "{}", dave.id);
    let keys = format!("name = \"more\"\nmembers = [{}]", bob.id);
    let made = a.done("g3", "create_group", &keys, "seq = 1\ngroup_id = \"…\"").await;
    assert!(made["group_id"].as_integer().unwrap() > 1_000_000, "{made}");
    let contacts = get(format!("/contact/version/{version}"), bob.token.clone()).await;
    assert_eq!(
        contacts.response()["contact_version"].as_integer(),
        Some(version + 1_000_000),
        "{contacts:?}"
    );
    assert_eq!(contacts.body["user"].as_array().map(Vec::len), Some(1), "{contacts:?}");
    let (action, target, result) = system.last_audited().await;
    assert_eq!((&action[..], &target[..]), ("after-restore", "1 million"));
    assert!(result.starts_with("failed: ") && result.contains("--again"), "{result}");
    system.finish().await;
}

/// Cut short it goes on where it was; wanted again, it goes on from there.
#[tokio::test]
async fn a_run_that_was_cut_short_moves_each_conversation_once() {
    let mut system = System::start(1, 1).await;
    let users = system.users(["alice", "bob", "carol", "dave"]).await;
    let mut a = system.online(&users[0], "phone", 0).await;
    for to in &users[1..] {
        a.say(&format!("to {}", to.name), to, "hello", 1).await;
    }
    system.workers[0].stop().await;
    let newest = async |system: &System| -> Vec<i64> {
        let query = "SELECT max(seq) FROM messages GROUP BY conv ORDER BY conv";
        system.stores.rows(query, &[]).await.iter().map(|row| row.get(0)).collect()
    };
    let refuse = format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN IF NEW.conv = '{}' THEN RAISE EXCEPTION 'cut short'; END IF; RETURN NEW; END $$",
        talk(&users[0], &users[2])
    );
    system.stores.execute(&refuse, &[]).await;
    let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION refuse()";
    system.stores.execute(trigger, &[]).await;
    assert!(system.admin(&["after-restore", "--batch", "1"]).await.failed().contains("cut short"));
    assert_eq!(newest(&system).await, [1_000_001, 1, 1]);
    system.stores.execute("DROP TRIGGER refuse ON messages", &[]).await;
    let said = system.admin(&["after-restore", "--batch", "1"]).await.done();
    assert!(said.contains("3 conversations") && said.contains("cut short"), "{said}");
    assert_eq!(newest(&system).await, [1_000_001; 3]);
    let floor = "SELECT floor FROM numbering";
    assert_eq!(system.stores.number(floor, &[]).await, 1_000_000);

    let said = system.admin(&["after-restore", "--again", "--millions", "2"]).await.done();
    assert!(said.contains("3 conversations go on 2000000 further"), "{said}");
    assert_eq!(newest(&system).await, [3_000_001; 3]);
    assert_eq!(system.stores.number(floor, &[]).await, 3_000_000);
    system.start_worker(0).await;
    for to in &users[1..] {
        a.say(&format!("again to {}", to.name), to, "hello", 3_000_002).await;
    }
    system.finish().await;
}
