//! The broker's users: the whole messenger works with no more than each part may do, and an edge that tries more is refused.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::{fs, sync::Arc, time::Duration};

use async_nats::{Client, Event};
use shared::{
    ids::NodeId,
    nats::Door,
    rpc::{self, Heartbeat},
    subject::{BatchKind, Lane, Subjects, permissions::Role},
};
use tests::{
    document::{self, Block},
    harness::{Options, SOON, System, eventually},
    talk::Talk,
};
use tokio::{sync::Mutex, time::timeout};

/// Everything that the protocol has, then processes that come and go: no part is refused anything, as the checks at the end
/// of every test see in their logs.
#[tokio::test]
async fn the_whole_messenger_works_with_what_each_part_may_do() {
    let blocks: Vec<Block> = document::blocks(include_str!("../../ops/docs/PROTOCOL.md")).unwrap();
    let mut system = System::start_guarded(2, 2, Options::default()).await;
    document::run::run(&blocks, &mut document::run::Edges(&system))
        .await
        .unwrap_or_else(|why| panic!("PROTOCOL.md, {why}"));
    system.restart_worker(0).await;
    system.kill_worker(1).await;
    system.start_worker(1).await;
    system.restart_edge(0).await;
    system.restart_edge(1).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 1).await;
    a.say("1", &bob, "hello", 1).await;
    b.expect(&tests::people::delivered("1", "hello", 1, &bob, &alice, "phone")).await;
    system.finish().await;
}

/// A connection as somebody, and what the broker has refused it.
struct Intruder {
    client: Client,
    refusals: Arc<Mutex<Vec<String>>>,
}

impl Intruder {
    async fn new(url: &str) -> Self {
        let (refusals, door) = (Arc::new(Mutex::new(Vec::new())), Door::of_url(url).unwrap());
        let noted = refusals.clone();
        let options = door.options().event_callback(move |event| {
            let noted = noted.clone();
            async move {
                if let Event::ServerError(error) = event {
                    noted.lock().await.push(error.to_string().to_lowercase());
                }
            }
        });
        Self { client: options.connect(door.server().clone()).await.unwrap(), refusals }
    }

    async fn refused(&self, what: &str, subject: &str) {
        self.client.flush().await.unwrap();
        let expected = format!("permissions violation for {what} \"{}", subject.to_lowercase());
        eventually(SOON, async || {
            let found = self.refusals.lock().await;
            match found.iter().any(|refusal| refusal.contains(&expected)) {
                true => Ok(()),
                false => Err(format!("expected {expected}, found {found:?}")),
            }
        })
        .await;
    }

    async fn may_not_say(&self, subject: &str) {
        self.client.publish(subject.to_owned(), "forged".into()).await.unwrap();
        self.refused("publish to", subject).await;
    }

    async fn may_not_hear(&self, subject: &str) {
        drop(self.client.subscribe(subject.to_owned()).await.unwrap());
        self.refused("subscription to", subject).await;
    }
}

#[tokio::test]
async fn an_edge_that_tries_more_than_its_own_is_refused() {
    let mut system = System::start_guarded(2, 1, Options::default()).await;
    let mut talk = Talk::begin(&system).await;
    let subjects = system.stores.subjects();
    let broker = system.broker.as_ref().unwrap();
    let (stream, dead) = (subjects.stream(), subjects.dead_stream());
    let other = system.edges[1].name.clone();
    for role in [Role::Edge(None), Role::Edge(Some("e1"))] {
        let edge = Intruder::new(&broker.url_of(role)).await;
        // Deliveries to any node, its own included; confirmations in a worker's name; frames set aside.
        for node in ["e1-1", "e2-1"] {
            edge.may_not_say(&subjects.node(&NodeId::new(node).unwrap())).await;
        }
        edge.may_not_say("_INBOX.worker.forged").await;
        edge.may_not_say(&subjects.dead()).await;
        // An operator's word, a question about others' traces, a worker's word about lanes.
        edge.may_not_say(&subjects.control(&NodeId::new("e2-1").unwrap())).await;
        edge.may_not_say(&subjects.control_all()).await;
        edge.may_not_say(&subjects.trace()).await;
        edge.may_not_say(&subjects.lanes()).await;
        // Calls that edges do not make, or to one worker only where they may be carried out twice.
        edge.may_not_say(&subjects.rpc("admin.anything")).await;
        edge.may_not_say(&subjects.at("w1-1", "account.login")).await;
        // JetStream: all but looking at the stream.
        for call in [
            format!("CONSUMER.CREATE.{stream}.spy"),
            format!("CONSUMER.CREATE.{stream}.spy.{}", subjects.inbound_all()),
            format!("CONSUMER.DURABLE.CREATE.{stream}.spy"),
            format!("CONSUMER.DELETE.{stream}.lane-0"),
            format!("CONSUMER.INFO.{stream}.lane-0"),
            format!("CONSUMER.LIST.{stream}"),
            format!("CONSUMER.MSG.NEXT.{stream}.lane-0"),
            format!("STREAM.CREATE.{stream}"),
            format!("STREAM.UPDATE.{stream}"),
            format!("STREAM.DELETE.{stream}"),
            format!("STREAM.PURGE.{stream}"),
            format!("STREAM.MSG.GET.{stream}"),
            format!("STREAM.MSG.DELETE.{stream}"),
            format!("DIRECT.GET.{stream}"),
            format!("STREAM.INFO.{dead}"),
            "STREAM.LIST".to_owned(),
            "STREAM.NAMES".to_owned(),
            "INFO".to_owned(),
        ] {
            edge.may_not_say(&format!("$JS.API.{call}")).await;
        }
        edge.may_not_say(&format!("$JS.ACK.{stream}.lane-0.1.1.1.1.1")).await;
        // What others are told.
        for subject in [
            subjects.inbound_all(),
            subjects.inbound(Lane(0), BatchKind::Message),
            subjects.rpc_all(),
            subjects.rpc("account.login"),
            format!("{}.rpc.account.>", subjects.prefix()),
            subjects.at_all("*"),
            subjects.who(),
            subjects.dead(),
            subjects.lanes(),
            format!("{}.>", subjects.prefix()),
            ">".to_owned(),
            "_INBOX.>".to_owned(),
            "_INBOX.*.>".to_owned(),
            "_INBOX.worker.>".to_owned(),
            "_INBOX.admin.>".to_owned(),
            "$SYS.>".to_owned(),
            "$JS.>".to_owned(),
        ] {
            edge.may_not_hear(&subject).await;
        }
        edge.client.queue_subscribe(subjects.rpc_all(), Subjects::WORKERS.into()).await.unwrap();
        edge.refused("subscription to", &subjects.rpc_all()).await;
    }
    // With a user of its own an edge is kept from other edges too.
    let edge = Intruder::new(&broker.url_of(Role::Edge(Some("e1")))).await;
    let foreign = NodeId::new(&format!("{other}-1")).unwrap();
    edge.may_not_say(&subjects.heartbeat(&foreign)).await;
    edge.may_not_hear(&subjects.node(&foreign)).await;
    edge.may_not_hear(&subjects.control(&foreign)).await;
    edge.may_not_hear(&format!("{}.node.>", subjects.prefix())).await;
    edge.may_not_hear(&format!("{}.node.*.*", subjects.prefix())).await;
    for user in ["edge", "edge-e2"] {
        edge.may_not_hear(&format!("{}.>", Subjects::inbox(user))).await;
    }
    // Nor does it speak for one by a heartbeat of its own: nobody is sent to the address that it names.
    let beat = Heartbeat::first(NodeId::new("e9-1").unwrap(), "198.51.100.1", 1);
    let own = subjects.heartbeat(&NodeId::new("e1-1").unwrap());
    edge.client.publish(own, rpc::to_vec(&beat).into()).await.unwrap();
    eventually(SOON, async || {
        let noticed = system.workers[0].logged().contains("a heartbeat of another node");
        if noticed { Ok(()) } else { Err("the worker has not noticed it".to_owned()) }
    })
    .await;
    // Nobody is on that node, so nearly every other login would be sent there.
    for _ in 0..20 {
        let given = system.http_login(&talk.alice, None, 0).await;
        assert_ne!(given.response()["server"].as_str(), Some("198.51.100.1"));
    }
    // Nothing of all that has come through.
    talk.round().await;
    talk.nothing_more(&system).await;
    drop(talk);
    system.allow("permissions violation");
    system.finish().await;
}

/// A worker's own limits: it can neither end the stream nor read what goes to others.
#[tokio::test]
async fn a_worker_may_not_purge_the_stream_nor_hear_deliveries() {
    let system = System::start_guarded(1, 1, Options::default()).await;
    let (subjects, broker) = (system.stores.subjects(), system.broker.as_ref().unwrap());
    let worker = Intruder::new(&broker.url_of(Role::Worker)).await;
    let stream = subjects.stream();
    for call in ["STREAM.PURGE", "STREAM.DELETE", "STREAM.UPDATE", "STREAM.MSG.DELETE"] {
        worker.may_not_say(&format!("$JS.API.{call}.{stream}")).await;
    }
    worker.may_not_say(&subjects.inbound(Lane(0), BatchKind::Message)).await;
    worker.may_not_say(&subjects.rpc("account.login")).await;
    worker.may_not_hear(&format!("{}.node.*.*", subjects.prefix())).await;
    worker.may_not_hear(&subjects.inbound_all()).await;
    worker.may_not_hear("_INBOX.edge-e1.>").await;
    system.finish().await;
}

#[tokio::test]
async fn nobody_connects_without_the_password_and_no_listing_shows_it() {
    let system = System::start_guarded(1, 1, Options::default()).await;
    let broker = system.broker.as_ref().unwrap();
    let edge = broker.url_of(Role::Edge(Some("e1")));
    let password = edge.split(['@', ':']).nth(2).unwrap().to_owned();
    assert_eq!(password.len(), 36, "the password of {}", edge.replace(&password, "…"));
    let host = edge.rsplit('@').next().unwrap();
    for login in ["", "edge-e1:wrong@", "edge-e1@", "nobody:wrong@", &format!("worker:{password}@")] {
        let url = format!("nats://{login}{host}");
        let connected = timeout(Duration::from_secs(10), shared::nats::connect(&url)).await;
        assert!(!matches!(connected, Ok(Ok(_))), "{}", login.replace(&password, "…"));
    }
    for process in system.edges.iter().chain(&system.workers) {
        let pid = process.addresses().pid;
        for listing in ["environ", "cmdline"] {
            let shown = fs::read(format!("/proc/{pid}/{listing}")).unwrap();
            let found = shown.windows(password.len()).any(|part| part == password.as_bytes());
            assert!(!found, "{}'s {listing} shows the password", process.name);
        }
        assert!(!process.logged().contains(&password), "{}'s log shows the password", process.name);
    }
    system.finish().await;
}
