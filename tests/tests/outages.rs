//! Each outage as design.md's table says it looks to a client: a store that cannot be reached (cut off, or silent: a cut
//! that swallows packets), and processes that hang and come back.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::time::Duration;

use tests::{
    harness::{Options, SOON, Store, System, Way, eventually},
    people::{delivered, login_frame},
    talk::Talk,
    wire::Wire,
};

async fn cuttable(worker: Vec<(&'static str, String)>) -> System {
    let edge = vec![("rpc.http_timeout_seconds", "2".into())];
    System::start_with(2, 2, Options { cuttable: true, worker, edge, ..Options::default() }).await
}

/// What `/readyz` says on both of an edge's ports comes to be this.
async fn edges_ready(system: &System, ready: bool) {
    eventually(SOON, async || {
        for edge in 0..system.edges.len() {
            let urls = [system.http(edge), format!("http://{}", system.edge(edge).metrics)];
            for url in urls {
                let reply = tests::web::Call::new("GET", format!("{url}/readyz")).try_send().await?;
                if (reply.status == 200) != ready {
                    return Err(format!("{url}/readyz says {} {}", reply.status, reply.text));
                }
            }
        }
        Ok(())
    })
    .await;
}

/// "PostgreSQL down: edges keep connections and take frames into JetStream, unacked; acks follow when it is back; HTTP
/// says 503 with Retry-After."
async fn without_postgresql(way: Way) {
    let system =
        cuttable(vec![("postgres.connect_seconds", "1".into()), ("postgres.hung_seconds", "1".into())]).await;
    let mut talk = Talk::begin(&system).await;
    system.way(Store::Postgres, way);
    let first = talk.seq + 1;
    talk.send(20, "queued").await;
    for seq in first..=talk.seq {
        talk.a.expect(&format!("[[a]]\nid = \"m{seq}\"\nlvl = \"queued\"")).await;
    }
    for edge in 0..2 {
        let reply = system.call(edge, "GET", "/group").token(&talk.alice.token).send().await;
        assert!(reply.expect_refused(503, "unavailable").retry_after.is_some_and(|seconds| seconds > 0));
    }
    // No ack that is not true, and both connections stand.
    talk.a.nothing_but_heartbeat().await;
    talk.b.nothing_but_heartbeat().await;
    system.way(Store::Postgres, Way::Open);
    talk.stored_from(first).await;
    talk.delivered_from(first).await;
    talk.round().await;
    let again = system.call(0, "GET", "/group").token(&talk.alice.token);
    eventually(SOON, async || match again.clone().send().await.status {
        200 => Ok(()),
        status => Err(format!("HTTP says {status}")),
    })
    .await;
    talk.nothing_more(&system).await;
    system.finish().await;
}

#[tokio::test]
async fn without_postgresql_frames_are_taken_and_acks_follow() {
    without_postgresql(Way::Broken).await;
}

#[tokio::test]
async fn with_a_silent_postgresql_frames_are_taken_and_acks_follow() {
    without_postgresql(Way::Silent).await;
}

/// With PostgreSQL so far away that looking after its lanes takes a committer longer than the period at which it does,
/// chunks are still committed.
#[tokio::test]
async fn with_postgresql_far_away_messages_still_go_over() {
    let system = cuttable(vec![("worker.balance_ms", "10".into())]).await;
    let mut talk = Talk::begin(&system).await;
    system.way(Store::Postgres, Way::Far(Duration::from_millis(20)));
    for _ in 0..3 {
        talk.round().await;
    }
    system.way(Store::Postgres, Way::Open);
    talk.nothing_more(&system).await;
    system.finish().await;
}

/// One worker that PostgreSQL cannot hear is cut off by it, and the other takes its lanes. One that cannot hear NATS
/// leaves them.
async fn gives_up_its_lanes(store: Store) {
    let system = cuttable(vec![("postgres.hung_seconds", "1".into())]).await;
    let mut talk = Talk::begin(&system).await;
    for process in ["w1", "w2"] {
        system.way_of(process, store, Way::Silent);
        let first = talk.seq + 1;
        talk.send(10, "stored").await;
        talk.stored_from(first).await;
        talk.delivered_from(first).await;
        system.way_of(process, store, Way::Open);
        talk.round().await;
    }
    talk.nothing_more(&system).await;
    system.finish().await;
}

#[tokio::test]
async fn a_worker_cut_off_from_postgresql_gives_up_its_lanes() {
    gives_up_its_lanes(Store::Postgres).await;
}

#[tokio::test]
async fn a_worker_cut_off_from_nats_gives_up_its_lanes() {
    gives_up_its_lanes(Store::Nats).await;
}

/// NATS away: sockets are kept, the nodes are not ready, everything resumes by itself, nothing is lost or doubled.
async fn without_nats(way: Way) {
    let system = cuttable(Vec::new()).await;
    let mut talk = Talk::begin(&system).await;
    system.way(Store::Nats, way);
    let first = talk.seq + 1;
    talk.send(20, "stored").await;
    edges_ready(&system, false).await;
    let reply = system.call(0, "GET", "/group").token(&talk.alice.token).send().await;
    assert!(reply.expect_refused(503, "unavailable").retry_after.is_some());
    talk.a.nothing_but_heartbeat().await;
    talk.b.nothing_but_heartbeat().await;
    talk.send(20, "stored").await;
    system.way(Store::Nats, Way::Open);
    talk.stored_from(first).await;
    talk.delivered_from(first).await;
    edges_ready(&system, true).await;
    talk.round().await;
    talk.nothing_more(&system).await;
    system.finish().await;
}

#[tokio::test]
async fn without_nats_sockets_are_kept_and_everything_resumes() {
    without_nats(Way::Broken).await;
}

#[tokio::test]
async fn with_a_silent_nats_sockets_are_kept_and_everything_resumes() {
    without_nats(Way::Silent).await;
}

/// One edge cut off from NATS for longer than it takes to be declared dead: its users lose nothing, and see nothing twice.
#[tokio::test]
async fn an_edge_cut_off_from_nats_resyncs() {
    for way in [Way::Broken, Way::Silent] {
        let system = cuttable(Vec::new()).await;
        let mut talk = Talk::begin(&system).await;
        system.way_of("e2", Store::Nats, way);
        let first = talk.seq + 1;
        talk.send(5, "stored").await;
        listed(&system, 1).await;
        talk.send(5, "stored").await;
        talk.stored_from(first).await;
        system.way_of("e2", Store::Nats, Way::Open);
        talk.delivered_from(first).await;
        listed(&system, 2).await;
        talk.round().await;
        talk.nothing_more(&system).await;
        system.finish().await;
    }
}

/// `im_list` comes to name so many nodes.
async fn listed(system: &System, count: usize) {
    let list = system.stores.key("im_list");
    eventually(SOON, async || {
        let nodes: Vec<String> = system.stores.redis("HVALS", &[&list]).await;
        if nodes.len() == count { Ok(()) } else { Err(format!("im_list names {nodes:?}")) }
    })
    .await;
}

/// "Redis down: deliveries broadcast; tokens are verified against PostgreSQL"; logins work, and routes count again by
/// themselves once it is back.
async fn without_redis(way: Way) {
    let system = cuttable(vec![("redis.timeout_ms", "250".into())]).await;
    let mut talk = Talk::begin(&system).await;
    system.directory_stands().await;
    let before = broadcasts(&system).await;
    system.way(Store::Redis, way);
    let first = talk.seq + 1;
    talk.send(20, "stored").await;
    talk.stored_from(first).await;
    talk.delivered_from(first).await;
    assert!(broadcasts(&system).await > before, "deliveries go to every node");
    // By password, and by a token that was never seen before and one that was, on both nodes.
    for (edge, name) in ["carol", "dave"].into_iter().enumerate() {
        let user = system.user(name).await;
        let mut first = system.online(&user, "phone", edge).await;
        let mut second = system.connect(&user, "phone", &first.token.clone(), 1 - edge).await;
        first.expect("[[n]]\nt = \"replaced\"").await;
        talk.a.say(name, &user, "hello", 1).await;
        second.expect(&delivered(name, "hello", 1, &user, &talk.alice, "phone")).await;
    }
    system.way(Store::Redis, Way::Open);
    system.directory_stands().await;
    // Known again: what is sent now goes where the directory says.
    eventually(SOON, async || {
        let route = system.stores.key(&format!("route_{}", talk.bob.id));
        let devices: Vec<String> = system.stores.redis("HKEYS", &[&route]).await;
        if devices.contains(&"phone".to_owned()) { Ok(()) } else { Err(format!("bob is on {devices:?}")) }
    })
    .await;
    let (mut before, mut rounds) = (-1.0, 0);
    while before != broadcasts(&system).await {
        before = broadcasts(&system).await;
        talk.round().await;
        rounds += 1;
        assert!(rounds < 100, "deliveries are broadcast for ever");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    talk.nothing_more(&system).await;
    system.finish().await;
}

async fn broadcasts(system: &System) -> f64 {
    let mut all = 0.0;
    for worker in &system.workers {
        all += worker.metric("im_worker_broadcast_chunks_total").await;
    }
    all
}

#[tokio::test]
async fn without_redis_logins_work_and_deliveries_arrive() {
    without_redis(Way::Broken).await;
}

#[tokio::test]
async fn with_a_silent_redis_logins_work_and_deliveries_arrive() {
    without_redis(Way::Silent).await;
}

/// Redis emptied again and again in the middle of a talk: nobody misses anything, and nobody repairs anything.
#[tokio::test]
async fn redis_emptied_in_mid_load() {
    let system = System::start(2, 2).await;
    let mut talk = Talk::begin(&system).await;
    for _ in 0..20 {
        let first = talk.seq + 1;
        talk.send(10, "stored").await;
        system.stores.wipe_redis().await;
        talk.stored_from(first).await;
        talk.delivered_from(first).await;
    }
    system.directory_stands().await;
    talk.round().await;
    talk.nothing_more(&system).await;
    system.finish().await;
}

/// All workers gone for a while: sockets are kept, the nodes are not ready, a login is told to try again or waits, and
/// everything resumes.
#[tokio::test]
async fn without_workers_everything_waits() {
    let mut system = System::start(2, 2).await;
    let mut talk = Talk::begin(&system).await;
    let of_tablet = system.token(&talk.bob, "tablet").await;
    for worker in 0..2 {
        system.kill_worker(worker).await;
    }
    let first = talk.seq + 1;
    talk.send(20, "queued").await;
    for seq in first..=talk.seq {
        talk.a.expect(&format!("[[a]]\nid = \"m{seq}\"\nlvl = \"queued\"")).await;
    }
    edges_ready(&system, false).await;
    // Not yet logged in: told within its deadline, never left hanging.
    let mut wire = Wire::connect(system.tcp(0)).await;
    wire.send(&login_frame(talk.bob.id, "tablet", &of_tablet)).await;
    wire.expect(&tests::people::refused("login", "login", "unavailable")).await;
    talk.a.nothing_but_heartbeat().await;
    talk.b.nothing_but_heartbeat().await;
    for worker in 0..2 {
        system.start_worker(worker).await;
    }
    talk.stored_from(first).await;
    talk.delivered_from(first).await;
    edges_ready(&system, true).await;
    system.connect(&talk.bob, "tablet", &of_tablet, 0).await;
    talk.round().await;
    talk.nothing_more(&system).await;
    system.finish().await;
}

/// An edge that hangs longer than it takes to be declared dead: awake again it resyncs, and its sessions get what they
/// missed, once.
#[tokio::test]
async fn an_edge_that_hung_resyncs() {
    let system = System::start(2, 2).await;
    let mut talk = Talk::begin(&system).await;
    system.edges[1].freeze(true);
    let first = talk.seq + 1;
    talk.send(10, "stored").await;
    listed(&system, 1).await;
    talk.send(10, "stored").await;
    talk.stored_from(first).await;
    system.edges[1].freeze(false);
    talk.delivered_from(first).await;
    listed(&system, 2).await;
    talk.round().await;
    talk.nothing_more(&system).await;
    system.finish().await;
}

/// A worker that hangs longer than its session may: the other takes its lanes, and awake again the zombie writes nothing.
#[tokio::test]
async fn a_worker_that_hung_writes_nothing_any_more() {
    let options = Options {
        worker: vec![("postgres.hung_seconds", "1".into())],
        // A call that the hung worker has taken is only known to be lost when its time is over.
        edge: vec![("rpc.timeout_seconds", "1".into())],
        ..Options::default()
    };
    let system = System::start_with(2, 2, options).await;
    let mut talk = Talk::begin(&system).await;
    for worker in [0, 1, 0, 1] {
        let first = talk.seq + 1;
        // Some are under way in it when it hangs.
        talk.send(10, "stored").await;
        system.workers[worker].freeze(true);
        talk.send(10, "stored").await;
        talk.stored_from(first).await;
        talk.delivered_from(first).await;
        system.workers[worker].freeze(false);
        let first = talk.seq + 1;
        talk.send(10, "stored").await;
        talk.stored_from(first).await;
        talk.delivered_from(first).await;
    }
    // Until the zombies have their lanes back.
    eventually(SOON, async || {
        for worker in &system.workers {
            let owned = worker.metric("im_worker_lane_owned").await;
            if owned != 2.0 {
                return Err(format!("{} has {owned} lanes", worker.name));
            }
        }
        Ok(())
    })
    .await;
    talk.round().await;
    talk.nothing_more(&system).await;
    system.finish().await;
}
