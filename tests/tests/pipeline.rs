//! A chunk against a real PostgreSQL: numbering, retries, replays, counts, and what a failed chunk leaves behind.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use shared::{
    ids::{Conversation, Device, MessageId, NodeId, Seq, SessionNo, UserId},
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
    store::{self, Session, lanes::Mark},
};

const RULES: Rules = Rules { group_members: 10 };

struct Desk {
    stores: Stores,
    session: Session,
    cache: Cache,
}

impl Desk {
    async fn open(name: &str) -> Self {
        let servers = servers::shared().await.unwrap();
        let name = format!("pipeline_{name}_{}", std::process::id());
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

    async fn commit(&mut self, items: &[Item], reach: i64) -> Vec<Effect> {
        let mark = Mark { lane: 0, stream: "s".into(), committed: reach, ..Mark::default() };
        run::commit(&self.session, &mut self.cache, items, &[mark], None, RULES).await.unwrap()
    }

    async fn counts(&self) -> (i64, i64, i64) {
        let rows = self.stores.rows("SELECT stored, duplicate, refused FROM lanes WHERE lane = 0", &[]).await;
        (rows[0].get(0), rows[0].get(1), rows[0].get(2))
    }

    async fn seqs(&self, conversation: &str) -> Vec<(i64, String)> {
        let query = "SELECT seq, id FROM messages WHERE conv = $1 ORDER BY seq";
        let rows = self.stores.rows(query, &[&conversation]).await;
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
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

fn text(from: i64, to: Target, id: &str) -> Item {
    let id = MessageId::new(id).unwrap();
    frame(from, Body::Message(Message { id, to, content: "hello".into(), ack: WantedAck::Stored }))
}

fn say(from: i64, to: i64, id: &str) -> Item {
    text(from, Target::User(UserId(to)), id)
}

fn ask(from: i64, id: &str, what: Ask) -> Item {
    frame(from, Body::Request(Request { id: MessageId::new(id).unwrap(), what }))
}

fn outcomes(effects: &[Effect]) -> Vec<Outcome> {
    effects.iter().map(|effect| effect.outcome).collect()
}

fn places(effects: &[Effect]) -> Vec<Option<i64>> {
    effects
        .iter()
        .map(|effect| effect.answer.as_ref().and_then(|answer| answer.place).map(|(_, Seq(seq))| seq))
        .collect()
}

#[tokio::test]
async fn a_chunk_is_numbered_without_a_gap_and_in_its_order() {
    let mut desk = Desk::open("numbers").await;
    let first: Vec<Item> = (0..10).map(|n| say(1 + n % 2, 2 - n % 2, &format!("a{n}"))).collect();
    assert_eq!(places(&desk.commit(&first, 1).await), (1..=10).map(Some).collect::<Vec<_>>());
    let second: Vec<Item> = (0..6).map(|n| say(1, 2 + n % 2, &format!("b{n}"))).collect();
    let expected = [Some(11), Some(1), Some(12), Some(2), Some(13), Some(3)];
    assert_eq!(places(&desk.commit(&second, 2).await), expected);
    let seqs = desk.seqs("dm:1:2").await;
    assert_eq!(seqs.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (1..=13).collect::<Vec<_>>());
    assert_eq!(desk.counts().await, (16, 0, 0));
    let query = "SELECT count(*) FROM participants WHERE conv IN ('dm:1:2', 'dm:1:3')";
    assert_eq!(desk.stores.number(query, &[]).await, 4);
    desk.stores.drop_all().await;
}

#[tokio::test]
async fn a_retry_is_one_message_wherever_it_stands() {
    let mut desk = Desk::open("retry").await;
    let chunk = [say(1, 2, "x"), say(1, 2, "x"), say(1, 2, "y")];
    let effects = desk.commit(&chunk, 1).await;
    assert_eq!(outcomes(&effects), [Outcome::Stored, Outcome::Duplicate, Outcome::Stored]);
    assert_eq!(places(&effects), [Some(1), Some(1), Some(2)]);

    // In a later chunk, between new ones: the careful way.
    let effects = desk.commit(&[say(1, 2, "z"), say(1, 2, "x"), say(2, 1, "x")], 2).await;
    assert_eq!(outcomes(&effects), [Outcome::Stored, Outcome::Duplicate, Outcome::Stored]);
    assert_eq!(places(&effects), [Some(3), Some(1), Some(4)]);
    assert!(!effects[1].shows.is_empty(), "a retry is delivered again");

    // Even where the rules would refuse it by now.
    let block = ask(2, "r", Ask::Block { to: UserId(1) });
    let effects = desk.commit(&[block, say(1, 2, "y"), say(1, 2, "new")], 3).await;
    assert_eq!(outcomes(&effects)[1], Outcome::Duplicate);
    assert!(matches!(effects[2].outcome, Outcome::Refused(shared::command::Code::Blocked)));
    assert_eq!(desk.counts().await, (5, 3, 1));
    desk.stores.drop_all().await;
}

#[tokio::test]
async fn a_replay_answers_as_it_did_and_counts_once() {
    let mut desk = Desk::open("replay").await;
    let create = Ask::CreateGroup { name: "friends".into(), members: vec![UserId(2), UserId(3)] };
    let chunk = [
        ask(1, "c1", create),
        ask(1, "c2", Ask::AddContact { to: UserId(2), message: "hi".into() }),
        ask(2, "c3", Ask::AcceptContact { to: UserId(1) }),
        say(1, 2, "m"),
    ];
    let first = desk.commit(&chunk, 1).await;
    assert_eq!(outcomes(&first), [Outcome::Stored; 4]);
    let replay: Vec<Item> = chunk.iter().cloned().map(|item| Item { fresh: false, ..item }).collect();
    let second = desk.commit(&replay, 1).await;
    assert_eq!(outcomes(&second), [Outcome::Duplicate; 4]);
    for (one, other) in first.iter().zip(&second) {
        assert_eq!(one.answer.as_ref().unwrap().body, other.answer.as_ref().unwrap().body);
        assert_eq!(one.shows.len(), other.shows.len());
        for (one, other) in one.shows.iter().zip(&other.shows) {
            assert_eq!(one.body, other.body);
        }
    }
    assert_eq!(desk.stores.number("SELECT count(*) FROM groups", &[]).await, 1, "one group, not two");
    assert_eq!(desk.counts().await, (4, 0, 0));
    desk.stores.drop_all().await;
}

#[tokio::test]
async fn a_group_hears_its_members_from_their_joining_to_their_leaving() {
    let mut desk = Desk::open("group").await;
    let create = Ask::CreateGroup { name: "friends".into(), members: vec![UserId(2)] };
    desk.commit(&[ask(1, "c", create)], 1).await;
    let group = shared::ids::GroupId(desk.stores.number("SELECT id FROM groups", &[]).await);
    let to = Target::Group(group);
    let chunk = [
        text(3, to, "outside"),
        text(1, to, "one"),
        ask(1, "add", Ask::CreateGroupMember { group, member: UserId(3) }),
        text(3, to, "inside"),
        ask(3, "leave", Ask::DeleteGroupMember { group, member: None }),
        text(3, to, "outside again"),
        text(2, to, "two"),
    ];
    let effects = desk.commit(&chunk, 2).await;
    let told: Vec<Vec<i64>> = effects
        .iter()
        .map(|effect| {
            let mut users: Vec<i64> =
                effect.shows.iter().flat_map(|show| show.to.iter().map(|user| user.0)).collect();
            users.sort_unstable();
            users
        })
        .collect();
    let expected: [&[i64]; 7] = [&[], &[1, 2], &[1, 2, 3], &[1, 2, 3], &[1, 2, 3], &[], &[1, 2]];
    assert_eq!(told, expected);
    let rows = desk.stores.rows("SELECT from_seq, to_seq FROM participants WHERE user_id = 3", &[]).await;
    let interval: (i64, Option<i64>) = (rows[0].get(0), rows[0].get(1));
    assert_eq!(interval, (3, Some(5)));
    // A retry from before someone joined is not shown to them.
    desk.commit(&[ask(1, "back", Ask::CreateGroupMember { group, member: UserId(3) })], 3).await;
    let effects = desk.commit(&[text(1, to, "one")], 4).await;
    assert_eq!(effects[0].outcome, Outcome::Duplicate);
    assert!(!effects[0].shows[0].to.contains(&UserId(3)));
    desk.stores.drop_all().await;
}

#[tokio::test]
async fn a_chunk_that_fails_leaves_nothing() {
    // With a session that has prepared its statements, and with one that has not.
    for warm in [false, true] {
        fails_without_a_trace(warm).await;
    }
}

async fn fails_without_a_trace(warm: bool) {
    let mut desk = Desk::open(&format!("failed_{warm}")).await;
    if warm {
        desk.commit(&[say(3, 4, "before")], 0).await;
    }
    desk.stores.execute("ALTER TABLE lanes ADD CONSTRAINT broken CHECK (refused = 0)", &[]).await;
    let mark = Mark { lane: 0, stream: "s".into(), committed: 1, ..Mark::default() };
    let chunk = [say(1, 2, "good"), say(1, 99, "nobody")];
    let failed =
        run::commit(&desk.session, &mut desk.cache, &chunk, std::slice::from_ref(&mark), None, RULES).await;
    assert!(failed.is_err_and(|error| !error.passing()));
    let conversation = Conversation::direct(UserId(1), UserId(2)).to_string();
    assert!(desk.seqs(&conversation).await.is_empty());
    desk.stores.drop_all().await;
}

/// A sort by fewer columns than the order needs leaves the rest to the plan: this many rows make it a partial one.
#[tokio::test]
async fn what_is_owed_comes_in_order_whatever_the_plan() {
    let desk = Desk::open("owed").await;
    desk.stores
        .execute(
            "INSERT INTO messages (conv, seq, sender, ts, kind, want, device, id, content, digest)
             SELECT 'dm:1:' || c, s, c, 0, 0, 0, 'ipad', 'x', 'hello', decode(md5(c || ':' || s), 'hex')
             FROM generate_series(2, 25) c, generate_series(1, 40) s",
            &[],
        )
        .await;
    desk.stores
        .execute(
            "INSERT INTO participants (user_id, conv, from_seq) SELECT 1, 'dm:1:' || c, 1 FROM generate_series(2, 25) c",
            &[],
        )
        .await;
    for table in ["messages", "participants", "cursors"] {
        desk.stores.execute(&format!("ANALYZE {table}"), &[]).await;
    }
    let places = workers::store::owed::Places::new();
    let (owed, more) =
        workers::store::owed::owed(&desk.session, UserId(1), None, &places, 256).await.unwrap();
    assert!(more);
    let order: Vec<(String, i64)> =
        owed.iter().map(|row| (row.conversation.to_string(), row.seq.0)).collect();
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(order.len(), 256);
    desk.stores.drop_all().await;
}
