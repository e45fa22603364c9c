//! Logging in on the wire: tokens, devices, replacement, nodes that fail, nodes that drain.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use shared::ids::TokenDigest;
use tests::{
    harness::{Options, SOON, System, before_and_after_restart, eventually},
    people::{User, delivered, login_frame, refused},
    wire::{Got, Wire},
};

/// A login that is refused with this code.
async fn refused_login(system: &System, edge: usize, user: i64, device: &str, token: &str, code: &str) {
    let mut wire = Wire::connect(system.tcp(edge)).await;
    wire.send(&login_frame(user, device, token)).await;
    wire.expect(&refused("login", "login", code)).await;
}

#[tokio::test]
async fn a_token_opens_one_device_of_its_own_user() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        for edge in 0..2 {
            refused_login(system, edge, alice.id, "ipad", "AAklxuC39JJtttUMwKHq3teKwOzWtmJc", "token").await;
            refused_login(system, edge, alice.id, "ipad", "", "token").await;
            refused_login(system, edge, alice.id, "ipad", &bob.token, "token").await;
            refused_login(system, edge, 99_999_999, "ipad", &alice.token, "token").await;
        }
        // A token without a device binds at its first login, and to that one for good.
        let mut wire = system.connect(&alice, "ipad", &alice.token, 1).await;
        wire.nothing_but_heartbeat().await;
        refused_login(system, 0, alice.id, "iphone", &alice.token, "token").await;
        let of_watch = system.token(&alice, "watch").await;
        refused_login(system, 0, alice.id, "ipad", &of_watch, "token").await;
        wire.nothing_but_heartbeat().await;

        // Redis holds simple_im's structures: which client is where, and the live nodes.
        let digest = TokenDigest::of(&alice.token);
        let key = system.stores.key(&format!("client_{}", digest.as_str()));
        let client: std::collections::HashMap<String, String> = system.stores.redis("HGETALL", &[&key]).await;
        assert_eq!(format!("{}:{}", client["ip"], client["port"]), system.tcp(1));
        assert_eq!(
            (client["user_id"].as_str(), client["device"].as_str()),
            (alice.id.to_string().as_str(), "ipad")
        );
        let mut edges = [system.tcp(0), system.tcp(1)];
        edges.sort_unstable();
        let list = system.stores.key("im_list");
        eventually(SOON, async || {
            let mut nodes: Vec<String> = system.stores.redis("HVALS", &[&list]).await;
            nodes.sort();
            if nodes == edges { Ok(()) } else { Err(format!("im_list names {nodes:?}, not {edges:?}")) }
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn reconnect_is_a_login_by_another_name() {
    before_and_after_restart(async |system: &System| {
        let alice = system.user("alice").await;
        let wire = system.connect(&alice, "ipad", &alice.token, 0).await;
        drop(wire);
        for edge in [1, 0] {
            let mut wire = Wire::connect(system.tcp(edge)).await;
            let frame =
                login_frame(alice.id, "ipad", &alice.token).replace("t = \"login\"", "t = \"reconnect\"");
            wire.send(&frame).await;
            wire.expect("[[rr]]\nid = \"login\"\nt = \"reconnect\"\ns = 0").await;
            wire.nothing_but_heartbeat().await;
        }
        let mut wire = Wire::connect(system.tcp(0)).await;
        let frame = login_frame(alice.id, "ipad", "wrong").replace("t = \"login\"", "t = \"reconnect\"");
        wire.send(&frame).await;
        wire.expect(&refused("login", "reconnect", "token")).await;
    })
    .await;
}

#[tokio::test]
async fn a_second_login_on_one_device_replaces_the_first() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut b = system.online(&bob, "phone", 0).await;
        for (first, second) in [(0, 1), (1, 1), (0, 0)] {
            let device = format!("ipad{first}{second}");
            let mut older = system.online(&alice, &device, first).await;
            let token = system.token(&alice, &device).await;
            // The older token is good until the new one connects.
            let who =
                |token: &str| system.call(0, "GET", &format!("/user/id/{}", alice.id)).token(token).send();
            assert_eq!(who(&older.token).await.status, 200);
            older.nothing_but_heartbeat().await;

            let mut newer = system.connect(&alice, &device, &token, second).await;
            older.expect("[[n]]\nt = \"replaced\"").await;
            older.expect_closed().await;
            eventually(SOON, async || match who(&older.token).await.status {
                401 => Ok(()),
                status => Err(format!("the older token is answered with {status}")),
            })
            .await;
            refused_login(system, first, alice.id, &device, &older.token, "token").await;

            // The same token on another connection replaces as well, and stays good.
            let mut newest = system.connect(&alice, &device, &token, first).await;
            newer.expect("[[n]]\nt = \"replaced\"").await;
            newer.expect_closed().await;
            assert_eq!(who(&token).await.status, 200);
            newest.nothing_but_heartbeat().await;
        }
        // Deliveries go to the newest connection alone, once.
        let mut last = system.online(&alice, "ipad01", 1).await;
        b.say("1", &alice, "which one hears?", 1).await;
        last.expect(&delivered("1", "which one hears?", 1, &alice, &bob, "phone")).await;
    })
    .await;
}

#[tokio::test]
async fn a_failed_node_is_told_from_a_living_one() {
    let mut system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut on_first = system.online(&alice, "phone", 0).await;
    let on_second = system.online(&bob, "phone", 1).await;
    let failed = |system: &System, edge: usize, token: &str| {
        system.call(edge, "POST", "/server/failed").token(token).send()
    };
    let online = "[[response]]\nstatus = 3\nr = \"IM is online\"";
    system.workers_count(2).await;
    for edge in 0..2 {
        failed(&system, edge, &on_first.token).await.expect(200, online);
        failed(&system, edge, &on_second.token).await.expect(200, online);
        failed(&system, edge, "wrong").await.expect_refused(401, "token");
    }

    system.kill_edge(0).await;
    assert_eq!(on_first.got().await, Got::Closed);
    system.workers_count(1).await;
    let (host, port) = system.tcp(1).rsplit_once(':').unwrap();
    let another = format!("[[response]]\nstatus = 0\nserver = \"{host}\"\nport = \"{port}\"");
    let token = on_first.token.clone();
    failed(&system, 1, &token).await.expect(200, &another);
    // A dead node is handed out to nobody: not at login, not at reconnect.
    for _ in 0..10 {
        let given = system.http_login(&bob, None, 1).await.response();
        assert_eq!((given["server"].as_str(), given["port"].as_str()), (Some(host), Some(port)));
    }
    failed(&system, 1, &on_second.token).await.expect(200, online);

    // Its user goes on at the other node, and what was sent in between is there.
    let mut b = on_second;
    b.say("1", &alice, "are you there?", 1).await;
    let mut a = system.connect(&alice, "phone", &token, 1).await;
    a.expect(&delivered("1", "are you there?", 1, &alice, &bob, "phone")).await;
    // And back again when the node is back.
    system.start_edge(0).await;
    let mut a2 = system.connect(&alice, "phone", &token, 0).await;
    a.expect("[[n]]\nt = \"replaced\"").await;
    a2.expect(&delivered("1", "are you there?", 1, &alice, &bob, "phone")).await;
    system.finish().await;
}

/// A node that is stopped says where to go, and is not handed out any more.
#[tokio::test]
async fn a_draining_node_sends_its_sessions_elsewhere() {
    // Far enough apart that who drains has heard the other also on a busy machine.
    let edge = vec![("node.heartbeat_ms", "300".into())];
    let mut system = System::start_with(2, 2, Options { edge, ..Options::default() }).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 1).await;
    let token = a.token.clone();
    let reader = tokio::spawn(async move {
        let moved = a.expect("[[n]]\nt = \"move\"\nserver = \"…\"\nport = \"…\"\nafter = \"…\"").await;
        // It is closed in time, or the client leaves by itself.
        while a.got().await != Got::Closed {}
        moved
    });
    system.stop_edge(0).await;
    let moved = reader.await.unwrap();
    let address = format!("{}:{}", moved["server"].as_str().unwrap(), moved["port"].as_integer().unwrap());
    assert_eq!(address, system.tcp(1));
    b.say("1", &alice, "you moved", 1).await;
    let mut a = system.connect(&alice, "phone", &token, 1).await;
    a.expect(&delivered("1", "you moved", 1, &alice, &bob, "phone")).await;
    let given = system.http_login(&bob, None, 1).await.response();
    assert_eq!(
        format!("{}:{}", given["server"].as_str().unwrap(), given["port"].as_str().unwrap()),
        system.tcp(1)
    );
    system.finish().await;
}

#[tokio::test]
async fn devices_are_counted_and_forgotten() {
    let options = Options { worker: vec![("account.devices", "3".into())], ..Options::default() };
    let system = System::start_with(2, 2, options).await;
    let alice = system.user("alice").await;
    for n in 1..=3 {
        system.online(&alice, &format!("device{n}"), n % 2).await;
    }
    let login = |user: &User, device: &str| {
        let call = system.call(0, "POST", "/server/login");
        call.with("phone", &user.phone).with("password", &user.password).with("device", device).send()
    };
    // What was seen last is noted when a connection ends.
    system.away(&alice).await;
    login(&alice, "device4").await.expect_refused(409, "limit");
    refused_login(&system, 1, alice.id, "device4", &alice.token, "limit").await;
    assert_eq!(login(&alice, "device3").await.status, 200, "one of the three is welcome");
    // One that was not seen for a month makes room.
    let aged =
        "UPDATE devices SET seen_at = now() - interval '31 days' WHERE user_id = $1 AND device = 'device1'";
    assert_eq!(system.stores.execute(aged, &[&alice.id]).await, 1);
    assert_eq!(login(&alice, "device4").await.status, 200);
    system.finish().await;
}
