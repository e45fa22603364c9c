//! NATS killed and JetStream's directory removed: what was not committed is sent again, before anything newer. And NATS
//! killed alone, which no session notices.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::path::PathBuf;

use simple_im::stack::{
    ports,
    servers::{Nats, Running, Store as Server},
};
use tests::{
    harness::{Options, SOON, Store, System, Way, eventually},
    people::{User, delivered, login_frame, stored},
    wire::{Got, Wire, must_be},
};

/// A broker of the test's own, which it may kill.
struct Broker {
    server: Server,
    running: Option<Running>,
    dir: tempfile::TempDir,
}

impl Broker {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Nats::prepare(dir.path(), ports::free().unwrap()).unwrap();
        let mut broker = Self { server, running: None, dir };
        broker.start_again().await;
        broker
    }

    async fn start_again(&mut self) {
        self.running = Some(self.server.clone().start(&self.dir.path().join("nats.log")).await.unwrap());
    }

    async fn kill(&mut self) {
        self.running.take().unwrap().kill().await.unwrap();
    }

    fn wipe(&self) {
        let kept: PathBuf = self.dir.path().join("jetstream");
        std::fs::remove_dir_all(kept).unwrap();
    }

    /// A system on it.
    async fn system(&self) -> System {
        let url = self.server.url();
        let options = Options {
            cuttable: true,
            edge: vec![("nats.url", url.clone())],
            worker: vec![
                ("nats.url", url.clone()),
                ("postgres.connect_seconds", "1".into()),
                ("postgres.hung_seconds", "1".into()),
            ],
            ..Options::default()
        };
        let mut system = System::start_with(2, 2, options).await;
        system.stores.nats = shared::nats::connect(&url).await.unwrap();
        system
    }
}

/// Waits until every edge says so about a metric.
async fn edges_say(system: &System, metric: &str, value: f64) {
    eventually(SOON, async || {
        for edge in &system.edges {
            let found = edge.metric(metric).await;
            if found != value {
                return Err(format!("{}: {metric} is {found}, not {value}", edge.name));
            }
        }
        Ok(())
    })
    .await;
}

async fn say(wire: &mut Wire, to: &User, number: i64, ack: &str) {
    let to = to.id;
    let frame = format!("[[m]]\nid = \"m{number}\"\nc = \"number {number}\"\nack = \"{ack}\"\nto = {to}");
    wire.send(&frame).await;
}

/// Logs in as soon as the system can check the token.
async fn come_back(system: &System, user: &User, token: &str, edge: usize) -> Wire {
    eventually(SOON, async || {
        let mut wire = Wire::connect(system.tcp(edge)).await;
        wire.send(&login_frame(user.id, "phone", token)).await;
        match wire.got().await {
            Got::Entry(entry) if entry["rr"]["s"].as_integer() == Some(0) => Ok(wire),
            other => Err(format!("{} is told {other:?}", user.name)),
        }
    })
    .await
}

/// What was in the old stream and what came later arrive in the order in which they were sent.
#[tokio::test]
async fn a_wiped_stream_breaks_no_order() {
    let mut broker = Broker::start().await;
    let mut system = broker.system().await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 1).await;
    let (token_a, token_b) = (a.token.clone(), b.token.clone());
    a.say("hello", &bob, "hello", 1).await;
    b.expect(&delivered("hello", "hello", 1, &bob, &alice, "phone")).await;

    // Confirmed by the broker, and not committed.
    system.way(Store::Postgres, Way::Broken);
    for number in 1..=5 {
        say(&mut a, &bob, number, "queued").await;
    }
    for number in 1..=5 {
        a.expect(&format!("[[a]]\nid = \"m{number}\"\nlvl = \"queued\"")).await;
    }
    broker.kill().await;
    broker.wipe();
    edges_say(&system, "im_edge_broker_connected", 0.0).await;
    // Sent behind them, and kept by the edge: these must not come first.
    for number in 6..=8 {
        say(&mut a, &bob, number, "stored").await;
    }
    a.nothing_but_heartbeat().await;
    broker.start_again().await;
    // Only a worker that owns lanes makes the stream again.
    system.way(Store::Postgres, Way::Open);
    a.expect_closed().await;
    b.expect_closed().await;
    edges_say(&system, "im_edge_streams_wiped_total", 1.0).await;
    eventually(SOON, async || match system.edges[0].metric("im_edge_frames_vanished_total").await {
        3.0 => Ok(()),
        other => Err(format!("{other} frames have vanished at the edge")),
    })
    .await;

    let mut a = come_back(&system, &alice, &token_a, 0).await;
    for number in 1..=8 {
        say(&mut a, &bob, number, "stored").await;
    }
    for number in 1..=8 {
        must_be(&stored(&format!("m{number}"), number + 1), &a.next().await);
    }
    let mut b = come_back(&system, &bob, &token_b, 1).await;
    // It has not acknowledged the first.
    b.expect(&delivered("hello", "hello", 1, &bob, &alice, "phone")).await;
    for number in 1..=8 {
        let (id, text) = (format!("m{number}"), format!("number {number}"));
        b.expect(&delivered(&id, &text, number + 1, &bob, &alice, "phone")).await;
    }
    b.nothing_but_heartbeat().await;
    a.nothing_but_heartbeat().await;
    edges_say(&system, "im_edge_streams_wiped_total", 1.0).await;
    // The five were accepted twice, and vanished once with the stream.
    system.vanished_with_the_stream(5);
    system.finish().await;
}

/// The stream is the same: sessions stay, and what waited goes on in order.
#[tokio::test]
async fn a_broker_killed_and_started_again_ends_no_session() {
    let mut broker = Broker::start().await;
    let system = broker.system().await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 1).await;
    let mut seq = 0;
    for _ in 0..3 {
        for _ in 0..20 {
            seq += 1;
            say(&mut a, &bob, seq, "stored").await;
        }
        broker.kill().await;
        edges_say(&system, "im_edge_broker_connected", 0.0).await;
        for _ in 0..20 {
            seq += 1;
            say(&mut a, &bob, seq, "stored").await;
        }
        broker.start_again().await;
        edges_say(&system, "im_edge_broker_connected", 1.0).await;
        // An answer may have been lost with the connection; what counts is that each arrives, in order, on the session
        // that there was.
        for number in seq - 39..=seq {
            let (id, text) = (format!("m{number}"), format!("number {number}"));
            b.expect(&delivered(&id, &text, number, &bob, &alice, "phone")).await;
        }
    }
    a.send_heartbeat().await;
    while a.got().await != Got::Heartbeat {}
    b.nothing_but_heartbeat().await;
    edges_say(&system, "im_edge_streams_wiped_total", 0.0).await;
    system.finish().await;
}
