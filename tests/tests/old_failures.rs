//! simple_im's own failures, each one measured on it, none of which may happen here.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use tests::{
    harness::{SOON, System, eventually},
    people::{delivered, delivered_group, stored},
    wire::{Style, Wire},
};

/// "Six junk connections within a second take the whole node down."
#[tokio::test]
async fn junk_connections_do_not_take_a_node_down() {
    let mut system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 0).await;
    let pid = system.edge(0).pid;
    for n in 0..60 {
        let mut junk = Wire::connect(system.tcp(0)).await;
        junk.try_send_raw(format!("junk number {n} \u{0}\u{1}\n").as_bytes()).await;
        drop(junk);
    }
    a.say("1", &bob, "still up?", 1).await;
    b.expect(&delivered("1", "still up?", 1, &bob, &alice, "phone")).await;
    assert!(!system.edges[0].has_died());
    assert_eq!(system.edge(0).pid, pid);
    system.finish().await;
}

/// "Two frames in one segment come out in reverse", "a frame split over two segments kills the session or loses an
/// acked message", "frames over 1,460 bytes kill the session".
#[tokio::test]
async fn segments_are_not_frames() {
    let system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut b = system.online(&bob, "phone", 1).await;
    let mut seq = 0;
    for style in [Style::Counted, Style::Text] {
        let token = system.token(&alice, "phone").await;
        let mut a = system.connect_as(&alice, "phone", &token, 0, style).await;
        let name = |n: i64| format!("{style:?}{n}");
        let frame = |a: &Wire, n: i64, text: &str| {
            a.framed(&format!("[[m]]\nid = \"{}\"\nc = \"{text}\"\nto = {}", name(n), bob.id))
        };
        // Two in one segment.
        let two = [frame(&a, 1, "first"), frame(&a, 2, "second")].concat();
        a.send_raw(&two).await;
        for (n, text) in [(1, "first"), (2, "second")] {
            a.expect(&stored(&name(n), seq + n)).await;
            b.expect(&delivered(&name(n), text, seq + n, &bob, &alice, "phone")).await;
        }
        // One in two segments; one and a half in the first, the rest in the second.
        let (third, fourth) = (frame(&a, 3, "third"), frame(&a, 4, "fourth"));
        a.send_raw(&[&third[..], &fourth[..20]].concat()).await;
        a.expect(&stored(&name(3), seq + 3)).await;
        a.send_raw(&fourth[20..]).await;
        a.expect(&stored(&name(4), seq + 4)).await;
        // Longer than a segment is.
        let long = "long ".repeat(4000);
        let fifth = frame(&a, 5, &long);
        a.send_raw(&fifth).await;
        a.expect(&stored(&name(5), seq + 5)).await;
        for (n, text) in [(3, "third"), (4, "fourth"), (5, &long)] {
            b.expect(&delivered(&name(n), text, seq + n, &bob, &alice, "phone")).await;
        }
        seq += 5;
    }
    // The one-line form was what simple_im spoke.
    let token = system.token(&alice, "phone").await;
    let mut a = system.connect_as(&alice, "phone", &token, 0, Style::Text).await;
    let line = |n: i64| format!("[[m]] id = \"line{n}\" c = \"a line\" to = {}\n", bob.id);
    a.send_raw(format!("{}{}", line(1), line(2)).as_bytes()).await;
    let third = line(3);
    a.send_raw(&third.as_bytes()[..17]).await;
    for n in 1..=2 {
        a.expect(&stored(&format!("line{n}"), seq + n)).await;
    }
    a.send_raw(&third.as_bytes()[17..]).await;
    a.expect(&stored("line3", seq + 3)).await;
    for n in 1..=3 {
        b.expect(&delivered(&format!("line{n}"), "a line", seq + n, &bob, &alice, "phone")).await;
    }
    system.finish().await;
}

/// "An escaped quote is acked and never delivered."
#[tokio::test]
async fn an_escaped_quote_is_delivered() {
    let system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let token = system.token(&alice, "phone").await;
    let mut a = system.connect_as(&alice, "phone", &token, 0, Style::Text).await;
    let mut b = system.online(&bob, "phone", 1).await;
    a.send_raw(format!("[[m]] id = \"q1\" c = \"she said \\\"hi\\\" to me\" to = {}\n", bob.id).as_bytes())
        .await;
    a.expect(&stored("q1", 1)).await;
    b.expect(&delivered("q1", "she said \\\"hi\\\" to me", 1, &bob, &alice, "phone")).await;
    a.say("q2", &bob, "\\\"", 2).await;
    b.expect(&delivered("q2", "\\\"", 2, &bob, &alice, "phone")).await;
    a.send_raw(format!("[[m]] id = 'q3' c = 'to = 5 [[m]] \"' to = {}\n", bob.id).as_bytes()).await;
    a.expect(&stored("q3", 3)).await;
    b.expect(&delivered("q3", "to = 5 [[m]] \\\"", 3, &bob, &alice, "phone")).await;
    system.finish().await;
}

/// "Group messages are acked and reach nobody."
#[tokio::test]
async fn group_messages_reach_the_group() {
    let system = System::start(2, 2).await;
    let users = system.users(["alice", "bob", "carol", "dave"]).await;
    let mut wires = Vec::new();
    for (n, user) in users.iter().enumerate() {
        wires.push(system.online(user, "phone", n % 2).await);
    }
    let members: Vec<String> = users[1..].iter().map(|user| user.id.to_string()).collect();
    let keys = format!("name = \"all\"\nmembers = [{}]", members.join(", "));
    let made = wires[0].done("g", "create_group", &keys, "seq = 1\ngroup_id = \"…\"").await;
    let group = made["group_id"].as_integer().unwrap();
    wires[0].say_group("1", group, "hello all", 2).await;
    for wire in &mut wires[1..] {
        wire.next().await;
        wire.expect(&delivered_group("1", "hello all", 2, group, &users[0], "phone")).await;
    }
    system.finish().await;
}

/// "A killed node's users stay online for ever and what is sent to them is lost", "a stopped node is still handed out
/// at login".
#[tokio::test]
async fn a_killed_node_loses_nobody() {
    let mut system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let b = system.online(&bob, "phone", 1).await;
    let token = b.token.clone();
    system.kill_edge(1).await;
    // At once, while the system still takes the node for living, and until long after.
    let begun = std::time::Instant::now();
    let mut sent = 0;
    let list = system.stores.key("im_list");
    while begun.elapsed() < std::time::Duration::from_secs(3) {
        sent += 1;
        a.say(&format!("m{sent}"), &bob, "are you there?", sent).await;
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    system.workers_count(1).await;
    eventually(SOON, async || {
        let nodes: Vec<String> = system.stores.redis("HVALS", &[&list]).await;
        if nodes == [system.tcp(0)] { Ok(()) } else { Err(format!("im_list names {nodes:?}")) }
    })
    .await;
    let given = system.http_login(&bob, None, 0).await.response();
    assert_eq!(
        format!("{}:{}", given["server"].as_str().unwrap(), given["port"].as_str().unwrap()),
        system.tcp(0)
    );

    let mut b = system.connect(&bob, "phone", &token, 0).await;
    for n in 1..=sent {
        b.expect(&delivered(&format!("m{n}"), "are you there?", n, &bob, &alice, "phone")).await;
    }
    system.finish().await;
}

/// "An emptied Redis makes login fail until someone repairs it by hand", and here nothing else may fail either.
#[tokio::test]
async fn an_emptied_redis_is_refilled() {
    let system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 1).await;
    a.say("1", &bob, "before", 1).await;
    b.expect(&delivered("1", "before", 1, &bob, &alice, "phone")).await;
    system.stores.wipe_redis().await;
    // Those who are connected are still found.
    for n in 2..=20 {
        a.say(&n.to_string(), &bob, "after", n).await;
    }
    let mut last = 1;
    while last < 20 {
        let seq = b.next().await["m"]["seq"].as_integer().unwrap();
        assert!(seq <= last + 1, "{seq} comes after {last}");
        last = last.max(seq);
    }
    // Logins by password and by token work at once, on both nodes.
    for edge in 0..2 {
        system.http_login(&bob, None, edge).await;
        system.online(&bob, &format!("device{edge}"), edge).await;
    }
    // And the directory stands again by itself.
    system.directory_stands().await;
    let route = system.stores.key(&format!("route_{}", bob.id));
    eventually(SOON, async || {
        let devices: std::collections::HashMap<String, String> =
            system.stores.redis("HGETALL", &[&route]).await;
        if devices.contains_key("phone") { Ok(()) } else { Err(format!("bob's routes are {devices:?}")) }
    })
    .await;
    system.finish().await;
}
