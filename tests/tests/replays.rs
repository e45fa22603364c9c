//! Frames that come again after their chunk was committed, against a real PostgreSQL: what was refused then is not
//! stored now, and which frames were committed is known even where a chunk was cut off half-way.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use shared::{
    command::Code,
    ids::{Device, GroupId, MessageId, NodeId, SessionNo, UserId},
    message::{Accepted, Ask, Body, Message, Request, Sender, Target, WantedAck},
    subject::Lane,
};
use tests::harness::{servers, stores::Stores};
use workers::{
    config::WorkerConfig,
    pipeline::{
        Item,
        cache::Cache,
        effect::{Effect, Outcome},
        run::{self, Rules},
    },
    store::{
        self, Session,
        lanes::{self, Mark, Place},
    },
};

struct Desk {
    stores: Stores,
    session: Session,
    cache: Cache,
}

impl Desk {
    async fn open(name: &str) -> Self {
        let servers = servers::shared().await.unwrap();
        let name = format!("replays_{name}_{}", std::process::id());
        let stores = Stores::open(&servers, &name, 4).await.unwrap();
        let mut config = WorkerConfig::default().postgres;
        config.url = shared::config::SecretUrl::new(&servers.postgres);
        config.schema = name;
        store::migrate(&config).await.unwrap();
        let (client, _driven) = store::connect_one(&config).await.unwrap();
        for n in 1..=4 {
            let phone = format!("138{n:08}");
            stores
                .execute("INSERT INTO users (phone, name, password) VALUES ($1, 'x', 'x')", &[&phone])
                .await;
        }
        Self { stores, session: Session::new(client), cache: Cache::default() }
    }

    async fn commit(&mut self, items: &[Item], reach: i64) -> Vec<Outcome> {
        let effects = self.effects(items, reach, None).await;
        effects.iter().map(|effect| effect.outcome).collect()
    }

    async fn effects(&mut self, items: &[Item], reach: i64, trial: Option<Place>) -> Vec<Effect> {
        let mark = Mark { lane: 0, stream: "s".into(), committed: reach, ..Mark::default() };
        let rules = Rules { group_members: 10 };
        run::commit(&self.session, &mut self.cache, items, &[mark], trial, rules).await.unwrap()
    }

    async fn counts(&self) -> (i64, i64, i64) {
        let rows = self.stores.rows("SELECT stored, duplicate, refused FROM lanes WHERE lane = 0", &[]).await;
        (rows[0].get(0), rows[0].get(1), rows[0].get(2))
    }

    async fn stored(&self, conversation: &str) -> Vec<String> {
        let query = "SELECT id FROM messages WHERE conv = $1 ORDER BY seq";
        self.stores.rows(query, &[&conversation]).await.iter().map(|row| row.get(0)).collect()
    }
}

fn frame(from: i64, what: Body) -> Item {
    let from = Sender {
        user: UserId(from),
        device: Device::new("ipad").unwrap(),
        session: SessionNo(from),
        node: NodeId::new("e1-1").unwrap(),
    };
    Item { lane: Lane(0), fresh: true, accepted: Accepted { from, ts: 1_444_719_450, nonce: None, what } }
}

fn say(from: i64, to: Target, id: &str) -> Item {
    let id = MessageId::new(id).unwrap();
    frame(from, Body::Message(Message { id, to, content: "hello".into(), ack: WantedAck::Stored }))
}

fn ask(from: i64, id: &str, what: Ask) -> Item {
    frame(from, Body::Request(Request { id: MessageId::new(id).unwrap(), what }))
}

fn again(chunk: &[Item]) -> Vec<Item> {
    chunk.iter().cloned().map(|item| Item { fresh: false, ..item }).collect()
}

const UNAVAILABLE: Outcome = Outcome::Refused(Code::Unavailable);
const BLOCKED: Outcome = Outcome::Refused(Code::Blocked);

#[tokio::test]
async fn what_was_refused_is_not_stored_by_a_replay_that_the_rules_would_let_pass() {
    let mut desk = Desk::open("texts").await;
    let bob = Target::User(UserId(2));
    desk.commit(&[ask(2, "b", Ask::Block { to: UserId(1) })], 1).await;
    let chunk = [say(1, bob, "m1"), ask(2, "u", Ask::Unblock { to: UserId(1) }), say(1, bob, "m2")];
    assert_eq!(desk.commit(&chunk, 2).await, [BLOCKED, Outcome::Stored, Outcome::Stored]);
    let counts = desk.counts().await;

    // Not acknowledged to the broker, so it comes again.
    let effects = desk.effects(&again(&chunk), 2, None).await;
    let outcomes: Vec<Outcome> = effects.iter().map(|effect| effect.outcome).collect();
    assert_eq!(outcomes, [UNAVAILABLE, Outcome::Duplicate, Outcome::Duplicate]);
    let answer = String::from_utf8_lossy(&effects[0].answer.as_ref().unwrap().body).into_owned();
    assert!(answer.contains("id = \"m1\"") && answer.contains("code = \"unavailable\""), "{answer}");
    assert_eq!(desk.stored("dm:1:2").await, ["m2"]);
    assert_eq!(desk.counts().await, counts, "a replay is not counted");

    // Refused now as well, it has that refusal.
    desk.commit(&[ask(2, "b2", Ask::Block { to: UserId(1) })], 3).await;
    let outcomes = desk.commit(&again(&chunk), 3).await;
    assert_eq!(outcomes, [BLOCKED, Outcome::Duplicate, Outcome::Duplicate]);
    desk.commit(&[ask(2, "u2", Ask::Unblock { to: UserId(1) })], 4).await;

    // What its sender sends again is a frame of its own.
    assert_eq!(desk.commit(&[say(1, bob, "m1")], 5).await, [Outcome::Stored]);
    assert_eq!(desk.stored("dm:1:2").await, ["m2", "m1"]);
    desk.stores.drop_all().await;
}

#[tokio::test]
async fn a_batch_that_comes_twice_in_one_chunk_is_stored_once() {
    let mut desk = Desk::open("twice").await;
    let first = [say(1, Target::User(UserId(2)), "m"), ask(2, "r", Ask::Block { to: UserId(1) })];
    let chunk: Vec<Item> = first.iter().cloned().chain(again(&first)).collect();
    let outcomes = desk.commit(&chunk, 1).await;
    assert_eq!(outcomes, [Outcome::Stored, Outcome::Stored, Outcome::Duplicate, Outcome::Duplicate]);
    let chunk: Vec<Item> = [say(2, Target::User(UserId(1)), "n")]
        .into_iter()
        .flat_map(|one| [one.clone(), again(&[one])[0].clone()])
        .collect();
    assert_eq!(desk.commit(&chunk, 2).await, [Outcome::Stored, Outcome::Duplicate]);
    assert_eq!(desk.stored("dm:1:2").await, ["m", "n"]);
    assert_eq!(desk.counts().await, (3, 0, 0));
    desk.stores.drop_all().await;
}

#[tokio::test]
async fn a_request_that_was_refused_does_nothing_when_it_is_replayed() {
    let mut desk = Desk::open("requests").await;
    let create = Ask::CreateGroup { name: "friends".into(), members: vec![UserId(2)] };
    desk.commit(&[ask(1, "c", create)], 1).await;
    let group = GroupId(desk.stores.number("SELECT id FROM groups", &[]).await);
    let add = |member| Ask::CreateGroupMember { group, member: UserId(member) };
    let contact = Ask::AddContact { to: UserId(2), message: "hi".into() };
    let refused = [
        // Not a contact of its own, and neither is it the creator.
        ask(2, "add4", add(4)),
        ask(2, "accept", Ask::AcceptContact { to: UserId(1) }),
        ask(3, "leave", Ask::DeleteGroupMember { group, member: None }),
        say(3, Target::Group(group), "outside"),
    ];
    let outcomes = desk.commit(&refused, 2).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Refused(_))), "{outcomes:?}");
    let allowed = [
        ask(1, "add3", add(3)),
        ask(1, "contact", contact),
        ask(2, "c4", Ask::AddContact { to: UserId(4), message: String::new() }),
        ask(4, "c2", Ask::AddContact { to: UserId(2), message: String::new() }),
    ];
    assert_eq!(desk.commit(&allowed, 3).await, [Outcome::Stored; 4]);

    let counts = desk.counts().await;
    let rows = "SELECT (SELECT count(*) FROM messages) + 1000 * (SELECT count(*) FROM participants)
                     + 1000000 * (SELECT count(*) FROM contact_requests) + 10000000 * (SELECT count(*) FROM requests)";
    let before = desk.stores.number(rows, &[]).await;
    assert_eq!(desk.commit(&again(&refused), 3).await, [UNAVAILABLE; 4]);
    assert_eq!(desk.stores.number(rows, &[]).await, before, "nothing is stored by it");
    assert_eq!(desk.counts().await, counts);
    // The committer's memory stands as it did: three is a member, and four is not.
    let chunk = [say(3, Target::Group(group), "inside"), say(4, Target::Group(group), "outside")];
    let outcomes = desk.commit(&chunk, 4).await;
    assert_eq!(outcomes, [Outcome::Stored, Outcome::Refused(Code::NotMember)]);
    // Asked anew they are done.
    assert_eq!(desk.commit(&refused[..3], 5).await, [Outcome::Stored; 3]);
    desk.stores.drop_all().await;
}

/// What a trial has committed, frame by frame, before it was cut off, is not new to whoever goes on: also where that one
/// takes the lane's frames together, and in smaller chunks.
#[tokio::test]
async fn frames_that_were_committed_alone_are_known_until_the_lane_has_passed_them() {
    let mut desk = Desk::open("alone").await;
    let lane = Lane(0);
    let place = |stream_seq, frame| Place { lane, stream_seq, frame };
    let bob = Target::User(UserId(2));
    desk.commit(&[say(2, Target::User(UserId(1)), "first")], 4).await;
    for (trial, id) in [(place(5, 0), "a"), (place(6, 1), "b")] {
        assert_eq!(lanes::attempt(&desk.session, trial).await.unwrap(), 1);
        desk.effects(&[say(1, bob, id)], 4, Some(trial)).await;
    }
    // Begun, and not done.
    assert_eq!(lanes::attempt(&desk.session, place(6, 2)).await.unwrap(), 1);
    assert_eq!(lanes::attempt(&desk.session, place(5, -1)).await.unwrap(), 1);
    let found = lanes::committed(&desk.session, lane, "s").await.unwrap();
    assert_eq!((found.upto, found.alone), (4, [(5, 0), (6, 1)].into()));
    assert_eq!(lanes::attempt(&desk.session, place(6, 1)).await.unwrap(), 0, "it is done");

    lanes::forgive(&desk.session, &[(lane, 5)]).await.unwrap();
    let found = lanes::committed(&desk.session, lane, "s").await.unwrap();
    assert_eq!(found.alone, [(6, 1)].into(), "what the mark does not say yet");
    assert_eq!(lanes::attempt(&desk.session, place(6, 2)).await.unwrap(), 1, "trials are forgiven");

    // Another stream has other frames at these places.
    let other = lanes::committed(&desk.session, lane, "another").await.unwrap();
    assert_eq!(other, lanes::Committed::default());
    assert_eq!(lanes::attempt(&desk.session, place(6, 1)).await.unwrap(), 1);
    desk.stores.drop_all().await;
}

#[tokio::test]
async fn a_trial_that_is_excused_is_not_done() {
    let desk = Desk::open("excused").await;
    let trial = Place { lane: Lane(0), stream_seq: 7, frame: 0 };
    for round in 1..=5 {
        assert_eq!(lanes::attempt(&desk.session, trial).await.unwrap(), 1, "round {round}");
        lanes::excuse(&desk.session, &[Lane(0)]).await.unwrap();
    }
    lanes::excuse(&desk.session, &[Lane(0)]).await.unwrap();
    for count in 1..=4 {
        assert_eq!(lanes::attempt(&desk.session, trial).await.unwrap(), count, "it is tried in earnest");
    }
    desk.stores.drop_all().await;
}
