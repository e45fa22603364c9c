//! `GET /ws` on real edges and workers: both dialects beside TCP, login by frame and by cookie, refusals, resuming.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use tests::{
    harness::{Options, System},
    people::{delivered, login_frame, refused, stored},
    socket::{Got, Socket, Tongue, cookie_login},
};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn devices_over_tcp_and_over_websocket_in_both_dialects_talk_with_each_other() {
    let system = System::start(2, 2).await;
    // From then on no session is registered anew and told to read its backlog, with receipts that it had.
    system.directory_stands().await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut phone = system.online(&alice, "phone", 0).await;
    let mut page = system.socket(&alice, "page", 1, Tongue::Json).await;
    let mut desk = system.socket(&bob, "desk", 0, Tongue::Toml).await;
    let mut tablet = system.socket(&bob, "tablet", 1, Tongue::Json).await;

    phone.say("1", &bob, "from TCP 大傻 👍", 1).await;
    let shown = delivered("1", "from TCP 大傻 👍", 1, &bob, &alice, "phone");
    for socket in [&mut page, &mut desk, &mut tablet] {
        socket.expect(&shown).await;
    }
    page.send(&format!(
        "[[m]]\nid = \"2\"\nc = \"\"\"a \\\"quoted\\\" \\\\ line\nand another\"\"\"\nack = \"delivered\"\n[m.to]\nid = {}",
        bob.id
    ))
    .await;
    page.expect(&stored("2", 2)).await;
    let shown = delivered("2", "a \\\"quoted\\\" \\\\ line\\nand another", 2, &bob, &alice, "page");
    phone.expect(&shown).await;
    desk.expect(&shown).await;
    tablet.expect(&shown).await;
    tablet.acknowledge(2, &alice).await;
    page.expect(&format!("[[a]]\nid = \"2\"\nlvl = \"delivered\"\nseq = 2\n[a.from]\nid = {}", bob.id)).await;

    // A request, and lists of numbers.
    desk.send(&format!(
        "[[r]]\nid = \"g\"\nt = \"create_group\"\nname = \"friends\"\nmembers = [{}]",
        alice.id
    ))
    .await;
    let made =
        desk.expect("[[rr]]\nid = \"g\"\nt = \"create_group\"\ns = 0\nseq = 1\ngroup_id = \"…\"").await;
    let group = made["group_id"].as_integer().unwrap();
    let notice = format!(
        "[[r]]\nid = \"g\"\nt = \"create_group\"\nname = \"friends\"\nmembers = [{}]\ngroup_id = {group}\nts = \"…\"\nseq = 1\n\
         [r.from]\nid = {}\ndevice = \"desk\"",
        alice.id, bob.id
    );
    page.expect(&notice).await;
    phone.expect(&notice).await;
    tablet.expect(&notice).await;
    page.send(&format!("[[gm]]\nid = \"3\"\nc = \"hi\"\ngroup = {group}")).await;
    page.expect(&stored("3", 2)).await;
    system.finish().await;
}

#[tokio::test]
async fn a_page_logs_in_by_a_cookie_that_its_scripts_never_see() {
    let system = System::start(2, 1).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let login = |device: &str| {
        let call = system.call(0, "POST", "/server/login").with("phone", &alice.phone);
        call.with("password", &alice.password).with("device", device).by_cookie(None)
    };
    let reply = login("page").json().send().await;
    assert!(!reply.text.contains("token"), "{}", reply.text);
    let attributes = reply.set_cookie.split_once("; ").unwrap().1;
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000");
    let cookie = reply.cookie();

    let host = system.http(1);
    let with_cookie = [("cookie", cookie.as_str()), ("origin", host.as_str())];
    let mut page = Socket::connect(&system.http(1), Tongue::Json, &with_cookie).await.unwrap();
    page.send(&cookie_login(&alice, "page")).await;
    page.expect("[[rr]]\nid = \"login\"\nt = \"login\"\ns = 0").await;
    page.say("1", &bob, "hello", 1).await;

    // Calls by the cookie: with the header, and never from elsewhere.
    let group = || system.call(1, "GET", "/group");
    group().by_cookie(Some(&cookie)).send().await.expect_ok();
    group().by_cookie(Some(&cookie)).header("origin", &host).send().await.expect_ok();
    group().header("cookie", &cookie).send().await.expect_refused(403, "forbidden");
    let elsewhere = group().by_cookie(Some(&cookie)).header("origin", "https://evil.example");
    elsewhere.send().await.expect_refused(403, "forbidden");
    login("page").header("origin", "https://evil.example").send().await.expect_refused(403, "forbidden");
    group().by_cookie(None).send().await.expect_refused(401, "token");
    // A cookie of one user is none of another's, nor of another device.
    page.send(&cookie_login(&alice, "page")).await;
    page.expect(&refused("login", "login", "already_logged_in")).await;
    let mut other = Socket::connect(&system.http(1), Tongue::Json, &with_cookie).await.unwrap();
    for (user, device) in [(&bob, "page"), (&alice, "tablet")] {
        other.send(&cookie_login(user, device)).await;
        other.expect(&refused("login", "login", "token")).await;
    }
    let mut without = Socket::connect(&system.http(1), Tongue::Toml, &[]).await.unwrap();
    without.send(&cookie_login(&alice, "page")).await;
    without.expect(&refused("login", "login", "token")).await;

    let out = system.call(0, "POST", "/server/logout").by_cookie(Some(&cookie)).send().await.expect_ok();
    assert_eq!(out.set_cookie, "im_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    page.expect_got(&Got::Closed(4002)).await;
    let gone = group().by_cookie(Some(&cookie)).send().await.expect_refused(401, "token");
    assert!(gone.set_cookie.ends_with("Max-Age=0"), "{}", gone.set_cookie);
    system.finish().await;
}

#[tokio::test]
async fn pages_of_elsewhere_and_what_is_no_websocket_are_refused_before_the_upgrade() {
    let options =
        Options { edge: vec![("edge.origins", "http://localhost:5173".to_owned())], ..Options::default() };
    let system = System::start_with(1, 1, options).await;
    let http = system.http(0);
    for (origin, expected) in [
        (http.as_str(), None),
        ("http://localhost:5173", None),
        ("https://evil.example", Some(403)),
        ("http://localhost:5174", Some(403)),
        ("null", Some(403)),
    ] {
        let found = Socket::connect(&http, Tongue::Json, &[("origin", origin)]).await;
        assert_eq!(found.err(), expected, "{origin}");
    }
    system.call(0, "GET", "/ws").send().await.expect_refused(426, "invalid");
    system.finish().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_as_over_tcp_and_the_connection_goes_on() {
    let system = System::start(1, 1).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut tcp = system.online(&alice, "tcp", 0).await;
    let mut page = system.socket(&alice, "page", 0, Tongue::Json).await;
    for (toml, json) in [
        ("[[m]]\nid = \"a\"\nc = \"x\"\nto = \"Bob\"\n", r#"{"m":[{"id":"a","c":"x","to":"Bob"}]}"#),
        ("[[m]]\nid = \"a\"\nc = \"x\"\nto = 1.5\n", r#"{"m":[{"id":"a","c":"x","to":1.5}]}"#),
        ("[[r]]\nid = \"a\"\nt = \"sing\"\n", r#"{"r":[{"id":"a","t":"sing"}]}"#),
        ("[[x]]\nid = \"a\"\n", r#"{"x":[{"id":"a"}]}"#),
        ("[[m]]\nid = \"a\"\nc = \"x\\u0000\"\nto = 1\n", r#"{"m":[{"id":"a","c":"x\u0000","to":1}]}"#),
    ] {
        tcp.send(toml).await;
        page.send_text(json).await;
        let (Got::Entry(by_page), by_tcp) = (page.got().await, tcp.next().await) else { panic!("{json}") };
        assert_eq!(by_page, by_tcp, "{json}");
    }
    for json in ["hello?", r#"{"m":[{"id":"a","id":"b"}]}"#, r#"{"m":[{"to":[[[[[[[1]]]]]]]}]}"#, "[]"] {
        page.send_text(json).await;
        page.expect(&refused("", "", "malformed")).await;
    }
    // Heartbeats of both spellings, a ping of the protocol's own, and a message that came as bytes.
    page.nothing_but_heartbeat().await;
    page.send_text("{}").await;
    page.expect_got(&Got::Heartbeat).await;
    page.send_message(Message::Ping("x".into())).await;
    page.expect_got(&Got::Pong).await;
    let bytes = format!(r#"{{"m":[{{"id":"b","to":"{}","c":"as bytes"}}]}}"#, bob.id);
    page.send_message(Message::binary(bytes.into_bytes())).await;
    page.expect(&stored("b", 1)).await;
    page.send_message(Message::binary(vec![0xff])).await;
    page.expect(&refused("", "", "malformed")).await;
    let too_large = "x".repeat(65_537);
    page.send_text(&too_large).await;
    let found = page.expect(&refused("", "", "too_long")).await;
    assert_eq!(found["r"].as_str(), Some("expected a frame of at most 65536 bytes, found 65537"));
    page.expect_got(&Got::Closed(1009)).await;
    system.finish().await;
}

#[tokio::test]
async fn a_page_that_was_cut_off_goes_on_at_another_node_without_loss_or_doubling() {
    let system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "tcp", 0).await;
    let token = system.token(&bob, "page").await;
    let mut page = system.socket_with(&bob, "page", &token, 0, Tongue::Json).await;
    for seq in 1..=5 {
        a.say(&format!("{seq}"), &bob, "x", seq).await;
        page.expect(&delivered(&format!("{seq}"), "x", seq, &bob, &alice, "tcp")).await;
        if seq <= 3 {
            page.acknowledge(seq, &alice).await;
        }
    }
    system.cursor_at(&bob, "page", &alice, 3).await;
    page.drop_it();
    system.away(&bob).await;
    for seq in 6..=8 {
        a.say(&format!("{seq}"), &bob, "x", seq).await;
    }
    let mut page = system.socket_with(&bob, "page", &token, 1, Tongue::Json).await;
    for seq in 4..=8 {
        page.expect(&delivered(&format!("{seq}"), "x", seq, &bob, &alice, "tcp")).await;
        page.acknowledge(seq, &alice).await;
    }
    a.say("9", &bob, "x", 9).await;
    page.expect(&delivered("9", "x", 9, &bob, &alice, "tcp")).await;
    // What was sent twice is one message.
    page.say("m", &alice, "back", 10).await;
    page.say("m", &alice, "back", 10).await;
    page.nothing_but_heartbeat().await;
    system.finish().await;
}

#[tokio::test]
async fn the_server_says_why_it_closes() {
    let options = Options { edge: vec![("limits.login_seconds", "4".to_owned())], ..Options::default() };
    let system = System::start_with(1, 1, options).await;
    let alice = system.user("alice").await;
    let mut silent = Socket::connect(&system.http(0), Tongue::Json, &[]).await.unwrap();
    silent.expect_got(&Got::Closed(4003)).await;
    let mut page = system.socket(&alice, "page", 0, Tongue::Json).await;
    let token = system.token(&alice, "page").await;
    let mut again = Socket::connect(&system.http(0), Tongue::Toml, &[]).await.unwrap();
    again.send(&login_frame(alice.id, "page", &token)).await;
    again.expect("[[rr]]\nid = \"login\"\nt = \"login\"\ns = 0").await;
    page.expect("[[n]]\nt = \"replaced\"").await;
    page.expect_got(&Got::Closed(4001)).await;
    system.finish().await;
}

#[tokio::test]
async fn the_page_is_served_with_its_policy() {
    let system = System::start(1, 1).await;
    let page = system.call(0, "GET", "/").send().await;
    assert_eq!((page.status, page.content_type.as_str()), (200, "text/html; charset=utf-8"));
    assert!(page.text.starts_with("<!doctype html>"), "{}", page.text);
    assert_eq!(system.call(0, "GET", "/index.html").send().await.text, page.text);
    system.call(0, "GET", "/nowhere.js").send().await.expect_refused(404, "unknown");
    system.finish().await;
}
