//! Nodes and workers that end in order: what their clients are told, and that nothing is lost, doubled or answered twice.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use shared::{
    client::{Client, Event, Events, Options as ClientOptions, http::Api},
    ids::{Device, UserId},
    message::{Target, WantedAck},
};
use tests::{
    harness::{Options, SOON, System, eventually},
    people::{User, delivered, login_frame, refused},
    wire::{Got, Wire, kind},
};
use toml::Table;

/// What a node that drains says: where to go, and after how many milliseconds.
async fn moved(wire: &mut Wire) -> (Option<String>, u64) {
    let entry = wire.next().await;
    assert_eq!(kind(&entry), "n", "{entry}");
    notice(&entry)
}

fn notice(entry: &Table) -> (Option<String>, u64) {
    let notice = entry["n"].as_table().unwrap();
    assert_eq!(notice["t"].as_str(), Some("move"), "{notice}");
    let server =
        notice.get("server").map(|server| format!("{}:{}", server.as_str().unwrap(), notice["port"]));
    (server, notice["after"].as_integer().unwrap().try_into().unwrap())
}

/// With these settings, and with heartbeats so far apart that who drains has heard the others also on a busy machine.
fn edges(settings: &[(&'static str, &str)]) -> Options {
    let all = [("node.heartbeat_ms", "300")].into_iter().chain(settings.iter().copied());
    let edge = all.map(|(key, value)| (key, value.to_owned())).collect();
    Options { edge, ..Options::default() }
}

/// The HTTP status of an edge's `/readyz`.
async fn readyz(system: &System, edge: usize) -> u16 {
    let url = format!("http://{}/readyz", system.edge(edge).metrics);
    let client = shared::client::http::builder(None).build().unwrap();
    client.get(url).send().await.map_or(0, |reply| reply.status().as_u16())
}

#[tokio::test]
async fn readyz_fails_first_then_nobody_new_is_taken_then_sessions_move_and_the_node_ends() {
    let mut system =
        System::start_with(2, 1, edges(&[("drain.notice_ms", "6000"), ("drain.deadline_seconds", "14")]))
            .await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let token = system.token(&bob, "phone").await;
    system.directory_stands().await;
    system.edges[0].terminate();
    let asked = Instant::now();
    eventually(SOON, async || match readyz(&system, 0).await {
        503 => Ok(()),
        other => Err(format!("readyz says {other}")),
    })
    .await;
    // Who comes is told where to go, and an HTTP login names the other node.
    let mut b = eventually(SOON, async || {
        let mut b = Wire::connect(system.tcp(0)).await;
        b.send(&login_frame(bob.id, "phone", &token)).await;
        match moved(&mut b).await {
            (Some(to), 0) if to == system.tcp(1) => Ok(b),
            other => Err(format!("told to move to {other:?}")),
        }
    })
    .await;
    b.expect(&refused("login", "login", "unavailable")).await;
    b.expect_closed().await;
    eventually(SOON, async || {
        let reply = system.http_login(&alice, None, 1).await;
        let given = reply.response();
        let at = format!("{}:{}", given["server"].as_str().unwrap(), given["port"].as_str().unwrap());
        if at == system.tcp(1) { Ok(()) } else { Err(format!("a login is sent to {at}")) }
    })
    .await;
    // Who is there is served on until balancers have had their time.
    a.say("1", &bob, "still here", 1).await;
    assert!(asked.elapsed() < Duration::from_secs(6), "too slow a machine: {:?}", asked.elapsed());
    let (to, after) = moved(&mut a).await;
    assert!(asked.elapsed() >= Duration::from_millis(5_900), "{:?}", asked.elapsed());
    assert_eq!((to.as_deref(), after), (Some(system.tcp(1)), 0));
    // The node's own end waits for nothing but this client.
    let of_a = a.token.clone();
    drop(a);
    let mut a = system.connect(&alice, "phone", &of_a, 1).await;
    system.edges[0].ended().await;
    a.say("2", &bob, "over there", 2).await;
    let log = system.edges[0].logged();
    assert!(log.contains("drained") && !log.contains("did not end in time"), "{log}");
    system.start_edge(0).await;
    drop(a);
    // What the first start of the node had accepted is gone with it.
    system.gave_the_broker(1);
    system.finish().await;
}

#[tokio::test]
async fn every_session_gets_its_own_time_and_all_other_nodes_get_some() {
    let system =
        System::start_with(3, 1, edges(&[("drain.pace", "2"), ("drain.deadline_seconds", "14")])).await;
    let mut wires = Vec::new();
    for n in 0..12 {
        let user = system.user(&format!("user{n}")).await;
        wires.push(system.online(&user, "phone", 0).await);
    }
    system.edges[0].terminate();
    let (mut servers, mut times) = (Vec::new(), BTreeSet::new());
    for wire in &mut wires {
        let (server, after) = moved(wire).await;
        servers.push(server.unwrap());
        times.insert(after);
    }
    assert_eq!(times.len(), 12, "{times:?}");
    assert!(*times.last().unwrap() > 4000 && *times.last().unwrap() < 7000, "{times:?}");
    for other in [1, 2] {
        assert_eq!(servers.iter().filter(|server| **server == system.tcp(other)).count(), 6, "{servers:?}");
    }
    drop(wires);
    let mut system = system;
    system.edges[0].ended().await;
    system.finish().await;
}

#[tokio::test]
async fn what_was_not_acknowledged_arrives_elsewhere_once_and_what_was_does_not() {
    let mut system = System::start_with(2, 2, edges(&[])).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 1).await;
    let mut b = system.online(&bob, "phone", 0).await;
    for seq in 1..=10 {
        a.say(&format!("m{seq}"), &bob, "text", seq).await;
        b.expect(&delivered(&format!("m{seq}"), "text", seq, &bob, &alice, "phone")).await;
    }
    for seq in 1..=4 {
        b.acknowledge(&format!("m{seq}"), seq, &alice).await;
    }
    system.edges[0].terminate();
    let (to, _) = moved(&mut b).await;
    assert_eq!(to.as_deref(), Some(system.tcp(1)));
    // This client waits until it is closed: by then its cursor has reached a worker.
    b.expect_closed().await;
    let mut again = system.connect(&bob, "phone", &b.token, 1).await;
    for seq in 5..=10 {
        again.expect(&delivered(&format!("m{seq}"), "text", seq, &bob, &alice, "phone")).await;
    }
    a.say("m11", &bob, "text", 11).await;
    again.expect(&delivered("m11", "text", 11, &bob, &alice, "phone")).await;
    again.nothing_but_heartbeat().await;
    system.edges[0].ended().await;
    // It was told to move and did not go by itself.
    let log = system.edges[0].logged();
    let named = "1 sessions that did not move when told to, and were closed, among them session";
    assert!(log.contains(named) && log.contains(&format!("of user {}", bob.id)), "{log}");
    drop((a, again));
    system.finish().await;
}

#[tokio::test]
async fn a_client_that_neither_reads_nor_goes_is_named_at_the_deadline() {
    let settings = [("drain.deadline_seconds", "3"), ("drain.grace_ms", "600000")];
    let mut system = System::start_with(2, 1, edges(&settings)).await;
    let alice = system.user("alice").await;
    let mut a = system.online(&alice, "phone", 0).await;
    system.edges[0].terminate();
    assert!(moved(&mut a).await.0.is_some());
    system.edges[0].ended().await;
    let log = system.edges[0].logged();
    assert!(log.contains("did not end in time") && log.contains(&format!("of user {}", alice.id)), "{log}");
    assert!(matches!(a.got().await, Got::Closed));
    system.finish().await;
}

/// A session of the library that begins on one edge and can ask another one's API.
async fn library(system: &System, user: &User, begin: usize, api: usize) -> (Client, Events) {
    let token = system.token(user, "phone").await;
    let mut options = ClientOptions::new(UserId(user.id), Device::new("phone").unwrap(), token);
    options.http = Some(Api::new(system.http(api)));
    options.server = Some(system.tcp(begin).to_owned());
    Client::connect(options).await.unwrap()
}

/// Alice sends numbered messages to bob until told to stop; gives how many, and the longest time between two acks.
async fn talk(
    a: &Client,
    to: UserId,
    every: Duration,
    stop: &tokio::sync::watch::Receiver<bool>,
) -> (i64, Duration) {
    let (mut sent, mut last, mut longest) = (0, Instant::now(), Duration::ZERO);
    while !*stop.borrow() {
        sent += 1;
        let stored = a.send(Target::User(to), &format!("number {sent}"), WantedAck::Stored).await.unwrap();
        assert_eq!(stored.seq.0, sent, "each is stored once, in the order it was sent in");
        longest = longest.max(last.elapsed());
        last = Instant::now();
        tokio::time::sleep(every).await;
    }
    (sent, longest)
}

/// Takes deliveries from bob's events until there are so many; each once and in order.
async fn all_of(events: &mut Events, count: i64) {
    for seq in 1..=count {
        let delivery = events.next_delivery().await.expect("the session lives on");
        assert_eq!((delivery.seq.0, delivery.text()), (seq, Some(format!("number {seq}").as_str())));
    }
}

#[tokio::test]
async fn a_worker_hands_its_lanes_over_and_nothing_is_lost_or_answered_twice() {
    let mut system = System::start(1, 2).await;
    let mut talks = Vec::new();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    for n in 0..6 {
        let [alice, bob] = [system.user(&format!("alice{n}")).await, system.user(&format!("bob{n}")).await];
        let (a, a_events) = library(&system, &alice, 0, 0).await;
        let (b, mut b_events) = library(&system, &bob, 0, 0).await;
        let stopped = stopped.clone();
        talks.push(tokio::spawn(async move {
            let (sent, gap) = talk(&a, b.user(), Duration::from_millis(3), &stopped).await;
            all_of(&mut b_events, sent).await;
            drop((a, b, a_events));
            (sent, gap)
        }));
    }
    for worker in [0, 1, 0, 1] {
        system.restart_worker(worker).await;
        // It has lanes again before the next one goes.
        eventually(SOON, async || match system.workers[worker].metric("im_worker_lane_owned").await {
            owned if owned > 0.0 => Ok(()),
            _ => Err("it owns no lane".to_owned()),
        })
        .await;
    }
    stop.send_replace(true);
    let (mut sent, mut longest) = (0, Duration::ZERO);
    for talk in talks {
        let (count, gap) = talk.await.unwrap();
        (sent, longest) = (sent + count, longest.max(gap));
    }
    let count = "SELECT sum(stored)::bigint, sum(duplicate)::bigint FROM lanes";
    system.conserved().await;
    let row = &system.stores.rows(count, &[]).await[0];
    assert_eq!(
        (row.get::<_, i64>(0), row.get::<_, i64>(1)),
        (sent, 0),
        "stored once and never processed again"
    );
    println!("{sent} messages; the longest time between two acks of a client {longest:?}");
    // Far below what a worker's death by silence would take; a machine that does other things gets its time.
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    system.finish().await;
}

#[tokio::test]
async fn a_rolled_node_leaves_no_gap_to_clients_that_move() {
    let mut system = System::start_with(2, 2, edges(&[("drain.grace_ms", "6000")])).await;
    let mut talks = Vec::new();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    for n in 0..6 {
        let [alice, bob] = [system.user(&format!("alice{n}")).await, system.user(&format!("bob{n}")).await];
        let (a, mut a_events) = library(&system, &alice, n % 2, (n + 1) % 2).await;
        let (b, mut b_events) = library(&system, &bob, (n + 1) % 2, n % 2).await;
        let stopped = stopped.clone();
        talks.push(tokio::spawn(async move {
            let (sent, _) = talk(&a, b.user(), Duration::from_millis(5), &stopped).await;
            all_of(&mut b_events, sent).await;
            let (mut moves, mut away) = (0, Duration::ZERO);
            while let Some(event) = a_events.try_next() {
                match event {
                    Event::Moved { server } => moves += i64::from(server.is_some()),
                    Event::Connected { away: gap, .. } => away = away.max(gap),
                    Event::Disconnected { reason } => panic!("lost: {reason}"),
                    _ => {}
                }
            }
            drop((a, b));
            (moves, away)
        }));
    }
    system.roll_edge(0).await;
    system.roll_edge(1).await;
    stop.send_replace(true);
    for talk in talks {
        let (moves, away) = talk.await.unwrap();
        assert!(moves >= 1, "both nodes were emptied");
        assert!(away < Duration::from_secs(2), "{away:?}");
    }
    for edge in &system.edges {
        assert!(!edge.logged().contains("did not end in time"), "{}", edge.tail());
    }
    system.finish().await;
}

#[tokio::test]
async fn with_no_other_node_clients_are_told_to_come_back_and_do() {
    let mut system = System::start(1, 1).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 0).await;
    a.say("m1", &bob, "text", 1).await;
    b.expect(&delivered("m1", "text", 1, &bob, &alice, "phone")).await;
    system.edges[0].terminate();
    for wire in [&mut a, &mut b] {
        let (server, after) = moved(wire).await;
        assert_eq!(server, None);
        assert!((500..=1500).contains(&after), "{after}");
        wire.expect_closed().await;
    }
    system.edges[0].ended().await;
    let log = system.edges[0].logged();
    assert!(!log.contains("did not end in time"), "{log}");
    system.gave_the_broker(1);
    system.start_edge(0).await;
    let mut b = system.connect(&bob, "phone", &b.token, 0).await;
    b.expect(&delivered("m1", "text", 1, &bob, &alice, "phone")).await;
    drop(b);
    system.finish().await;
}
