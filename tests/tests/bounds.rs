//! What is bounded stays bounded: a device that never reads, a sender faster than the broker, a stream at its limit. None
//! of them costs a message, and each is slow or turned away at its own socket alone.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use tests::{
    flood::{Flood, Stop},
    harness::{Options, SOON, Store, System, Way, eventually, process::Process},
    people::{User, delivered, login_frame, refused, stored},
    wire::Wire,
};
use workers::lane::ownership::lock_class;

/// The longest that anything may take that must not be held up, on a machine that is busy with other tests.
const BOUND: Duration = Duration::from_secs(12);

const MIB: f64 = 1_048_576.0;

/// Two edges and two workers. What an edge's allocator keeps for later, tens of MiB after such traffic, is given back at
/// once: what is measured is what the edge holds.
async fn start(options: Options) -> System {
    let mut system = System::start_with(2, 2, options).await;
    for edge in &mut system.edges {
        edge.set("_RJEM_MALLOC_CONF", Some("dirty_decay_ms:0,muzzy_decay_ms:0".to_owned()));
    }
    system.restart_all().await;
    system
}

async fn resident(process: &Process) -> f64 {
    process.metric("im_process_resident_bytes").await
}

/// A metric of a process comes to be what `is` wants.
async fn metric(process: &Process, name: &str, is: impl Fn(f64) -> bool) -> f64 {
    eventually(SOON, async || {
        let found = process.metric(name).await;
        if is(found) { Ok(found) } else { Err(format!("{name} of {} is {found}", process.name)) }
    })
    .await
}

/// Bytes of text in a message to the device that does not read, and how many messages.
const LONG: usize = 16 * 1024;
const LONG_MESSAGES: i64 = 1_800;
/// What its node may grow by until the outbox is full and every buffer and page of code on the way was in use once. The
/// messages are 28 MiB.
const FILLING: f64 = 24.0 * MIB;
/// And what by after that.
const FULL: f64 = 4.0 * MIB;

/// Alice writes to bob's device, which has stopped reading, and on the same node dave reads. Alice is not slowed, dave
/// misses nothing, and the node's memory stays flat.
async fn written_to_a_device_that_never_reads(system: &System) -> (User, User, Wire) {
    let [alice, bob, dave] = system.users(["alice", "bob", "dave"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut d = system.online(&dave, "phone", 1).await;
    let token = system.token(&bob, "phone").await;
    let b = system.log_in(Wire::connect_narrow(system.tcp(1)).await, &bob, "phone", &token).await;
    // What both nodes need anyway: everybody has been sent something.
    a.say("hello", &dave, "hello", 1).await;
    d.expect(&delivered("hello", "hello", 1, &dave, &alice, "phone")).await;
    let edge = &system.edges[1];
    metric(edge, "im_edge_backlog_sessions", |sessions| sessions == 0.0).await;
    let before = resident(edge).await;
    let (mut filling, mut full) = (0.0_f64, 0.0_f64);
    let (text, mut slowest) = ("x".repeat(LONG), Duration::ZERO);
    for first in (1..=LONG_MESSAGES).step_by(50) {
        let begun = Instant::now();
        for seq in first..first + 50 {
            a.send_message(&format!("m{seq}"), bob.id, &text).await;
        }
        for seq in first..first + 50 {
            a.expect(&stored(&format!("m{seq}"), seq)).await;
        }
        let (id, seq) = (format!("d{first}"), first / 50 + 2);
        a.say(&id, &dave, "and you?", seq).await;
        d.expect(&delivered(&id, "and you?", seq, &dave, &alice, "phone")).await;
        d.acknowledge(&id, seq, &alice).await;
        slowest = slowest.max(begun.elapsed());
        let most = if first < LONG_MESSAGES / 3 { &mut filling } else { &mut full };
        *most = most.max(resident(edge).await);
    }
    assert!(slowest < BOUND, "the slowest fifty messages took {slowest:?}");
    let seen = [before, filling, full].map(|bytes| (bytes / MIB).round());
    assert!(filling < before + FILLING && full < filling + FULL, "the node has grown, MiB: {seen:?}");
    (alice, bob, b)
}

/// Every one of them, in order, once.
async fn catches_up(system: &System, alice: &User, bob: &User, b: &mut Wire) {
    let text = "x".repeat(LONG);
    for seq in 1..=LONG_MESSAGES {
        let id = format!("m{seq}");
        b.expect(&delivered(&id, &text, seq, bob, alice, "phone")).await;
        b.acknowledge(&id, seq, alice).await;
    }
    b.nothing_but_heartbeat().await;
    system.cursor_at(bob, "phone", alice, LONG_MESSAGES).await;
    metric(&system.edges[1], "im_edge_backlog_sessions", |sessions| sessions == 0.0).await;
}

/// It reads again before its connection is given up.
#[tokio::test]
async fn a_device_that_reads_again_gets_everything() {
    let options = Options { edge: vec![("limits.write_seconds", "3600".into())], ..Options::default() };
    let system = start(options).await;
    let (alice, bob, mut b) = written_to_a_device_that_never_reads(&system).await;
    let overflows = system.edges[1].metric("im_edge_outbox_overflows_total").await;
    assert!(overflows > 0.0, "the outbox was never full");
    catches_up(&system, &alice, &bob, &mut b).await;
    system.finish().await;
}

/// Its connection is given up, and it logs in again.
#[tokio::test]
async fn a_device_that_never_reads_is_cut_and_gets_everything_later() {
    let options = Options { edge: vec![("limits.write_seconds", "5".into())], ..Options::default() };
    let system = start(options).await;
    let (alice, bob, deaf) = written_to_a_device_that_never_reads(&system).await;
    metric(&system.edges[1], "im_edge_sessions", |sessions| sessions == 0.0).await;
    let mut b = system.connect(&bob, "phone", &deaf.token, 1).await;
    catches_up(&system, &alice, &bob, &mut b).await;
    drop(deaf);
    system.finish().await;
}

/// Frames of a session that the broker may owe.
const UNPUBLISHED: i64 = 64;

/// Edges that hold few frames for a broker that does not take them.
fn small_queues() -> Vec<(&'static str, String)> {
    vec![("limits.unpublished", UNPUBLISHED.to_string()), ("publisher.queue_frames", "1024".into())]
}

/// What a flooded node may grow by: the frames that it holds, and its buffers. A socket that was read on would bring
/// that in a moment.
const HELD: f64 = 16.0 * MIB;
/// Bytes that the sockets' buffers on the way to a node may swallow, the server's being the system's own choice.
const SOCKETS: i64 = 8 << 20;

/// The broker stands still for one node: who floods it is not read beyond the bound, others on that node are, and nobody
/// on another node notices.
#[tokio::test]
async fn a_sender_faster_than_the_broker_is_slowed_at_its_own_socket() {
    let mut edge = small_queues();
    // A slow disk, not an outage: the node does not count as dead meanwhile.
    edge.push(("node.lease_ms", "30000".into()));
    let worker = vec![("worker.node_dead_ms", "30000".into())];
    let system = start(Options { edge, worker, cuttable: true, ..Options::default() }).await;
    let [alice, bob, carol, dave] = system.users(["alice", "bob", "carol", "dave"]).await;
    let [mallory, victim] = system.users(["mallory", "victim"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 1).await;
    let mut c = system.online(&carol, "phone", 1).await;
    let mut d = system.online(&dave, "phone", 1).await;
    let flooded = Flood::narrow(&system, &mallory, 0).await;
    let slow = &system.edges[0];
    metric(slow, "im_edge_backlog_sessions", |sessions| sessions == 0.0).await;
    let before = resident(slow).await;

    system.way_of("e1", Store::Nats, Way::Silent);
    let stop = Stop::default();
    let flood = Flood::begin(flooded, &mallory, &victim, 1_000, &stop);
    let written = flood.blocked().await;
    assert!(written * 1_000 < SOCKETS, "{written} frames were taken off its hands");
    // So many of its frames are read, and no more.
    metric(slow, "im_edge_frames_accepted_total", |frames| frames as i64 == UNPUBLISHED).await;
    metric(slow, "im_edge_paused_sessions", |sessions| sessions == 1.0).await;
    // Others on the same node: what they send is taken, and they are heard.
    for n in 1..=5 {
        a.send_message(&format!("m{n}"), bob.id, "while it stands still").await;
    }
    a.nothing_but_heartbeat().await;
    metric(slow, "im_edge_frames_accepted_total", |frames| frames as i64 == UNPUBLISHED + 5).await;
    // On another node nobody notices.
    let mut slowest = Duration::ZERO;
    for seq in 1..=50 {
        let (begun, id) = (Instant::now(), format!("c{seq}"));
        c.say(&id, &dave, "ping", seq).await;
        d.expect(&delivered(&id, "ping", seq, &dave, &carol, "phone")).await;
        d.acknowledge(&id, seq, &carol).await;
        slowest = slowest.max(begun.elapsed());
    }
    assert!(slowest < BOUND, "the slowest round took {slowest:?}");
    let grown = resident(slow).await - before;
    assert!(grown < HELD, "the flooded node has grown by {:.1} MiB", grown / MIB);

    stop.store(true, Ordering::Relaxed);
    system.way_of("e1", Store::Nats, Way::Open);
    for seq in 1..=5 {
        a.expect(&stored(&format!("m{seq}"), seq)).await;
        let frame = delivered(&format!("m{seq}"), "while it stands still", seq, &bob, &alice, "phone");
        b.expect(&frame).await;
    }
    assert!(flood.acked(&system).await >= written);
    for wire in [&mut a, &mut b, &mut c, &mut d] {
        wire.nothing_but_heartbeat().await;
    }
    system.finish().await;
}

/// What keeps the stream from being emptied.
enum Held {
    /// Nobody can own a lane; workers answer calls all the same.
    Lanes,
    /// PostgreSQL is cut off.
    Postgres,
}

impl Held {
    async fn hold(&self, system: &mut System) {
        match self {
            Self::Postgres => system.way(Store::Postgres, Way::Broken),
            Self::Lanes => {
                // With their owners gone the locks are free; those that come find them taken.
                for worker in 0..system.workers.len() {
                    system.kill_worker(worker).await;
                }
                let class = lock_class(&system.stores.name, &system.stores.name);
                for lane in 0..system.stores.lanes {
                    let query = "SELECT pg_advisory_lock($1, $2)::text";
                    system.stores.rows(query, &[&class, &i32::from(lane)]).await;
                }
                for worker in 0..system.workers.len() {
                    system.start_worker(worker).await;
                }
            }
        }
    }

    async fn let_go(&self, system: &System) {
        match self {
            Self::Postgres => system.way(Store::Postgres, Way::Open),
            Self::Lanes => drop(system.stores.rows("SELECT pg_advisory_unlock_all()::text", &[]).await),
        }
    }
}

/// The stream at its limit: the sockets that feed it are not read, the node keeps the frames that it has, sessions stay,
/// and those not yet logged in, and HTTP, are told to try again. Emptied again, everything goes on where it was.
async fn the_stream_at_its_limit(held: Held) {
    let options = Options {
        edge: [small_queues(), vec![("rpc.http_timeout_seconds", "2".into())]].concat(),
        worker: vec![
            // The least that can be set.
            ("nats.stream_bytes", (1 << 20).to_string()),
            ("postgres.connect_seconds", "1".into()),
            ("postgres.hung_seconds", "1".into()),
        ],
        cuttable: true,
        ..Options::default()
    };
    let mut system = start(options).await;
    let [alice, bob, carol] = system.users(["alice", "bob", "carol"]).await;
    let [mallory, trudy, victim] = system.users(["mallory", "trudy", "victim"]).await;
    let of_carol = system.token(&carol, "phone").await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 1).await;
    let flooded = [Flood::narrow(&system, &mallory, 0).await, Flood::narrow(&system, &trudy, 1).await];
    held.hold(&mut system).await;
    let mut before = Vec::new();
    for edge in &system.edges {
        metric(edge, "im_edge_sessions", |sessions| sessions == 2.0).await;
        before.push(resident(edge).await);
    }

    let stop = Stop::default();
    let [of_mallory, of_trudy] = flooded;
    let floods = [
        Flood::begin(of_mallory, &mallory, &victim, 4_000, &stop),
        Flood::begin(of_trudy, &trudy, &victim, 4_000, &stop),
    ];
    let mut written = Vec::new();
    for flood in &floods {
        written.push(flood.blocked().await);
    }
    let all: i64 = written.iter().sum();
    assert!(all * 4_000 < (1 << 20) + 2 * SOCKETS, "{written:?} frames were taken off their hands");
    for (edge, before) in system.edges.iter().zip(before) {
        metric(edge, "im_edge_paused_sessions", |sessions| sessions == 1.0).await;
        let grown = resident(edge).await - before;
        assert!(grown < HELD, "{} has grown by {:.1} MiB", edge.name, grown / MIB);
    }
    // Who is logged in stays so, is heard, and what it sends is taken.
    a.send_message("m1", bob.id, "in the jam").await;
    a.nothing_but_heartbeat().await;
    b.nothing_but_heartbeat().await;
    for edge in 0..2 {
        // Not at the first refusal of the broker: a moment's jam is nobody's business.
        let call = system.call(edge, "GET", "/group").token(&alice.token);
        let reply = eventually(SOON, async || {
            let reply = call.clone().send().await;
            if reply.status == 503 {
                Ok(reply)
            } else {
                Err(format!("HTTP says {} {}", reply.status, reply.text))
            }
        })
        .await;
        assert!(reply.expect_refused(503, "unavailable").retry_after.is_some_and(|seconds| seconds > 0));
        let mut wire = Wire::connect(system.tcp(edge)).await;
        wire.send(&login_frame(carol.id, "phone", &of_carol)).await;
        wire.expect(&refused("login", "login", "unavailable")).await;
        assert_eq!(system.edges[edge].metric("im_edge_sessions").await, 2.0, "everybody is still there");
    }

    stop.store(true, Ordering::Relaxed);
    held.let_go(&system).await;
    a.expect(&stored("m1", 1)).await;
    b.expect(&delivered("m1", "in the jam", 1, &bob, &alice, "phone")).await;
    for (flood, written) in floods.into_iter().zip(written) {
        assert!(flood.acked(&system).await >= written);
    }
    // Everybody gets in again; who was turned away has lost nothing by it.
    for edge in 0..2 {
        let call = system.call(edge, "GET", "/group").token(&alice.token);
        eventually(SOON, async || match call.clone().send().await.status {
            200 => Ok(()),
            status => Err(format!("HTTP says {status}")),
        })
        .await;
    }
    let mut c = system.connect(&carol, "phone", &of_carol, 0).await;
    a.say("m2", &carol, "welcome", 1).await;
    c.expect(&delivered("m2", "welcome", 1, &carol, &alice, "phone")).await;
    for wire in [&mut a, &mut b, &mut c] {
        wire.nothing_but_heartbeat().await;
    }
    system.finish().await;
}

#[tokio::test]
async fn the_stream_at_its_limit_while_nobody_owns_a_lane() {
    the_stream_at_its_limit(Held::Lanes).await;
}

#[tokio::test]
async fn the_stream_at_its_limit_while_postgresql_is_down() {
    the_stream_at_its_limit(Held::Postgres).await;
}
