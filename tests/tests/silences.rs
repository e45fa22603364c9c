//! A time in which the broker is not heard kills nobody: after it, acks come at once, without their client asking again.
//!
//! The client of these tests never sends anything twice, and a client would only after ten seconds.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tests::{
    harness::{Options, SOON, Store, System, Way, checks::at_rest, eventually},
    people::{User, delivered, stored},
    wire::{Got, Wire, body, must_be},
};

/// Longer than the harness's nodes take to be dead (2 s).
const OUTAGE: Duration = Duration::from_secs(5);
/// Acks are here so soon after the return. Well below the ten seconds after which a client sends again.
const BACK: Duration = Duration::from_secs(9);
/// A node that is dead is known to be, and all that waited for it goes on: the dead time, 2 s; a tick or two, a third of a
/// second each; the next look at the list; a loaded machine.
const SETTLED: Duration = Duration::from_secs(10);

/// Alice on the first node writes to bob on the second.
struct Talk {
    alice: User,
    bob: User,
    a: Wire,
    b: Wire,
    sent: i64,
    acked: i64,
    seen: i64,
}

impl Talk {
    async fn begin(system: &System) -> Self {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let a = system.online(&alice, "phone", 0).await;
        let b = system.online(&bob, "phone", 1).await;
        system.directory_stands().await;
        let mut talk = Self { alice, bob, a, b, sent: 0, acked: 0, seen: 0 };
        talk.send(1).await;
        talk.acked_within(SOON).await;
        talk.delivered().await;
        talk
    }

    async fn send(&mut self, count: i64) {
        for _ in 0..count {
            self.sent += 1;
            self.a.send_message(&format!("m{}", self.sent), self.bob.id, "hello").await;
        }
    }

    /// Everything sent is acked within that time.
    async fn acked_within(&mut self, limit: Duration) {
        let began = Instant::now();
        let mut open: BTreeSet<i64> = (self.acked + 1..=self.sent).collect();
        while !open.is_empty() {
            let Some(got) = self.a.got_within(limit.saturating_sub(began.elapsed())).await else {
                panic!("not acked within {limit:?}: {open:?}");
            };
            let Got::Entry(entry) = got else { panic!("expected an ack, found {got:?}") };
            let seq = body(&entry)["seq"].as_integer().unwrap();
            must_be(&stored(&format!("m{seq}"), seq), &entry);
            // One that is not open has come again, which it may.
            open.remove(&seq);
        }
        self.acked = self.sent;
    }

    /// Bob has everything, in order and once.
    async fn delivered(&mut self) {
        while self.seen < self.sent {
            self.seen += 1;
            let id = format!("m{}", self.seen);
            self.b.expect(&delivered(&id, "hello", self.seen, &self.bob, &self.alice, "phone")).await;
        }
    }

    /// Sends just before `cut`, so that some are under way in it, and during the outage; everything is acked soon after
    /// `mend`, and delivered.
    async fn over(&mut self, cut: impl Fn(), mend: impl AsyncFn()) {
        for under_way in [0, 4].map(Duration::from_millis) {
            self.send(10).await;
            tokio::time::sleep(under_way).await;
            cut();
            self.send(5).await;
            tokio::time::sleep(OUTAGE / 2).await;
            self.send(5).await;
            tokio::time::sleep(OUTAGE / 2).await;
            mend().await;
            self.acked_within(BACK).await;
            self.delivered().await;
            self.send(1).await;
            self.acked_within(BACK).await;
            self.delivered().await;
        }
    }
}

/// How a way is cut for a time.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// Connections break.
    Broken,
    /// What was on its way comes late.
    Late,
    /// What was on its way is lost.
    Lost,
}

/// Without the broker for these processes; all of them if none is named.
async fn without_nats(processes: &[&str], how: Cut) {
    let system = System::start_with(2, 2, Options { cuttable: true, ..Options::default() }).await;
    let set = |way| match processes {
        [] => system.way(Store::Nats, way),
        some => some.iter().for_each(|process| system.way_of(process, Store::Nats, way)),
    };
    let mut talk = Talk::begin(&system).await;
    let cut = || set(if matches!(how, Cut::Broken) { Way::Broken } else { Way::Silent });
    let mend = async || {
        if matches!(how, Cut::Lost) {
            set(Way::Broken);
            // The proxies have to see that it broke before it is open again.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        set(Way::Open);
    };
    talk.over(cut, mend).await;
    drop((talk.a, talk.b));
    system.finish().await;
}

macro_rules! outages {
    ($($name:ident: $processes:expr, $how:ident;)+) => {$(
        #[tokio::test]
        async fn $name() {
            without_nats(&$processes, Cut::$how).await;
        }
    )+};
}

outages! {
    acks_come_at_once_after_nats_was_gone: [], Broken;
    acks_come_at_once_after_nats_was_slow: [], Late;
    acks_come_at_once_after_nats_was_silent: [], Lost;
    acks_come_at_once_after_the_senders_edge_was_cut_off: ["e1"], Broken;
    acks_come_at_once_after_the_senders_edge_was_slow: ["e1"], Late;
    acks_come_at_once_after_the_senders_edge_was_not_heard: ["e1"], Lost;
    acks_come_at_once_after_the_recipients_edge_was_not_heard: ["e2"], Lost;
    acks_come_at_once_after_the_workers_were_cut_off: ["w1", "w2"], Broken;
    acks_come_at_once_after_the_workers_were_not_heard: ["w1", "w2"], Lost;
}

/// A worker that stood still has heard nobody, and yet takes nobody for dead.
#[tokio::test]
async fn acks_come_at_once_after_every_worker_stood_still() {
    let system = System::start_with(2, 2, Options::default()).await;
    let mut talk = Talk::begin(&system).await;
    let freeze = |frozen| system.workers.iter().for_each(|worker| worker.freeze(frozen));
    talk.over(|| freeze(true), async || freeze(false)).await;
    for worker in &system.workers {
        assert_eq!(worker.metric("im_worker_nodes_dead_total").await, 0.0, "{}", worker.name);
    }
    drop((talk.a, talk.b));
    system.finish().await;
}

/// How bob's node dies.
#[derive(Debug, Clone, Copy)]
enum Death {
    Killed,
    /// While nobody hears the broker.
    KilledInSilence,
    /// It hangs: the broker still takes what is for it.
    Frozen,
}

/// The dead are found, and nothing waits for them any longer than that takes.
async fn found_dead(death: Death) {
    let mut system = System::start_with(2, 2, Options { cuttable: true, ..Options::default() }).await;
    let mut talk = Talk::begin(&system).await;
    match death {
        Death::Killed => system.kill_edge(1).await,
        Death::KilledInSilence => {
            system.way(Store::Nats, Way::Silent);
            system.kill_edge(1).await;
            tokio::time::sleep(OUTAGE).await;
            system.way(Store::Nats, Way::Open);
        }
        Death::Frozen => system.edges[1].freeze(true),
    }
    let began = Instant::now();
    talk.send(5).await;
    talk.acked_within(BACK).await;
    let list = system.stores.key("im_list");
    eventually(SOON, async || {
        let nodes: Vec<String> = system.stores.redis("HVALS", &[&list]).await;
        if nodes.len() == 1 { Ok(()) } else { Err(format!("im_list names {nodes:?}")) }
    })
    .await;
    let found = began.elapsed();
    // Every chunk is settled: its lane could be given away.
    at_rest(&system).await;
    assert!(found < SETTLED, "found dead after {found:?}");
    assert!(began.elapsed() < SETTLED, "at rest after {:?}", began.elapsed());
    // Offline: the next message's body waits for bob in Redis.
    let bodies = format!("offline_{}_*", talk.bob.id);
    let before = system.stores.keys(&bodies).await.len();
    talk.send(1).await;
    talk.acked_within(BACK).await;
    eventually(SOON, async || match system.stores.keys(&bodies).await.len() {
        now if now > before => Ok(()),
        now => Err(format!("{before} bodies were kept for bob, and {now} are")),
    })
    .await;
    if matches!(death, Death::Frozen) {
        system.edges[1].freeze(false);
        talk.delivered().await;
    }
    drop((talk.a, talk.b));
    system.finish().await;
}

#[tokio::test]
async fn a_node_that_is_killed_is_found_dead() {
    found_dead(Death::Killed).await;
}

#[tokio::test]
async fn a_node_that_is_killed_in_an_outage_is_found_dead_after_it() {
    found_dead(Death::KilledInSilence).await;
}

#[tokio::test]
async fn a_node_that_hangs_is_found_dead() {
    found_dead(Death::Frozen).await;
}

/// A worker that drains still listens: a node that hangs holds it up until it is dead, and no longer.
#[tokio::test]
async fn a_worker_drains_although_a_node_hangs() {
    let mut system = System::start_with(2, 2, Options::default()).await;
    let mut talk = Talk::begin(&system).await;
    system.edges[1].freeze(true);
    talk.send(5).await;
    talk.acked_within(BACK).await;
    let began = Instant::now();
    for worker in &mut system.workers {
        worker.stop().await;
    }
    assert!(began.elapsed() < SETTLED, "drained after {:?}", began.elapsed());
    system.edges[1].freeze(false);
    for worker in 0..2 {
        system.start_worker(worker).await;
    }
    talk.delivered().await;
    talk.send(1).await;
    talk.acked_within(BACK).await;
    talk.delivered().await;
    drop((talk.a, talk.b));
    system.finish().await;
}

/// It finds out by itself, and not only when PostgreSQL's word that its sessions have ended gets through: between the two
/// may stand what takes bytes and passes none on, so that the network sees nothing wrong.
#[tokio::test]
async fn a_worker_that_hears_nothing_of_postgresql_knows_that_its_lanes_are_lost() {
    let system = System::start_with(1, 2, Options { cuttable: true, ..Options::default() }).await;
    let worker = &system.workers[1];
    let shows = async |name: &str, limit: Duration, right: fn(f64) -> bool| {
        eventually(limit, async || {
            let found = worker.metric(name).await;
            right(found).then_some(()).ok_or_else(|| format!("{name} is {found}"))
        })
        .await;
    };
    shows("im_worker_lane_owned", SOON, |lanes| lanes > 0.0).await;
    system.way_of("w2", Store::Postgres, Way::Silent);
    // As long as a statement may take, and some.
    shows("im_worker_lane_losses_total", Duration::from_secs(10) + SOON, |lanes| lanes > 0.0).await;
    shows("im_worker_lane_owned", SOON, |lanes| lanes == 0.0).await;
    system.way_of("w2", Store::Postgres, Way::Open);
    shows("im_worker_lane_owned", SOON, |lanes| lanes > 0.0).await;
    system.finish().await;
}
