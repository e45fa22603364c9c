//! Groups: making, joining, leaving, removing, dissolving, and who hears what.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use tests::{
    harness::{Options, System, before_and_after_restart},
    people::{User, delivered_group, done, refused},
    wire::{Wire, body, must_be},
};
use toml::{Table, Value};

fn members(users: &[&User]) -> String {
    let ids: Vec<String> = users.iter().map(|user| user.id.to_string()).collect();
    format!("members = [{}]", ids.join(", "))
}

fn member(group: i64, user: &User) -> String {
    format!("group_id = {group}\nmember_id = {}", user.id)
}

/// A group's change as its members get it.
fn change(id: &str, t: &str, keys: &str, seq: i64, from: &User) -> String {
    format!(
        "[[r]]\nid = \"{id}\"\nt = \"{t}\"\n{keys}\nts = \"…\"\nseq = {seq}\n\
         from = {{ id = {}, device = \"phone\" }}",
        from.id
    )
}

/// Makes a group; its id.
async fn create(wire: &mut Wire, others: &[&User]) -> i64 {
    let keys = format!("name = \"friends\"\n{}", members(others));
    let made = wire.done("make", "create_group", &keys, "seq = 1\ngroup_id = \"…\"").await;
    made["group_id"].as_integer().expect("a group's id is a number")
}

/// Three users on two nodes, the first of whom has made a group of the three, which all have heard of.
async fn three(system: &System) -> (i64, [User; 3], [Wire; 3]) {
    let users = system.users(["alice", "bob", "carol"]).await;
    let mut a = system.online(&users[0], "phone", 0).await;
    let mut b = system.online(&users[1], "phone", 1).await;
    let mut c = system.online(&users[2], "phone", 0).await;
    let group = create(&mut a, &[&users[1], &users[2]]).await;
    let keys = format!("name = \"friends\"\n{}\ngroup_id = {group}", members(&[&users[1], &users[2]]));
    for wire in [&mut b, &mut c] {
        wire.expect(&change("make", "create_group", &keys, 1, &users[0])).await;
    }
    (group, users, [a, b, c])
}

async fn member_ids(system: &System, group: i64, user: &User, edge: usize) -> Vec<i64> {
    let reply = system.call(edge, "GET", &format!("/group/{group}")).token(&user.token).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    ids_in(&Value::Table(reply.body.clone()), "members").unwrap_or_else(|| {
        let mut ids: Vec<i64> =
            reply.entries("user").iter().map(|user| user["id"].as_integer().unwrap()).collect();
        ids.sort_unstable();
        ids
    })
}

/// The numbers of the first array with this name, wherever it stands.
fn ids_in(value: &Value, name: &str) -> Option<Vec<i64>> {
    match value {
        Value::Table(table) => {
            if let Some(Value::Array(ids)) = table.get(name) {
                let mut ids: Vec<i64> = ids.iter().filter_map(Value::as_integer).collect();
                ids.sort_unstable();
                return Some(ids);
            }
            table.values().find_map(|value| ids_in(value, name))
        }
        Value::Array(values) => values.iter().find_map(|value| ids_in(value, name)),
        _ => None,
    }
}

#[tokio::test]
async fn a_group_is_made_and_all_its_members_hear_all_of_it() {
    before_and_after_restart(async |system: &System| {
        let (group, [alice, bob, carol], [mut a, mut b, mut c]) = three(system).await;
        system.cursor_in(&alice, "phone", &format!("g:{group}"), 1).await;
        let mut tablet = system.online(&alice, "tablet", 1).await;
        a.say_group("g1", group, "hello all", 2).await;
        for wire in [&mut b, &mut c, &mut tablet] {
            wire.expect(&delivered_group("g1", "hello all", 2, group, &alice, "phone")).await;
        }
        b.say_group("g2", group, "hello alice", 3).await;
        for wire in [&mut a, &mut c, &mut tablet] {
            wire.expect(&delivered_group("g2", "hello alice", 3, group, &bob, "phone")).await;
        }
        // Repeated, it is one message.
        b.say_group("g2", group, "hello alice", 3).await;
        let conversation = format!("g:{group}");
        assert_eq!(
            system.stores.number("SELECT count(*) FROM messages WHERE conv = $1", &[&conversation]).await,
            3
        );
        for (edge, user) in [&alice, &bob, &carol].into_iter().enumerate() {
            assert_eq!(member_ids(system, group, user, edge % 2).await, [alice.id, bob.id, carol.id]);
            let mine = system.call(edge % 2, "GET", "/group").token(&user.token).send().await;
            let ids: Vec<_> = mine.entries("group").iter().map(|group| group["id"].as_integer()).collect();
            assert_eq!(ids, [Some(group)], "{}", mine.text);
        }
    })
    .await;
}

#[tokio::test]
async fn outsiders_are_refused() {
    before_and_after_restart(async |system: &System| {
        let (group, [alice, bob, _], [mut a, mut b, _c]) = three(system).await;
        let dave = system.user("dave").await;
        let mut d = system.online(&dave, "phone", 1).await;
        d.send(&format!("[[gm]]\nid = \"1\"\nc = \"let me in\"\ngroup = {group}")).await;
        d.expect(&refused("1", "", "not_member")).await;
        d.refused("2", "create_group_member", &member(group, &dave), "not_member").await;
        d.refused("3", "delete_group_member", &member(group, &bob), "not_member").await;
        d.refused("4", "delete_group_member", &format!("group_id = {group}"), "not_member").await;
        d.refused("5", "delete_group", &format!("group_id = {group}"), "not_member").await;
        d.refused("6", "create_group_member", "group_id = 99999999\nmember_id = 1", "not_found").await;
        d.refused("7", "delete_group", "group_id = 99999999", "not_found").await;
        d.refused("8", "create_group", "name = \"ghosts\"\nmembers = [99999999]", "not_found").await;
        let call = |path: String| system.call(0, "GET", &path).token(&dave.token).send();
        call(format!("/group/{group}")).await.expect_refused(403, "not_member");
        call(format!("/history?group={group}")).await.expect_refused(403, "not_member");
        call("/group/99999999".to_owned()).await.expect_refused(404, "not_found");
        // Nothing of it was heard inside.
        a.say_group("in", group, "just us", 2).await;
        b.expect(&delivered_group("in", "just us", 2, group, &alice, "phone")).await;
    })
    .await;
}

#[tokio::test]
async fn the_creator_adds_anyone_and_a_member_its_contacts() {
    before_and_after_restart(async |system: &System| {
        let (group, [alice, bob, carol], [mut a, mut b, mut c]) = three(system).await;
        let [dave, erin] = system.users(["dave", "erin"]).await;
        let mut d = system.online(&dave, "phone", 1).await;
        a.done("add", "create_group_member", &member(group, &dave), "seq = 2").await;
        let told = change("add", "create_group_member", &member(group, &dave), 2, &alice);
        for wire in [&mut b, &mut c, &mut d] {
            wire.expect(&told).await;
        }
        a.refused("again", "create_group_member", &member(group, &dave), "exists").await;
        a.refused(
            "nobody",
            "create_group_member",
            &format!("group_id = {group}\nmember_id = 99999999"),
            "not_found",
        )
        .await;

        b.refused("stranger", "create_group_member", &member(group, &erin), "forbidden").await;
        let mut e = system.online(&erin, "phone", 0).await;
        b.done("ask", "add_contact", &format!("to = {}\nmessage = \"\"", erin.id), "seq = 1").await;
        e.next().await;
        e.done("yes", "accept_contact", &format!("to = {}", bob.id), "seq = 2\ncontact_version = \"…\"")
            .await;
        b.next().await;
        b.done("friend", "create_group_member", &member(group, &erin), "seq = 3").await;
        let told = change("friend", "create_group_member", &member(group, &erin), 3, &bob);
        for wire in [&mut a, &mut c, &mut d, &mut e] {
            wire.expect(&told).await;
        }
        e.say_group("hi", group, "hello everyone", 4).await;
        for wire in [&mut a, &mut b, &mut c, &mut d] {
            wire.expect(&delivered_group("hi", "hello everyone", 4, group, &erin, "phone")).await;
        }
        let all = member_ids(system, group, &erin, 1).await;
        assert_eq!(all, [alice.id, bob.id, carol.id, dave.id, erin.id]);
    })
    .await;
}

/// A new member's history begins with its joining, a removed one's ends with its removal.
#[tokio::test]
async fn members_see_their_own_time_only() {
    before_and_after_restart(async |system: &System| {
        let (group, [alice, bob, _carol], [mut a, mut b, _c]) = three(system).await;
        let dave = system.user("dave").await;
        let mut d = system.online(&dave, "phone", 1).await;
        a.say_group("before", group, "before dave", 2).await;
        a.done("add", "create_group_member", &member(group, &dave), "seq = 3").await;
        a.say_group("during", group, "with dave", 4).await;
        d.expect(&change("add", "create_group_member", &member(group, &dave), 3, &alice)).await;
        d.expect(&delivered_group("during", "with dave", 4, group, &alice, "phone")).await;

        b.expect(&delivered_group("before", "before dave", 2, group, &alice, "phone")).await;
        b.expect(&change("add", "create_group_member", &member(group, &dave), 3, &alice)).await;
        b.expect(&delivered_group("during", "with dave", 4, group, &alice, "phone")).await;
        b.refused("no", "delete_group_member", &member(group, &dave), "forbidden").await;

        // Offline for his removal, dave learns of it and of nothing after it.
        let token = d.token.clone();
        d.send(&format!("[[a]]\nseq = 4\ngroup = {group}")).await;
        drop(d);
        a.say_group("last", group, "the last for dave", 5).await;
        a.done("out", "delete_group_member", &member(group, &dave), "seq = 6").await;
        a.say_group("after", group, "without dave", 7).await;
        let mut d = system.connect(&dave, "phone", &token, 0).await;
        let last = delivered_group("last", "the last for dave", 5, group, &alice, "phone");
        // The acknowledgement of 3 and 4 may not have been kept when the connection dropped.
        loop {
            let entry = d.next().await;
            let seq = body(&entry)["seq"].as_integer().unwrap();
            assert!((3..=5).contains(&seq), "{entry}");
            if seq == 5 {
                must_be(&last, &entry);
                break;
            }
        }
        d.expect(&change("out", "delete_group_member", &member(group, &dave), 6, &alice)).await;
        d.send(&format!("[[gm]]\nid = \"x\"\nc = \"hey\"\ngroup = {group}")).await;
        d.expect(&refused("x", "", "not_member")).await;

        let history = |user: &User| {
            let call = system.call(1, "GET", &format!("/history?group={group}&limit=100"));
            let token = user.token.clone();
            async move {
                let reply = call.token(&token).send().await;
                assert_eq!(reply.status, 200, "{}", reply.text);
                let mut seqs: Vec<i64> = ["gm", "r"]
                    .iter()
                    .flat_map(|kind| reply.entries(kind))
                    .map(|entry: Table| entry["seq"].as_integer().unwrap())
                    .collect();
                seqs.sort_unstable();
                seqs
            }
        };
        assert_eq!(history(&dave).await, [3, 4, 5, 6]);
        assert_eq!(history(&bob).await, [1, 2, 3, 4, 5, 6, 7]);

        // Leaving is removing oneself; who comes back has a second time of its own.
        b.expect(&delivered_group("last", "the last for dave", 5, group, &alice, "phone")).await;
        b.expect(&change("out", "delete_group_member", &member(group, &dave), 6, &alice)).await;
        b.expect(&delivered_group("after", "without dave", 7, group, &alice, "phone")).await;
        b.done("leave", "delete_group_member", &format!("group_id = {group}"), "seq = 8").await;
        a.expect(&change("leave", "delete_group_member", &format!("group_id = {group}"), 8, &bob)).await;
        b.send(&format!("[[gm]]\nid = \"y\"\nc = \"hey\"\ngroup = {group}")).await;
        b.expect(&refused("y", "", "not_member")).await;
        a.say_group("gone", group, "without bob", 9).await;
        a.done("back", "create_group_member", &member(group, &bob), "seq = 10").await;
        b.expect(&change("back", "create_group_member", &member(group, &bob), 10, &alice)).await;
        assert_eq!(history(&bob).await, [1, 2, 3, 4, 5, 6, 7, 8, 10]);
    })
    .await;
}

#[tokio::test]
async fn only_its_creator_dissolves_a_group() {
    before_and_after_restart(async |system: &System| {
        let (group, [alice, bob, _], [mut a, mut b, mut c]) = three(system).await;
        let keys = format!("group_id = {group}");
        b.refused("no", "delete_group", &keys, "forbidden").await;
        a.done("end", "delete_group", &keys, "seq = 2").await;
        for wire in [&mut b, &mut c] {
            wire.expect(&change("end", "delete_group", &keys, 2, &alice)).await;
        }
        for wire in [&mut a, &mut b] {
            wire.send(&format!("[[gm]]\nid = \"x\"\nc = \"anyone?\"\ngroup = {group}")).await;
            wire.expect(&refused("x", "", "not_member")).await;
        }
        a.request("x", "create_group_member", &member(group, &bob)).await;
        let refusal = a.next().await;
        assert_eq!(refusal["rr"]["s"].as_integer(), Some(1), "{refusal}");
        // A retry of the request that dissolved it has its first answer.
        a.request("end", "delete_group", &keys).await;
        a.expect(&done("end", "delete_group", "seq = 2")).await;
        let mine = system.call(1, "GET", "/group").token(&bob.token).send().await;
        assert!(mine.entries("group").is_empty(), "{}", mine.text);
    })
    .await;
}

#[tokio::test]
async fn making_a_group_twice_with_one_request_makes_one() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        let token = a.token.clone();
        let group = create(&mut a, &[&bob]).await;
        drop(a);
        let mut a = system.connect(&alice, "phone", &token, 1).await;
        assert_eq!(create(&mut a, &[&bob]).await, group);
        let count =
            system.stores.number("SELECT count(*) FROM groups WHERE creator_id = $1", &[&alice.id]).await;
        assert_eq!(count, 1);
        // Oneself among the members changes nothing, a member named twice neither.
        let keys = format!("name = \"doubles\"\n{}", members(&[&alice, &bob, &bob]));
        let made = a.done("twice", "create_group", &keys, "seq = 1\ngroup_id = \"…\"").await;
        let other = made["group_id"].as_integer().unwrap();
        assert_ne!(other, group);
        assert_eq!(member_ids(system, other, &bob, 0).await, [alice.id, bob.id]);
        a.refused("empty", "create_group", "name = \"\"\nmembers = []", "invalid").await;
    })
    .await;
}

#[tokio::test]
async fn who_has_blocked_someone_is_not_put_into_groups_by_them() {
    before_and_after_restart(async |system: &System| {
        let (group, [alice, bob, _], [mut a, ..]) = three(system).await;
        let dave = system.user("dave").await;
        let mut d = system.online(&dave, "phone", 1).await;
        d.done("no", "block", &format!("to = {}", alice.id), "").await;
        a.refused("add", "create_group_member", &member(group, &dave), "blocked").await;
        let keys = format!("name = \"all of us\"\n{}", members(&[&bob, &dave]));
        a.refused("new", "create_group", &keys, "blocked").await;
        let made = "SELECT count(*) FROM groups WHERE creator_id = $1";
        assert_eq!(system.stores.number(made, &[&alice.id]).await, 1, "the one of the three");
        d.nothing_but_heartbeat().await;
    })
    .await;
}

#[tokio::test]
async fn a_group_has_a_limit_of_members() {
    let options = Options { worker: vec![("group.members", "3".into())], ..Options::default() };
    let system = System::start_with(2, 2, options).await;
    let (group, [alice, bob, carol], [mut a, ..]) = three(&system).await;
    let dave = system.user("dave").await;
    a.refused("add", "create_group_member", &member(group, &dave), "limit").await;
    let keys = format!("name = \"four\"\n{}", members(&[&bob, &carol, &dave]));
    a.refused("new", "create_group", &keys, "limit").await;
    assert_eq!(member_ids(&system, group, &alice, 1).await, [alice.id, bob.id, carol.id]);
    // One leaves, and there is room.
    a.done("out", "delete_group_member", &member(group, &carol), "seq = 2").await;
    a.done("in", "create_group_member", &member(group, &dave), "seq = 3").await;
    system.finish().await;
}

/// Names are short and lists are cut: nobody's list is too long for an answer, whoever adds them to what.
#[tokio::test]
async fn a_long_list_of_groups_comes_in_parts() {
    let system = System::start(1, 1).await;
    let alice = system.user("alice").await;
    let mut a = system.online(&alice, "phone", 0).await;
    let named = |bytes: usize| format!("name = \"{}\"", "x".repeat(bytes));
    a.refused("long", "create_group", &named(257), "too_long").await;
    let made = a.done("fits", "create_group", &named(256), "seq = 1\ngroup_id = \"…\"").await;
    assert!(made["group_id"].as_integer().is_some());
    // As long as they can be written, so that it takes several answers.
    let groups =
        "INSERT INTO groups (name, creator_id) SELECT repeat(chr(1), 256), $1 FROM generate_series(1, 1500)";
    system.stores.execute(groups, &[&alice.id]).await;
    let members = "INSERT INTO participants (user_id, conv, from_seq, group_id)
        SELECT $1, 'g:' || id, 1, id FROM groups WHERE name LIKE chr(1) || '%'";
    system.stores.execute(members, &[&alice.id]).await;
    let (mut seen, mut parts, mut path) = (Vec::new(), 0, "/group".to_owned());
    loop {
        let reply = system.call(0, "GET", &path).token(&alice.token).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        parts += 1;
        seen.extend(reply.entries("group").iter().map(|group| group["id"].as_integer().unwrap()));
        match reply.response().get("more").and_then(Value::as_integer) {
            Some(more) => assert_eq!(more, 1),
            None => break,
        }
        path = format!("/group?after={}", seen.last().unwrap());
    }
    assert!(seen.is_sorted_by(|one, next| one < next), "by id, each once");
    assert!(parts > 1 && seen.len() == 1501, "{} in {parts} parts", seen.len());
    let odd = system.call(0, "GET", "/group?after=x").token(&alice.token).send().await;
    odd.expect_refused(400, "invalid");
    system.finish().await;
}
