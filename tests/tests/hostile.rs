//! Clients that mean harm: each gets what the protocol says, and costs nobody else anything.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use tests::{
    harness::{Options, SOON, System, eventually},
    people::{User, delivered, delivered_group, login_frame, refused, stored},
    talk::Talk,
    wire::{Got, Style, Wire, kind, must_be},
};

/// The longest that a round may take beside what the others do, on a machine that is busy with other tests.
const BOUND: Duration = Duration::from_secs(10);

/// Failed logins are limited a phone, wherever they come from, and an address, whatever phone they try; others go on.
#[tokio::test]
async fn logins_are_limited_a_phone_and_an_address_each() {
    let worker = vec![("account.login_failures", "5".into()), ("account.login_window_seconds", "30".into())];
    let system = System::start_with(2, 2, Options { worker, ..Options::default() }).await;
    let users = system.users(["alice", "bob", "carol"]).await;
    let [alice, bob, carol] = &users;
    let login = async |user: &User, password: &str, from: u8, edge: usize| {
        let call =
            system.call(edge, "POST", "/server/login").with("phone", &user.phone).with("password", password);
        call.from([127, 0, 0, from]).send().await
    };
    // From five addresses, one phone; a caller's word about its address is not believed.
    for from in 11..16 {
        login(alice, "wrong", from, usize::from(from % 2)).await.expect_refused(401, "credentials");
    }
    for edge in 0..2 {
        let reply = login(alice, &alice.password, 20, edge).await.expect_refused(429, "rate_limited");
        assert!(
            reply.retry_after.is_some_and(|s| (1..=30).contains(&s)),
            "Retry-After is {:?}",
            reply.retry_after
        );
        assert_eq!(login(bob, &bob.password, 20, edge).await.status, 200, "another phone is not limited");
    }
    // From one address, five phones.
    for n in 0..5 {
        let nobody = User { phone: format!("1370000000{n}"), ..alice.clone() };
        login(&nobody, "wrong", 30, n % 2).await.expect_refused(401, "credentials");
    }
    for edge in 0..2 {
        let reply = login(carol, &carol.password, 30, edge).await.expect_refused(429, "rate_limited");
        assert!(
            reply.retry_after.is_some_and(|s| (1..=30).contains(&s)),
            "Retry-After is {:?}",
            reply.retry_after
        );
        assert_eq!(
            login(carol, &carol.password, 31, edge).await.status,
            200,
            "another address is not limited"
        );
    }
    // Who has a token is not concerned.
    let mut wire = system.connect(alice, "phone", &alice.token, 0).await;
    wire.nothing_but_heartbeat().await;
    system.finish().await;
}

/// Bytes that trickle in before a login never make one: the connection is cut at its deadline, whatever the trickle is
/// made of, and nobody else waits for it.
#[tokio::test]
async fn a_trickle_before_login_is_cut_at_the_deadline() {
    let options = Options { edge: vec![("limits.login_seconds", "2".into())], ..Options::default() };
    let system = System::start_with(2, 2, options).await;
    let mut talk = Talk::begin(&system).await;
    let login = login_frame(talk.alice.id, "tablet", &talk.alice.token);
    let counted = format!("#{}\n{login}", login.len());
    let trickles =
        [counted.clone(), login, "\n".repeat(100), "#0\n".repeat(100), "[[m]] id = \"1\" ".to_owned()];
    let begun = Instant::now();
    let mut crowd = Vec::new();
    for n in 0..100 {
        let trickle = trickles[n % trickles.len()].as_bytes();
        let style = if trickle[0] == b'#' { Style::Counted } else { Style::Text };
        crowd.push((Wire::connect_as(system.tcp(n % 2), style).await, trickle));
    }
    // A byte each, again and again, but never the last of a login.
    let mut at = 0;
    while begun.elapsed() < Duration::from_millis(1800) {
        for (wire, trickle) in &mut crowd {
            if at + 1 < trickle.len().min(100) {
                wire.try_send_raw(&trickle[at..=at]).await;
            }
        }
        at += 1;
        talk.round().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (wire, _) in &mut crowd {
        while wire.got().await != Got::Closed {}
    }
    assert!(begun.elapsed() < SOON, "closed {:?} after they began", begun.elapsed());
    talk.round().await;
    assert!(talk.slowest < BOUND, "the slowest round took {:?}", talk.slowest);
    eventually(SOON, async || {
        let mut open = 0.0;
        for edge in &system.edges {
            open += edge.metric("im_edge_connections").await;
        }
        if open == 2.0 { Ok(()) } else { Err(format!("{open} connections are open")) }
    })
    .await;
    system.finish().await;
}

/// As many frames as a socket takes, from one session: it is slowed at its own socket, all of them are answered once, and
/// two who talk on the same nodes notice little.
#[tokio::test]
async fn a_flood_slows_its_own_session() {
    const FLOOD: i64 = 30_000;
    let edge = vec![("limits.unpublished", "64".into()), ("publisher.queue_frames", "1024".into())];
    let system = System::start_with(2, 2, Options { edge, ..Options::default() }).await;
    let mut talk = Talk::begin(&system).await;
    let [mallory, victim] = system.users(["mallory", "victim"]).await;
    let wire = system.online(&mallory, "phone", 0).await;
    let frame = |n| wire.framed(&format!("[[m]]\nid = \"f{n}\"\nc = \"flood\"\nto = {}", victim.id));
    let frames: Vec<u8> = (1..=FLOOD).flat_map(frame).collect();
    let (mut input, mut output) = wire.into_stream().into_split();
    let flood = tokio::spawn(async move {
        output.write_all(&frames).await.unwrap();
        output
    });
    let answered = tokio::spawn(async move {
        let (mut text, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
        while !text.ends_with(format!("seq = {FLOOD}\n").as_bytes()) {
            let n = input.read(&mut chunk).await.unwrap();
            assert!(n > 0, "closed after {} bytes of answers", text.len());
            text.extend_from_slice(&chunk[..n]);
        }
        String::from_utf8(text).unwrap()
    });
    let mut rounds = 0;
    while !answered.is_finished() {
        talk.round().await;
        rounds += 1;
    }
    flood.await.unwrap();
    let answers = answered.await.unwrap();
    let seqs: Vec<i64> =
        answers.lines().filter_map(|line| line.strip_prefix("seq = ")?.parse().ok()).collect();
    let strange = seqs.iter().zip(1..).find(|(found, expected)| *found != expected);
    assert_eq!((seqs.len() as i64, strange), (FLOOD, None), "every frame is answered once, in order");
    assert!(!answers.contains("[[rr]]"), "and none is refused");
    assert!(rounds > 3, "only {rounds} rounds went through beside the flood");
    assert!(talk.slowest < BOUND, "the slowest of {rounds} rounds took {:?}", talk.slowest);
    let rows = system.stores.number("SELECT count(*) FROM messages WHERE sender = $1", &[&mallory.id]).await;
    assert_eq!(rows, FLOOD);
    system.finish().await;
}

/// Whatever a frame claims to be, it is its session's: another's `from`, device, group or conversation change nothing.
#[tokio::test]
async fn claims_in_frames_change_nothing() {
    let system = System::start(2, 2).await;
    let [alice, bob, mallory] = system.users(["alice", "bob", "mallory"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 1).await;
    let mut m = system.online(&mallory, "phone", 1).await;
    let keys = format!("name = \"two\"\nmembers = [{}]", bob.id);
    let made = a.done("g", "create_group", &keys, "seq = 1\ngroup_id = \"…\"").await;
    let group = made["group_id"].as_integer().unwrap();
    b.next().await;
    a.say("1", &bob, "between us", 1).await;
    b.expect(&delivered("1", "between us", 1, &bob, &alice, "phone")).await;
    a.done("c", "add_contact", &format!("to = {}\nmessage = \"hi\"", bob.id), "seq = 2").await;
    b.next().await;

    // As another user, from another device, at another time, in another place.
    let claims = format!(
        "seq = 1\nts = 1\nsession = 1\nnode = \"e1\"\nlane = 0\n[m.from]\nid = {}\ndevice = \"phone\"",
        alice.id
    );
    m.send(&format!("[[m]]\nid = \"x1\"\nc = \"I am alice\"\nto = {}\n{claims}", bob.id)).await;
    let answer = m.next().await;
    if kind(&answer) == "a" {
        must_be(&stored("x1", 1), &answer);
        b.expect(&delivered("x1", "I am alice", 1, &bob, &mallory, "phone")).await;
    } else {
        must_be(&refused("x1", "", "invalid"), &answer);
    }
    // Somebody else's group: no word in it, and no hand on it. That it exists is not told to strangers either way.
    m.send(&format!("[[gm]]\nid = \"x2\"\nc = \"hello\"\ngroup = {group}")).await;
    expect_refusal(&mut m, "x2").await;
    for (id, t, keys) in [
        ("x3", "create_group_member", format!("group_id = {group}\nmember_id = {}", mallory.id)),
        ("x4", "delete_group_member", format!("group_id = {group}\nmember_id = {}", bob.id)),
        ("x5", "delete_group", format!("group_id = {group}")),
        // Somebody else's request.
        ("x6", "accept_contact", format!("to = {}\n[r.from]\nid = {}\ndevice = \"phone\"", alice.id, bob.id)),
        (
            "x7",
            "decline_contact",
            format!("to = {}\n[r.from]\nid = {}\ndevice = \"phone\"", alice.id, bob.id),
        ),
    ] {
        m.request(id, t, &keys).await;
        expect_refusal(&mut m, id).await;
    }
    // Acknowledging, and marking read, what others were sent.
    for (from, seq) in [(alice.id, 1), (bob.id, 1)] {
        m.send(&format!("[[a]]\nid = \"1\"\nseq = {seq}\n[a.from]\nid = {from}")).await;
        m.send(&format!("[[a]]\nlvl = \"read\"\nseq = {seq}\n[a.from]\nid = {from}")).await;
    }
    m.send(&format!("[[a]]\nlvl = \"read\"\nseq = 1\ngroup = {group}")).await;
    m.nothing_but_heartbeat().await;
    // Reading: neither the talk nor the group, by any call that takes one.
    for path in [format!("/history?group={group}&limit=10"), format!("/group/{group}")] {
        let reply = system.call(0, "GET", &path).token(&mallory.token).send().await;
        assert!((400..500).contains(&reply.status), "{path}: {} {}", reply.status, reply.text);
        assert!(!reply.text.contains("two"), "{path}: {}", reply.text);
    }
    let history =
        system.call(0, "GET", &format!("/history?with={}", alice.id)).token(&mallory.token).send().await;
    assert!(!history.text.contains("between us"), "{}", history.text);

    // Nothing of it has any effect: the talk, the group and the request are as they were.
    a.nothing_but_heartbeat().await;
    b.nothing_but_heartbeat().await;
    b.done("yes", "accept_contact", &format!("to = {}", alice.id), "seq = 3\ncontact_version = \"…\"").await;
    a.next().await;
    b.say_group("2", group, "still two", 2).await;
    a.expect(&delivered_group("2", "still two", 2, group, &bob, "phone")).await;
    let query = "SELECT count(*) FROM cursors WHERE user_id = $1 AND conv IN ($2, $3)";
    let talk = format!("dm:{}:{}", alice.id, bob.id);
    let moved = system.stores.number(query, &[&mallory.id, &talk, &format!("g:{group}")]).await;
    assert_eq!(moved, 0, "no cursor in what is not hers");
    system.finish().await;
}

/// Refused, with whatever code.
async fn expect_refusal(wire: &mut Wire, id: &str) {
    let entry = wire.next().await;
    let keys = tests::wire::body(&entry);
    assert_eq!(kind(&entry), "rr", "{entry}");
    assert_eq!((keys["id"].as_str(), keys["s"].as_integer()), (Some(id), Some(1)), "{entry}");
}

/// A token opens its own user's sessions until its logout, and nothing else, on any node, by any door.
#[tokio::test]
async fn a_token_that_is_not_ones_own_opens_nothing() {
    let system = System::start(2, 2).await;
    let [alice, mallory] = system.users(["alice", "mallory"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let of_mallory = system.token(&mallory, "phone").await;
    let opens_nothing = async |user: i64, token: &str, by_http: bool| {
        for edge in 0..2 {
            for t in ["login", "reconnect"] {
                let mut wire = Wire::connect(system.tcp(edge)).await;
                let frame =
                    login_frame(user, "phone", token).replace("t = \"login\"", &format!("t = \"{t}\""));
                wire.send(&frame).await;
                wire.expect(&refused("login", t, "token")).await;
            }
            if by_http {
                for (method, path) in
                    [("GET", "/offline"), ("GET", "/conversation"), ("POST", "/server/logout")]
                {
                    let reply = system.call(edge, method, path).token(token).send().await;
                    reply.expect_refused(401, "token");
                }
            }
        }
    };
    // Used for another id.
    opens_nothing(alice.id, &of_mallory, false).await;
    // Guessed: near a real one, of the right form, of no form.
    let mut near = a.token.clone().into_bytes();
    near[0] = if near[0] == b'A' { b'B' } else { b'A' };
    let near = String::from_utf8(near).unwrap();
    for guess in [near.as_str(), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &a.token[..31], "%", "' OR 1=1 --"] {
        opens_nothing(alice.id, guess, guess.len() > 30).await;
    }
    a.nothing_but_heartbeat().await;
    // Replayed after logout: the session ends, and it opens nothing any more.
    system.call(1, "POST", "/server/logout").token(&a.token).send().await.expect_ok();
    while a.got().await != Got::Closed {}
    opens_nothing(alice.id, &a.token, true).await;
    // What was not logged out goes on.
    let mut other = system.connect(&mallory, "phone", &of_mallory, 1).await;
    other.request("b", "block", &format!("to = {}", alice.id)).await;
    let answer = other.next().await;
    assert_eq!(answer["rr"]["s"].as_integer(), Some(0), "{answer}");
    system.finish().await;
}
