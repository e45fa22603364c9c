//! TLS on the public ports: round trips, certificates renewed under way, and those who do not speak it.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::{fs, time::Duration};

use shared::{
    client::{
        Client, Connection, Events, Options,
        http::{Api, builder},
    },
    ids::{Device, UserId},
    message::{Target, WantedAck},
    tls::{self, Trust, pin::Fingerprint},
};
use simple_im::record::Stack;
use tests::{
    certificates::{Authority, Pair},
    harness::{self, SOON, System, eventually},
    people::stored,
    private::{Data, simple_im, text},
    socket::{Socket, Tongue},
    wire::{Got, Style, Wire},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A system whose edges show this certificate.
async fn system(edges: usize, pair: &Pair, more: &[(&'static str, &str)]) -> System {
    let mut edge = pair.settings();
    edge.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
    let options = harness::Options { edge, ..harness::Options::default() };
    System::start_with(edges, 1, options).await
}

fn api(system: &System, edge: usize, tls: tls::Client) -> Api {
    Api::with_tls(format!("https://{}", system.edge(edge).http), tls)
}

/// A user registered and connected over TLS.
async fn online(system: &System, edge: usize, name: &str, tls: &tls::Client) -> (Client, Events) {
    let (api, phone) = (api(system, edge, tls.clone()), system.new_phone());
    api.register(&phone, name, "888888").await.unwrap();
    let login = api.login(&phone, "888888", Some("phone")).await.unwrap();
    let mut options = Options::of_login(&api, &login, Device::new("phone").unwrap());
    assert!(options.tls.is_some(), "whoever logs in over HTTPS connects over TLS");
    options.server = Some(system.tcp(edge).to_owned());
    Client::connect(options).await.unwrap()
}

async fn talk(from: &Client, to: &Client, events: &mut Events, text: &str) {
    from.send(Target::User(to.user()), text, WantedAck::Stored).await.unwrap();
    let delivery = timeout(SOON, events.next_delivery()).await.unwrap().unwrap();
    assert_eq!(delivery.text(), Some(text));
}

async fn series(system: &System, series: &str) -> f64 {
    system.edges[0].metric(series).await
}

async fn until(system: &System, name: &str, expected: f64) {
    eventually(SOON, async || match series(system, name).await {
        found if found == expected => Ok(()),
        found => Err(format!("{name} is {found}, not {expected}")),
    })
    .await;
}

#[tokio::test]
async fn messages_and_calls_go_over_tls_between_those_who_trust() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    let pair = authority.sign("edge", 2049);
    let system = system(2, &pair, &[]).await;
    let (alice, mut at_alice) = online(&system, 0, "alice", &authority.trusted()).await;
    let print = Fingerprint::of(&tls::certificates(&pair.certificate).unwrap()[0]);
    let pinned = tls::Client::new(&Trust::Pinned(print)).unwrap();
    let (bob, mut at_bob) = online(&system, 1, "bob", &pinned).await;
    talk(&alice, &bob, &mut at_bob, "over TLS").await;
    talk(&bob, &alice, &mut at_alice, &"ä".repeat(16_000)).await;

    // Whoever trusts another authority, or another certificate, speaks with neither port.
    let other = Authority::new(dir.path(), "other");
    let wrong = Fingerprint::of(&tls::certificates(&other.root()).unwrap()[0]);
    for tls in [other.trusted(), tls::Client::new(&Trust::Pinned(wrong)).unwrap(), tls::Client::nobody()] {
        assert!(Connection::connect_within(system.tcp(0), Some(&tls), PATIENCE).await.is_err());
        assert!(api(&system, 0, tls).login("1", "2", None).await.is_err());
    }
    // Neither port takes what was meant for the other.
    let connector =
        tokio_rustls::TlsConnector::from(std::sync::Arc::new(authority.trusted().config(&[b"http/1.1"])));
    let tcp = TcpStream::connect(system.tcp(0)).await.unwrap();
    let name = "localhost".try_into().unwrap();
    assert!(connector.connect(name, tcp).await.is_err(), "an HTTP client on the port of frames");
    alice.close().await;
    bob.close().await;
    system.finish().await;
}

#[tokio::test]
async fn a_page_has_its_socket_over_tls_and_a_cookie_that_stays_there() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    let system = system(1, &authority.sign("edge", 2049), &[]).await;
    let (tls, base) = (authority.trusted(), format!("https://{}", system.edge(0).http));
    let (alice, mut at_alice) = online(&system, 0, "alice", &tls).await;
    let (phone, calls) = (system.new_phone(), api(&system, 0, tls.clone()));
    calls.register(&phone, "bob", "888888").await.unwrap();
    let browser = builder(Some(&tls)).build().unwrap();
    let login = async |origin: &str| {
        let form = [("phone", phone.as_str()), ("password", "888888"), ("device", "page")];
        let call = browser.post(format!("{base}/server/login")).form(&form);
        call.header("im-session", "cookie").header("origin", origin).send().await.unwrap()
    };
    // Who stands between can serve a page of this name without TLS: it is none of ours.
    let unsafe_page = base.replacen("https", "http", 1);
    assert_eq!(login(&unsafe_page).await.status(), 403);
    let reply = login(&base).await;
    assert_eq!(reply.status(), 200);
    let cookie = reply.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("; Secure"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let body: toml::Table = reply.text().await.unwrap().parse().unwrap();
    let bob = body["response"][0]["user"]["id"].as_integer().unwrap();

    let headers = |origin| [("cookie", cookie), ("origin", origin)];
    let refused = Socket::connect_over(&base, Some(&tls), Tongue::Json, &headers(&unsafe_page)).await;
    assert_eq!(refused.err(), Some(403));
    let mut page = Socket::connect_over(&base, Some(&tls), Tongue::Json, &headers(&base)).await.unwrap();
    let frame = format!("[[r]]\nid = \"login\"\nt = \"login\"\n[r.user]\nid = {bob}\ndevice = \"page\"");
    page.send(&frame).await;
    page.expect("[[rr]]\nid = \"login\"\nt = \"login\"\ns = 0").await;
    // More than one record at a time, in both directions.
    for (number, length) in [1, 16_000, 30_000, 5].into_iter().enumerate() {
        let text = "ä".repeat(length / 2) + &number.to_string();
        page.send(&format!("[[m]]\nid = \"{number}\"\nc = \"{text}\"\nto = {}", alice.user().0)).await;
        page.expect(&stored(&number.to_string(), 2 * number as i64 + 1)).await;
        let delivery = timeout(SOON, at_alice.next_delivery()).await.unwrap().unwrap();
        assert_eq!(delivery.text(), Some(text.as_str()));
        alice.send(Target::User(UserId(bob)), &text, WantedAck::Stored).await.unwrap();
        let shown = page
            .expect("[[m]]\nid = \"…\"\nc = \"…\"\nts = \"…\"\nseq = \"…\"\nto = \"…\"\nfrom = \"…\"")
            .await;
        assert_eq!(shown["c"].as_str(), Some(text.as_str()));
    }
    page.nothing_but_heartbeat().await;
    page.drop_it();
    alice.close().await;
    system.finish().await;
}

#[tokio::test]
async fn a_client_that_reads_late_gets_everything_in_order() {
    const COUNT: usize = 500;
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    let patient = [("limits.write_seconds", "600")];
    let system = system(1, &authority.sign("edge", 2049), &patient).await;
    let (alice, _at_alice) = online(&system, 0, "alice", &authority.trusted()).await;
    let (api, phone) = (api(&system, 0, authority.trusted()), system.new_phone());
    api.register(&phone, "bob", "888888").await.unwrap();
    let login = api.login(&phone, "888888", Some("phone")).await.unwrap();
    let mut bob =
        Connection::connect_within(system.tcp(0), Some(&authority.trusted()), PATIENCE).await.unwrap();
    let device = Device::new("phone").unwrap();
    bob.login(login.user, &device, login.token.expose()).await.unwrap().unwrap();
    // More than the sockets hold: the node's writes stop in the middle of a record, and go on there.
    let filler = "x".repeat(30_000);
    for number in 0..COUNT {
        let text = format!("{number} {filler}");
        alice.send(Target::User(login.user), &text, WantedAck::Stored).await.unwrap();
    }
    for number in 0..COUNT {
        let frame = bob.next_frame().await.unwrap().expect("the connection stands");
        assert!(
            frame.contains(&format!("\"{number} x")),
            "expected number {number}, found {}",
            &frame[..200]
        );
    }
    alice.close().await;
    // Nothing was acknowledged by bob: it all waits for his next login.
    drop(bob);
    system.finish().await;
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_a_bad_one_for_none() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (Authority::new(dir.path(), "first"), Authority::new(dir.path(), "second"));
    let pair = first.sign("edge", 2049);
    let mut system = system(1, &pair, &[]).await;
    system.allow("the new TLS certificate cannot be used");
    let (alice, _at_alice) = online(&system, 0, "alice", &first.trusted()).await;
    let (bob, mut at_bob) = online(&system, 0, "bob", &first.trusted()).await;
    let connects = async |tls: &tls::Client| {
        Connection::connect_within(system.tcp(0), Some(tls), PATIENCE).await.is_ok()
    };
    const OK: &str = "im_edge_tls_reloads_total{result=\"ok\"}";
    const BAD: &str = "im_edge_tls_reloads_total{result=\"error\"}";
    const ENDS: &str = "im_edge_tls_expiry_timestamp_seconds";
    assert_eq!(series(&system, ENDS).await, 2_493_072_000.0, "2049-01-01");

    second.sign_into(&pair, 2060);
    until(&system, OK, 1.0).await;
    assert_eq!(series(&system, ENDS).await, 2_840_140_800.0, "2060-01-01");
    assert!(connects(&second.trusted()).await && !connects(&first.trusted()).await);
    talk(&alice, &bob, &mut at_bob, "old sessions live on").await;

    // Half of a pair, and no pair at all: the second authority's goes on, for new connections too.
    let good = fs::read(&pair.key).unwrap();
    fs::write(&pair.key, "-----BEGIN PRIVATE KEY-----\n").unwrap();
    until(&system, BAD, 1.0).await;
    assert!(connects(&second.trusted()).await);
    fs::remove_file(&pair.key).unwrap();
    until(&system, BAD, 2.0).await;
    assert!(connects(&second.trusted()).await);
    let (carol, _at_carol) = online(&system, 0, "carol", &second.trusted()).await;

    // Back again; and whoever does not want to wait says so.
    fs::write(&pair.key, good).unwrap();
    until(&system, OK, 2.0).await;
    system.edges[0].hangup();
    until(&system, OK, 3.0).await;
    assert_eq!(series(&system, BAD).await, 2.0);
    talk(&carol, &bob, &mut at_bob, "and new ones").await;
    for client in [alice, bob, carol] {
        client.close().await;
    }
    system.finish().await;
}

#[tokio::test]
async fn whoever_speaks_without_tls_is_told_so_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    let system = system(1, &authority.sign("edge", 2049), &[]).await;
    let mut wire = Wire::connect_as(system.tcp(0), Style::Text).await;
    wire.send("[[r]]\nid = \"login\"\nt = \"login\"").await;
    wire.expect("[[rr]]\nid = \"\"\nt = \"\"\ns = 1\nr = \"expected a TLS handshake on this port, found none; connect with TLS\"\ncode = \"malformed\"").await;
    assert_eq!(wire.got().await, Got::Closed);

    let mut http = TcpStream::connect(&system.edge(0).http).await.unwrap();
    http.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, http.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("expected HTTPS on this port, not HTTP\n"),
        "{answer}"
    );

    // As a balancer looks whether somebody is there.
    drop(TcpStream::connect(system.tcp(0)).await.unwrap());
    until(&system, "im_edge_tls_handshakes_total{result=\"plaintext\"}", 2.0).await;
    until(&system, "im_edge_tls_handshakes_total{result=\"gone\"}", 1.0).await;
    until(&system, "im_edge_connections_closed_total{reason=\"tls_plaintext\"}", 1.0).await;
    until(&system, "im_edge_connections", 0.0).await;
    system.finish().await;
}

#[tokio::test]
async fn whoever_says_nothing_is_cut_off_and_holds_nobody_up() {
    const SILENT: usize = 50;
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    let one_place = [("tls.handshakes", "1"), ("tls.handshake_seconds", "2")];
    let system = system(1, &authority.sign("edge", 2049), &one_place).await;
    let mut silent = Vec::new();
    let begun = Instant::now();
    for number in 0..SILENT {
        let address = if number % 2 == 0 { system.tcp(0) } else { system.edge(0).http.as_str() };
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // The silent ones have no place: the only one there is, is free.
    let connect = || async {
        let tls = authority.trusted();
        Connection::connect_within(system.tcp(0), Some(&tls), PATIENCE).await.unwrap()
    };
    drop(connect().await);
    let late = series(&system, "im_edge_tls_handshakes_total{result=\"timeout\"}").await;
    assert!(late == 0.0 || begun.elapsed() >= Duration::from_secs(2), "{late} were cut off too early");
    // One that has said something and stops holds the place until it is cut off; then the next one has it.
    let mut stalled = TcpStream::connect(system.tcp(0)).await.unwrap();
    stalled.write_all(&[22, 3, 1]).await.unwrap();
    until(&system, "im_edge_tls_handshakes", 1.0).await;
    silent.push(stalled);
    // One that came too soon after it has had its own time; whoever comes again gets in.
    eventually(SOON, async || {
        let tls = authority.trusted();
        let connected = Connection::connect_within(system.tcp(0), Some(&tls), PATIENCE).await;
        connected.map(drop).map_err(|error| error.to_string())
    })
    .await;
    for mut stream in silent {
        let mut scrap = Vec::new();
        let end = timeout(PATIENCE, stream.read_to_end(&mut scrap)).await.expect("it is cut off");
        assert!(end.is_err() || scrap.is_empty(), "nothing is said to whoever says nothing");
    }
    let cut_off = series(&system, "im_edge_tls_handshakes_total{result=\"timeout\"}").await;
    assert!(cut_off >= (SILENT + 1) as f64, "{cut_off}");
    until(&system, "im_edge_tls_handshakes", 0.0).await;
    until(&system, "im_edge_connections", 0.0).await;
    until(&system, "im_edge_http_connections", 0.0).await;
    system.finish().await;
}

/// A private stack that has TLS says whom to trust, and its own tools find the stores' passwords.
#[tokio::test]
async fn a_private_stack_with_tls_is_spoken_to_by_those_who_trust_its_authority() {
    let data = Data::new(1, 1);
    let at = text(data.path());
    let said = simple_im(&["up", "--detach", "--tls", "--data", at, "--edges", "1", "--workers", "1"]).await;
    assert!(said.contains("https://127.0.0.1:") && said.contains("tls/ca.pem"), "{said}");
    let stack = Stack::read(data.path()).unwrap().unwrap();
    let edge = &stack.process.iter().find(|process| process.name == "e1").unwrap().addresses;
    let calls = edge.api().unwrap();
    calls.register("13800000000", "alice", "888888").await.unwrap();
    let login = calls.login("13800000000", "888888", Some("phone")).await.unwrap();
    let options = Options::of_login(&calls, &login, Device::new("phone").unwrap());
    let (alice, _events) = Client::connect(options).await.unwrap();
    alice.close().await;
    assert!(Api::new(calls.base()).login("13800000000", "888888", None).await.is_err(), "it trusts nobody");
    // A person at a terminal of the same machine names the folder once.
    let (kept, password) = (data.beside("kept.toml"), data.beside("password"));
    fs::write(&password, "888888\n").unwrap();
    let (kept, password) = (text(&kept), text(&password));
    let account = ["--session", kept, "--phone", "13800000000"];
    simple_im(&[&["login", "--stack", at, "--password-file", password], &account[..]].concat()).await;
    let to = format!("id:{}", login.user);
    simple_im(&[&["send", to.as_str(), "a note to myself"], &account[..]].concat()).await;
    let said = simple_im(&[&["tail", "--count", "1", "--stack", at], &account[..]].concat()).await;
    assert!(said.contains("me: a note to myself"), "{said}");
    let nodes = simple_im(&["admin", "--stack", at, "nodes", "list"]).await;
    assert!(nodes.contains("e1-"), "{nodes}");
    simple_im(&["down", "--data", at]).await;
}

/// Figures, and what exactly is not ready, are on the private port alone.
#[tokio::test]
async fn the_public_port_shows_neither_figures_nor_the_insides_of_health() {
    let mut system = System::start(1, 1).await;
    system
        .call(0, "GET", "/metrics")
        .send()
        .await
        .expect(404, "[[response]]\nstatus = 1\nr = \"…\"\ncode = \"unknown\"");
    system.call(0, "GET", "/livez").send().await.expect_ok();
    system.call(0, "GET", "/readyz").send().await.expect_ok();
    // Not ready: the private port says why, the public one says the same whatever it is.
    system.workers[0].stop().await;
    let public = eventually(SOON, async || {
        let reply = system.call(0, "GET", "/readyz").send().await;
        if reply.status == 503 { Ok(reply.text) } else { Err(format!("{}", reply.status)) }
    })
    .await;
    assert!(public.contains("one of them does not, or that this node drains"), "{public}");
    for inside in ["nats", "127.0.0.1", "postgres", "redis", "e1"] {
        assert!(!public.to_lowercase().contains(inside), "{inside} in {public}");
    }
    assert!(system.edges[0].metric("im_edge_connections").await >= 0.0);
    system.start_worker(0).await;
    system.finish().await;
}
