//! Logins that are carried out late, twice, or by two workers at once: the number drawn before decides, and the session
//! that lives is not thrown out by one that was given up.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use futures::future::join_all;
use shared::{
    ids::{Device, SessionNo, TokenDigest, UserId},
    rpc::Connect,
};
use tests::{
    harness::{Options, SOON, System, eventually, servers, stores::Stores},
    people::{User, delivered, login_frame},
    wire::{Got, Wire, body},
};
use workers::{
    config::WorkerConfig,
    store::{
        self, Pool,
        logins::{self, DeviceLimits, LoggedIn, Standing},
        tokens,
    },
};

/// One user, and tokens without a device.
struct Desk {
    stores: Stores,
    pool: Pool,
}

impl Desk {
    async fn open(name: &str) -> Self {
        let servers = servers::shared().await.unwrap();
        let name = format!("logins_{name}_{}", std::process::id());
        let stores = Stores::open(&servers, &name, 4).await.unwrap();
        let mut config = WorkerConfig::default().postgres;
        config.url = shared::config::SecretUrl::new(&servers.postgres);
        config.schema = name;
        store::migrate(&config).await.unwrap();
        stores.execute("INSERT INTO users (phone, name, password) VALUES ('138', 'x', 'x')", &[]).await;
        Self { stores, pool: Pool::new(&config).unwrap() }
    }

    /// A token that no device has; each is newer than the one before it.
    async fn token(&self, name: &str) {
        let digest = TokenDigest::of(name);
        let insert = "INSERT INTO sessions (digest, user_id, created_at) VALUES ($1, 1, clock_timestamp())";
        self.stores.execute(insert, &[&digest.as_str()]).await;
    }

    async fn draw(&self, count: u32) -> Vec<SessionNo> {
        logins::draw(&self.pool, count).await.unwrap()
    }

    async fn connect(&self, logins: &[(&str, &str)], numbers: &[SessionNo]) -> Vec<LoggedIn> {
        let logins: Vec<Connect> = logins.iter().map(|(device, token)| connect(device, token)).collect();
        let limits = DeviceLimits { devices: 2, days: 30 };
        logins::connect(&self.pool, &logins, numbers, limits).await.unwrap().results
    }

    async fn newest(&self, device: &str) -> i64 {
        self.stores.number("SELECT session FROM devices WHERE user_id = 1 AND device = $1", &[&device]).await
    }

    async fn standing(&self, device: &str, number: SessionNo) -> Standing {
        let session = self.pool.get().await.unwrap();
        logins::standings(&session, &[(UserId(1), &Device::new(device).unwrap(), number)]).await.unwrap()[0]
    }

    async fn tokens(&self) -> i64 {
        self.stores.number("SELECT count(*) FROM sessions", &[]).await
    }
}

fn connect(device: &str, token: &str) -> Connect {
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Connect { user: UserId(1), device: Device::new(device).unwrap(), token: TokenDigest::of(token), peer }
}

fn yes(session: SessionNo) -> LoggedIn {
    LoggedIn::Yes { session, again: false }
}

fn code(result: &LoggedIn) -> &str {
    match result {
        LoggedIn::Yes { .. } => "yes",
        LoggedIn::No(code, _) => code.as_str(),
    }
}

#[tokio::test]
async fn a_login_with_a_lower_number_comes_too_late_and_changes_nothing() {
    let desk = Desk::open("late").await;
    desk.token("old").await;
    let early = desk.draw(1).await;
    desk.token("new").await;
    let (late, next) = (early[0], desk.draw(2).await);
    assert!(late < next[0] && next[0] < next[1], "{late} {next:?}");
    // The late one has the newer token: carried out, it would end the other.
    assert_eq!(desk.connect(&[("pad", "old")], &next[..1]).await, [yes(next[0])]);
    assert_eq!(code(&desk.connect(&[("pad", "new")], &early).await[0]), "unavailable");
    assert_eq!((desk.newest("pad").await, desk.tokens().await), (next[0].0, 2));
    let bound = "SELECT count(*) FROM sessions WHERE device IS NOT NULL";
    assert_eq!(desk.stores.number(bound, &[]).await, 1, "the late one's token stays free");
    // Whoever still waits tries again, and is then the newest.
    assert_eq!(desk.connect(&[("pad", "new")], &next[1..]).await, [yes(next[1])]);
    assert_eq!((desk.newest("pad").await, desk.tokens().await), (next[1].0, 1));
    desk.stores.drop_all().await;
}

#[tokio::test]
async fn the_same_login_again_is_answered_as_before() {
    let desk = Desk::open("again").await;
    for token in ["a", "b"] {
        desk.token(token).await;
    }
    let numbers = desk.draw(3).await;
    let batch = [("pad", "a"), ("watch", "b"), ("pad", "a")];
    // Of two on one device the later one wins.
    let first = desk.connect(&batch, &numbers).await;
    assert_eq!(first.iter().map(code).collect::<Vec<_>>(), ["unavailable", "yes", "yes"]);
    let again = desk.connect(&batch, &numbers).await;
    assert_eq!(again.iter().map(code).collect::<Vec<_>>(), ["unavailable", "yes", "yes"]);
    assert_eq!(again[2], LoggedIn::Yes { session: numbers[2], again: true });
    assert_eq!((desk.newest("pad").await, desk.newest("watch").await), (numbers[2].0, numbers[1].0));
    // By two workers at once as well.
    for _ in 0..20 {
        let numbers = desk.draw(2).await;
        let batch = [("watch", "b"), ("pad", "a")];
        let both = tokio::join!(desk.connect(&batch, &numbers), desk.connect(&batch, &numbers));
        let all: Vec<&str> = both.0.iter().chain(&both.1).map(code).collect();
        assert_eq!(all, ["yes"; 4]);
    }
    desk.stores.drop_all().await;
}

#[tokio::test]
async fn a_login_that_is_refused_raises_no_fence() {
    let desk = Desk::open("refused").await;
    for token in ["a", "b", "c"] {
        desk.token(token).await;
    }
    let numbers = desk.draw(4).await;
    desk.connect(&[("pad", "a"), ("watch", "b")], &numbers[..2]).await;
    assert_eq!(code(&desk.connect(&[("pad", "nobody's")], &numbers[2..3]).await[0]), "token");
    assert_eq!(code(&desk.connect(&[("third", "c")], &numbers[3..]).await[0]), "limit");
    assert_eq!(desk.newest("pad").await, numbers[0].0);
    desk.stores.drop_all().await;
}

#[tokio::test]
async fn a_revoked_token_raises_the_fence_of_its_device() {
    let desk = Desk::open("revoked").await;
    for token in ["a", "b", "w"] {
        desk.token(token).await;
    }
    let numbers = desk.draw(2).await;
    desk.connect(&[("pad", "a"), ("watch", "w")], &numbers).await;
    let late = desk.draw(1).await;
    assert_eq!(desk.standing("pad", numbers[0]).await, Standing::Newest);
    let ended = tokens::revoke(&desk.pool, &TokenDigest::of("a")).await.unwrap().unwrap();
    assert_eq!((ended.device.as_str(), ended.session), ("pad", numbers[0]));
    assert!(ended.below > late[0] && desk.newest("pad").await == ended.below.0);
    assert_eq!(desk.standing("pad", numbers[0]).await, Standing::Revoked);
    assert_eq!(desk.standing("watch", numbers[1]).await, Standing::Newest, "another device is not meant");
    assert_eq!(code(&desk.connect(&[("pad", "b")], &late).await[0]), "unavailable");
    let next = desk.draw(1).await;
    assert_eq!(desk.connect(&[("pad", "b")], &next).await, [yes(next[0])]);
    assert!(next[0] > ended.below, "a new session is not meant either");
    assert_eq!(desk.standing("pad", numbers[0]).await, Standing::Replaced);
    assert_eq!(tokens::revoke(&desk.pool, &TokenDigest::of("a")).await.unwrap(), None);
    desk.stores.drop_all().await;
}

/// As a client does that is told to try again.
async fn logged_in(system: &System, user: &User, device: &str, token: &str, edge: usize) -> Wire {
    loop {
        let mut wire = Wire::connect(system.tcp(edge)).await;
        wire.send(&login_frame(user.id, device, token)).await;
        let Got::Entry(answer) = wire.got_within(SOON).await.expect("an answer") else {
            panic!("the connection was closed before the login was answered");
        };
        match body(&answer).get("code").and_then(toml::Value::as_str) {
            None => return wire,
            Some(code) => assert_eq!(code, "unavailable", "{answer:?}"),
        }
    }
}

/// A worker hangs with logins in its socket; their edges ask the other one. Awake again it carries its own out, and no
/// session ends by that.
#[tokio::test]
async fn a_worker_that_hung_throws_nobody_out() {
    // A call that is lost at the worker that hangs is asked of the other one long before its own time is over.
    let edge = vec![("rpc.timeout_seconds", "30".into())];
    let system = System::start_with(2, 2, Options { edge, ..Options::default() }).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut bobs = system.online(&bob, "phone", 0).await;
    let mut devices = Vec::new();
    for n in 0..16 {
        let device = format!("device{n}");
        devices.push((device.clone(), system.token(&alice, &device).await));
    }
    for round in 1..=2 {
        let hung = round as usize % 2;
        system.workers[hung].freeze(true);
        let logins = devices.iter().enumerate().map(async |(n, (device, token))| {
            // Not all in one call.
            tokio::time::sleep(Duration::from_millis(n as u64 * 20)).await;
            let begun = std::time::Instant::now();
            let wire = logged_in(&system, &alice, device, token, n % 2).await;
            (wire, begun.elapsed())
        });
        let (mut wires, times): (Vec<Wire>, Vec<Duration>) = join_all(logins).await.into_iter().unzip();
        // One attempt may be lost at the worker that hangs, and one be waited for.
        assert!(times.iter().all(|time| *time < Duration::from_secs(10)), "{times:?}");
        system.workers[hung].freeze(false);
        // It answers again, so it has carried out what lay in its socket before.
        let before = system.workers[hung].metric("im_worker_rpc_calls_total").await;
        eventually(SOON, async || {
            let user = format!("/user/id/{}", alice.id);
            assert_eq!(system.call(0, "GET", &user).token(&devices[0].1).send().await.status, 200);
            let calls = system.workers[hung].metric("im_worker_rpc_calls_total").await;
            if calls > before { Ok(()) } else { Err("the worker that hung answers no call yet".to_owned()) }
        })
        .await;
        let id = format!("m{round}");
        bobs.say(&id, &alice, "still there?", round).await;
        for wire in &mut wires {
            wire.expect(&delivered(&id, "still there?", round, &alice, &bob, "phone")).await;
            wire.acknowledge(&id, round, &bob).await;
            wire.nothing_but_heartbeat().await;
        }
        // The next round's logins are not owed it again.
        for (device, _) in &devices {
            system.cursor_at(&alice, device, &bob, round).await;
        }
    }
    system.finish().await;
}

/// What is not told to a node that hangs, that a session of its own is replaced or revoked, the session finds out by
/// itself once the node is back.
#[tokio::test]
async fn a_session_that_ended_while_its_node_hung_is_closed_when_it_is_back() {
    let system = System::start(2, 2).await;
    let [alice, bob, carol] = system.users(["alice", "bob", "carol"]).await;
    let mut revoked = system.online(&alice, "phone", 1).await;
    let mut replaced = system.online(&bob, "phone", 1).await;
    let mut changed = system.online(&carol, "phone", 1).await;
    let mut stays = system.online(&carol, "watch", 1).await;
    system.directory_stands().await;
    system.edges[1].freeze(true);
    eventually(SOON, async || {
        let nodes: Vec<String> = system.stores.redis("HKEYS", &[&system.stores.key("im_list")]).await;
        if nodes.len() == 1 { Ok(()) } else { Err(format!("{nodes:?} count as alive")) }
    })
    .await;
    system.call(0, "POST", "/server/logout").token(&revoked.token).send().await.expect_ok();
    let mut newer = system.connect(&bob, "phone", &replaced.token, 0).await;
    let change = system.call(0, "PUT", "/user").token(&stays.token);
    change.with("old_password", &carol.password).with("password", "new").send().await.expect_ok();
    system.edges[1].freeze(false);
    revoked.expect_closed().await;
    changed.expect_closed().await;
    replaced.expect("[[n]]\nt = \"replaced\"").await;
    replaced.expect_closed().await;
    stays.nothing_but_heartbeat().await;
    newer.nothing_but_heartbeat().await;
    system.finish().await;
}
