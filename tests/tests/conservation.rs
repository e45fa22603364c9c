//! What is accepted is stored, or a duplicate, refused or dead; once, whatever step of the pipeline the worker dies at.
//!
//! The fail points are those of a debug build of the worker, see `workers::fail`.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::{collections::BTreeMap, time::Duration};

use async_nats::jetstream::{self, message::StreamMessage};
use shared::subject::{BatchKind, Lane};
use tests::{
    harness::{Options, SOON, System, eventually},
    people::{User, delivered, done, refused, stored},
    wire::{Got, Wire, body, kind, must_be},
};
use toml::Table;
use workers::fail::{Step, VARIABLE};

/// How long a client waits before it sends again what was not answered.
const PATIENCE: Duration = Duration::from_secs(3);

/// A client as the protocol wants it: it sends again what is not answered, in order.
struct Client {
    wire: Wire,
    sent: Vec<(String, String)>,
    answers: BTreeMap<String, Table>,
    /// The newest `seq` shown, a conversation.
    shown: BTreeMap<String, i64>,
    count: usize,
}

impl Client {
    async fn new(system: &System, user: &User, edge: usize) -> Self {
        let wire = system.online(user, "phone", edge).await;
        Self { wire, sent: Vec::new(), answers: BTreeMap::new(), shown: BTreeMap::new(), count: 0 }
    }

    /// Sends frames, each with its id, in one piece.
    async fn send(&mut self, frames: Vec<(String, String)>) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(_, frame)| self.wire.framed(frame)).collect();
        self.sent.extend(frames);
        self.wire.send_raw(&bytes).await;
    }

    /// Until everything sent is answered and so much was shown in all.
    async fn settled(&mut self, count: usize) {
        let end = tokio::time::Instant::now() + 2 * SOON;
        while self.count < count || self.sent.iter().any(|(id, _)| !self.answers.contains_key(id)) {
            assert!(
                tokio::time::Instant::now() < end,
                "{} shown, answers: {:?}",
                self.count,
                self.answers.keys()
            );
            match self.wire.got_within(PATIENCE).await {
                Some(got) => self.take(got),
                None => {
                    let open = self.sent.iter().filter(|(id, _)| !self.answers.contains_key(id));
                    let bytes: Vec<u8> = open.flat_map(|(_, frame)| self.wire.framed(frame)).collect();
                    self.wire.send_raw(&bytes).await;
                }
            }
        }
    }

    /// Sends everything once more, and reads all that comes until it is answered.
    async fn repeat(&mut self) {
        let before = std::mem::take(&mut self.answers);
        let frames = std::mem::take(&mut self.sent);
        self.send(frames).await;
        self.settled(self.count).await;
        for (id, _) in self.sent.drain(..) {
            assert_eq!(self.answers[&id], before[&id], "what is sent again is answered as it was");
        }
    }

    /// An answer may come again, the same; a delivery is shown once and in its order.
    fn take(&mut self, got: Got) {
        let Got::Entry(entry) = got else { panic!("expected an entry, found {got:?}") };
        let (kind, keys) = (kind(&entry).to_owned(), body(&entry));
        if kind == "a" || kind == "rr" {
            let id = keys["id"].as_str().unwrap().to_owned();
            let first = self.answers.entry(id).or_insert_with(|| entry.clone());
            assert_eq!(*first, entry, "an answer that comes again is the same");
            return;
        }
        let conversation = match (keys.get("group"), keys.get("group_id")) {
            (Some(group), _) | (None, Some(group)) => format!("group {group}"),
            _ => format!("with {}", keys["from"]["id"]),
        };
        let (seq, last) =
            (keys["seq"].as_integer().unwrap(), self.shown.get(&conversation).copied().unwrap_or(0));
        assert!(seq > last, "{conversation}: {seq} is shown after {last}: {entry}");
        self.shown.insert(conversation, seq);
        self.count += 1;
    }
}

/// Every step: the worker dies there in the middle of messages, group messages and requests, and nothing is lost, doubled
/// or answered in another way.
#[tokio::test]
async fn a_worker_that_dies_between_any_two_steps_loses_and_doubles_nothing() {
    let mut system = System::start(2, 1).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let (mut a, mut b) = (Client::new(&system, &alice, 0).await, Client::new(&system, &bob, 1).await);
    let keys = format!("name = \"first\"\nmembers = [{}]", bob.id);
    let made = a.wire.done("g", "create_group", &keys, "seq = 1\ngroup_id = \"…\"").await;
    let group = made["group_id"].as_integer().unwrap();
    b.settled(1).await;
    for (round, step) in Step::ALL.into_iter().enumerate() {
        let carol = system.user(&format!("carol{round}")).await;
        let mut c = Client::new(&system, &carol, 1).await;
        // Answers to what was repeated in the last round may still come, so this is not just the next thing that comes.
        let ask = format!("ask{round}");
        let keys = format!("t = \"add_contact\"\nto = {}\nmessage = \"hi\"", carol.id);
        a.send(vec![(ask.clone(), format!("[[r]]\nid = \"{ask}\"\n{keys}"))]).await;
        a.settled(a.count).await;
        must_be(&done(&ask, "add_contact", "seq = 1"), &a.answers[&ask]);
        c.settled(1).await;

        system.workers[0].stop().await;
        system.workers[0].set(VARIABLE, Some(format!("{}:1", step.as_str())));
        system.start_worker(0).await;
        let id = |what: &str| format!("{what}{round}");
        let mut frames = Vec::new();
        for n in 0..5 {
            let message = format!("[[m]]\nid = \"m{round}.{n}\"\nc = \"hello\"\nto = {}", bob.id);
            frames.push((format!("m{round}.{n}"), message));
            let message = format!("[[gm]]\nid = \"gm{round}.{n}\"\nc = \"hello\"\ngroup = {group}");
            frames.push((format!("gm{round}.{n}"), message));
        }
        let create = format!(
            "[[r]]\nid = \"{0}\"\nt = \"create_group\"\nname = \"{0}\"\nmembers = [{1}]",
            id("new"),
            bob.id
        );
        frames.push((id("new"), create));
        a.send(frames).await;
        c.send(vec![(
            id("yes"),
            format!("[[r]]\nid = \"{}\"\nt = \"accept_contact\"\nto = {}", id("yes"), alice.id),
        )])
        .await;
        let worker = &mut system.workers[0];
        let end = tokio::time::Instant::now() + SOON;
        while !worker.has_died() {
            assert!(tokio::time::Instant::now() < end, "the worker has not died at {step:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        worker.set(VARIABLE, None);
        system.start_worker(0).await;

        // Alice is shown carol's acceptance; bob five messages, five of the group, and the new group.
        a.settled(round + 1).await;
        b.settled(1 + 11 * (round + 1)).await;
        c.settled(1).await;
        for client in [&mut a, &mut c] {
            assert!(
                client.answers.values().all(|answer| body(answer).get("code").is_none()),
                "{:?}",
                client.answers
            );
            client.repeat().await;
        }
        let groups = system.stores.number("SELECT count(*) FROM groups WHERE name = $1", &[&id("new")]).await;
        assert_eq!(groups, 1, "one group, not two, when the worker dies at {step:?}");
        system.conserved().await;
        a.answers.clear();
        // Bob has been shown everything once: what is still to come is the answer to his heartbeat.
        b.wire.nothing_but_heartbeat().await;
        let (talk, of_group) = (format!("with {}", alice.id), format!("group {group}"));
        let reached = 5 * (round as i64 + 1);
        assert_eq!(
            (b.shown[&talk], b.shown[&of_group]),
            (reached, reached + 1),
            "no gap, no double at {step:?}"
        );
    }
    system.finish().await;
}

/// A task of the worker ends by a fault and the process lives on: its lanes are taken anew, nothing stands still, and
/// nothing is left unacknowledged.
#[tokio::test]
async fn a_task_that_crashes_holds_no_lane_up() {
    let mut system = System::start(1, 1).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let (mut a, mut b) = (Client::new(&system, &alice, 0).await, Client::new(&system, &bob, 0).await);
    system.allow("a fail point ends this task");
    system.allow("panicked at workers/src/fail.rs");
    system.allow("a committer crashed");
    for (round, step) in Step::ALL.into_iter().enumerate() {
        system.workers[0].set(VARIABLE, Some(format!("panic-{}:2", step.as_str())));
        system.restart_worker(0).await;
        for n in 1..=5 {
            let id = format!("{round}.{n}");
            let frame = format!("[[m]]\nid = \"{id}\"\nc = \"hello\"\nto = {}", bob.id);
            a.send(vec![(id, frame)]).await;
            a.settled(0).await;
        }
        b.settled(5 * (round + 1)).await;
        assert!(!system.workers[0].has_died(), "the worker died at {step:?}");
        let crashes = system.workers[0].logged().matches("panicked at workers/src/fail.rs").count();
        assert_eq!(crashes, round + 1, "{step:?} was not reached");
        tests::harness::checks::at_rest(&system).await;
        system.conserved().await;
    }
    system.finish().await;
}

/// Starts every worker that has died, as a supervisor would.
async fn supervise(system: &mut System) {
    loop {
        for worker in &mut system.workers {
            if worker.has_died() {
                worker.launch().unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What `im.dead` holds.
async fn dead(system: &System) -> Vec<StreamMessage> {
    let context = jetstream::new(system.stores.nats.clone());
    let mut stream = context.get_stream(system.stores.subjects().dead_stream()).await.unwrap();
    let state = stream.info().await.unwrap().state.clone();
    let mut all = Vec::new();
    for seq in state.first_sequence..=state.last_sequence {
        all.push(stream.get_raw_message(seq).await.unwrap());
    }
    all
}

fn header(message: &StreamMessage, name: &str) -> String {
    message.headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default()
}

async fn dead_count(system: &System) -> i64 {
    system.stores.number("SELECT coalesce(sum(dead), 0)::bigint FROM lanes", &[]).await
}

/// A frame that ends every process that works on it is found, set aside with its reason and answered; all that came with
/// it is stored, and its lane goes on.
#[tokio::test]
async fn a_poison_frame_ends_on_im_dead() {
    let mut system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 1).await;
    a.say("before", &bob, "fine", 1).await;
    b.expect(&delivered("before", "fine", 1, &bob, &alice, "phone")).await;
    for worker in 0..2 {
        system.workers[worker].set(VARIABLE, Some("poison:arsenic".to_owned()));
        system.restart_worker(worker).await;
    }
    let frames = [("m1", "fine"), ("m2", "with arsenic in it"), ("m3", "fine")];
    let frame = |(id, text)| a.framed(&format!("[[m]]\nid = \"{id}\"\nc = \"{text}\"\nto = {}", bob.id));
    let bytes: Vec<u8> = frames.into_iter().flat_map(frame).collect();
    a.send_raw(&bytes).await;
    let answered = async {
        // An answer may come again: what follows the poison was tried with it.
        let mut answers = BTreeMap::new();
        while answers.len() < 3 {
            let Some(Got::Entry(entry)) = a.got_within(2 * SOON).await else {
                panic!("only answered: {answers:?}")
            };
            answers.insert(body(&entry)["id"].as_str().unwrap().to_owned(), entry);
        }
        must_be(&stored("m1", 2), &answers["m1"]);
        must_be(&refused("m2", "", "dead"), &answers["m2"]);
        must_be(&stored("m3", 3), &answers["m3"]);
        for (id, seq) in [("m1", 2), ("m3", 3)] {
            b.expect(&delivered(id, "fine", seq, &bob, &alice, "phone")).await;
        }
    };
    tokio::select! {
        () = supervise(&mut system) => {}
        () = answered => {}
    }
    for worker in &mut system.workers {
        if worker.has_died() {
            worker.launch().unwrap();
        }
        worker.listening().await;
        worker.ready().await;
    }
    let set_aside = dead(&system).await;
    assert_eq!(set_aside.len(), 1, "it is there once");
    assert!(String::from_utf8_lossy(&set_aside[0].payload).contains("arsenic"));
    assert!(header(&set_aside[0], "im-reason").contains("failed"), "{:?}", set_aside[0].headers);
    assert_eq!(dead_count(&system).await, 1, "it is counted once");
    // The lane goes on.
    a.send_message("m4", bob.id, "fine").await;
    loop {
        let entry = a.next().await;
        if body(&entry)["id"].as_str() == Some("m4") {
            must_be(&stored("m4", 4), &entry);
            break;
        }
    }
    b.expect(&delivered("m4", "fine", 4, &bob, &alice, "phone")).await;
    system.allow("a frame is set aside");
    system.finish().await;
}

/// Batches that no edge would write, in every lane: set aside whole or frame by frame, counted, and the lanes go on.
#[tokio::test]
async fn what_cannot_be_read_ends_on_im_dead() {
    let mut system = System::start_with(2, 2, Options::default()).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 1).await;
    let batches: [&[u8]; 4] = [
        b"\xff\xfenothing that could be counted",
        b"#99999\ntoo short",
        b"#9\nnot toml\n",
        b"#6\na = 1\n#9\nnot toml\n",
    ];
    let js = jetstream::new(system.stores.nats.clone());
    let subjects = system.stores.subjects();
    for lane in 0..system.stores.lanes {
        for batch in batches {
            let subject = subjects.inbound(Lane(lane), BatchKind::Message);
            js.publish(subject, batch.to_vec().into()).await.unwrap().await.unwrap();
        }
    }
    // One each, but for the last, whose two frames are two.
    let expected = 5 * i64::from(system.stores.lanes);
    system.gave_the_broker(u32::try_from(expected).unwrap());
    eventually(SOON, async || match dead_count(&system).await {
        found if found == expected => Ok(()),
        found => Err(format!("{found} of {expected} are counted as dead")),
    })
    .await;
    let set_aside = dead(&system).await;
    assert_eq!(set_aside.len() as i64, expected);
    for message in &set_aside {
        assert!(!header(message, "im-reason").is_empty() && !header(message, "im-lane").is_empty());
    }
    a.say("1", &bob, "the lane goes on", 1).await;
    b.expect(&delivered("1", "the lane goes on", 1, &bob, &alice, "phone")).await;
    system.allow("a frame is set aside");
    system.finish().await;
}
