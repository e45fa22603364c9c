//! Two releases side by side, as during an upgrade: this one and the one whose binaries lie in `SIMPLE_IM_OLD`. Not among
//! the quick tests, since the other release has to be built first: `ops/mixed` does both.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::{path::PathBuf, time::Duration};

use shared::{
    client::{Client, Events, Options as ClientOptions, http::Api},
    ids::{Device, UserId},
    message::{Ask, Target, WantedAck},
};
use tests::harness::{Options, SOON, System, servers};
use tokio::{sync::watch, task::JoinHandle};

/// How many pairs talk, and how often each sends.
const PAIRS: usize = 6;
const EVERY: Duration = Duration::from_millis(5);
/// Messages of each pair in each stage of an upgrade.
const STAGE: i64 = 40;

/// The other release's binary.
fn old(name: &str) -> Option<PathBuf> {
    let dir =
        std::env::var_os("SIMPLE_IM_OLD").expect("SIMPLE_IM_OLD: the folder of the other release's binaries");
    let path = PathBuf::from(dir).join(name);
    assert!(path.is_file(), "expected a binary at {}", path.display());
    Some(path)
}

/// Pairs of users who talk while processes are exchanged.
struct Traffic {
    stop: watch::Sender<bool>,
    sent: Vec<watch::Receiver<i64>>,
    talks: Vec<JoinHandle<()>>,
}

impl Traffic {
    async fn begin(system: &System) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (mut sent, mut talks) = (Vec::new(), Vec::new());
        for n in 0..PAIRS {
            let (a, _) = client(system, &format!("a{n}"), n % 2).await;
            let (b, events) = client(system, &format!("b{n}"), (n + 1) % 2).await;
            let (counter, count) = watch::channel(0);
            sent.push(count);
            talks.push(tokio::spawn(talk(a, b, events, stopped.clone(), counter)));
        }
        Self { stop, sent, talks }
    }

    /// Until every pair has sent a stage's messages more.
    async fn goes_on(&mut self) {
        for count in &mut self.sent {
            let from = *count.borrow();
            let more = count.wait_for(|now| *now >= from + STAGE);
            tokio::time::timeout(SOON * 4, more).await.expect("the traffic goes on").unwrap();
        }
    }

    /// Ends it: everything sent has been shown once, in order.
    async fn end(self) {
        self.stop.send_replace(true);
        for talk in self.talks {
            talk.await.unwrap();
        }
    }
}

async fn client(system: &System, name: &str, edge: usize) -> (Client, Events) {
    let user = system.user(name).await;
    let token = system.token(&user, "phone").await;
    let mut options = ClientOptions::new(UserId(user.id), Device::new("phone").unwrap(), token);
    options.http = Some(Api::new(system.http(1 - edge)));
    options.server = Some(system.tcp(edge).to_owned());
    Client::connect(options).await.unwrap()
}

/// To a user and to a group, turn by turn, and back, until told to stop; then all of it must have come.
async fn talk(
    a: Client,
    b: Client,
    mut events: Events,
    stop: watch::Receiver<bool>,
    counter: watch::Sender<i64>,
) {
    let group = Ask::CreateGroup { name: "two".to_owned(), members: vec![b.user()] };
    let group = a.request(group).await.unwrap().group_id.unwrap();
    let mut sent = 0;
    while !*stop.borrow() {
        sent += 1;
        for to in [Target::User(b.user()), Target::Group(group)] {
            let stored = a.send(to, &format!("number {sent}"), WantedAck::Delivered).await.unwrap();
            let own = i64::from(matches!(to, Target::Group(_)));
            assert_eq!(stored.seq.0, sent + own, "each is stored once, in the order it was sent in");
        }
        counter.send_replace(sent);
        tokio::time::sleep(EVERY).await;
    }
    let (mut direct, mut grouped) = (0, 0);
    while direct < sent || grouped < sent {
        let delivery = events.next_delivery().await.expect("the session lives on");
        // The group's making.
        let Some(text) = delivery.text() else { continue };
        let of_group = matches!(delivery.conversation, shared::ids::Conversation::Group(_));
        let count = if of_group { &mut grouped } else { &mut direct };
        *count += 1;
        assert_eq!(text, format!("number {count}"), "each is shown once, in order");
    }
}

#[tokio::test]
#[ignore = "needs another release's binaries; ops/mixed builds them"]
async fn an_upgrade_goes_by_workers_then_edges_under_traffic() {
    let options = Options { edge_binary: old("edge"), worker_binary: old("worker"), ..Options::default() };
    let mut system = System::start_with(2, 2, options).await;
    let mut traffic = Traffic::begin(&system).await;
    traffic.goes_on().await;
    // The first new worker brings the schema up, beside an old one.
    for worker in 0..2 {
        system.workers[worker].becomes(servers::binary("worker").unwrap()).await.unwrap();
        system.restart_worker(worker).await;
        traffic.goes_on().await;
    }
    for edge in 0..2 {
        system.edges[edge].becomes(servers::binary("edge").unwrap()).await.unwrap();
        system.roll_edge(edge).await;
        traffic.goes_on().await;
    }
    traffic.end().await;
    system.finish().await;
}

#[tokio::test]
#[ignore = "needs another release's binaries; ops/mixed builds them"]
async fn new_edges_work_with_old_workers_and_workers_come_and_go_beside_new_ones() {
    let options = Options { worker_binary: old("worker"), ..Options::default() };
    let mut system = System::start_with(2, 2, options).await;
    let mut traffic = Traffic::begin(&system).await;
    traffic.goes_on().await;
    system.roll_edge(0).await;
    traffic.goes_on().await;
    // Lanes go from an old worker to an old one, from an old one to a new one, and from that to an old one.
    system.restart_worker(0).await;
    system.workers[1].becomes(servers::binary("worker").unwrap()).await.unwrap();
    system.restart_worker(1).await;
    traffic.goes_on().await;
    system.kill_worker(1).await;
    traffic.goes_on().await;
    system.start_worker(1).await;
    traffic.goes_on().await;
    traffic.end().await;
    system.finish().await;
}
