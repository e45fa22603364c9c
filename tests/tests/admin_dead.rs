//! `simple-im admin dead`: frames set aside are listed, shown, put back and given up, and the account holds throughout.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use async_nats::jetstream;
use shared::{
    frame::{self, Form},
    ids::{Device, MessageId, NodeId, SessionNo, UserId},
    message::{Accepted, Body, Message, Sender, Target, WantedAck, accepted},
    subject::{BatchKind, Lane},
};
use tests::{
    harness::{SOON, System, eventually},
    people::{User, delivered},
};

/// A frame that no edge would publish there: whole, and in a lane that is not its own.
async fn misdirect(system: &mut System, id: &str, from: &User, to: &User) {
    let frame = Accepted {
        from: Sender {
            user: UserId(from.id),
            device: Device::new("phone").unwrap(),
            // Nobody's here: a message is not shown to the session that sent it.
            session: SessionNo(1_000_000),
            node: NodeId::new("e1-0").unwrap(),
        },
        ts: 1_700_000_000,
        nonce: None,
        what: Body::Message(Message {
            id: MessageId::new(id).unwrap(),
            content: "set aside".to_owned(),
            to: Target::User(UserId(to.id)),
            ack: WantedAck::Stored,
        }),
    };
    let lanes = system.stores.lanes;
    let wrong = Lane((frame.lane(lanes).0 + 1) % lanes);
    let mut bytes = Vec::new();
    accepted::encode(&frame, &mut bytes);
    put(system, wrong, &bytes).await;
}

async fn put(system: &mut System, lane: Lane, frame: &[u8]) {
    let mut batch = Vec::new();
    frame::write(Form::Counted, frame, &mut batch);
    let js = jetstream::new(system.stores.nats.clone());
    let subject = system.stores.subjects().inbound(lane, BatchKind::Message);
    js.publish(subject, batch.into()).await.unwrap().await.unwrap();
    system.gave_the_broker(1);
}

/// Stored, dead, taken, and whether stored is what is there.
async fn account(system: &System) -> (i64, i64, i64, bool) {
    let query = "SELECT stored, dead, taken, stored = kept + removed FROM conservation WHERE lane IS NULL";
    let row = &system.stores.rows(query, &[]).await[0];
    (row.get(0), row.get(1), row.get(2), row.get(3))
}

async fn dead(system: &System, expected: i64) {
    eventually(SOON, async || match account(system).await.1 {
        found if found == expected => Ok(()),
        found => Err(format!("{found} of {expected} are dead")),
    })
    .await;
}

#[tokio::test]
async fn a_dead_frame_is_put_back_and_counted_once() {
    let mut system = System::start(2, 2).await;
    system.allow("a frame is set aside");
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut b = system.online(&bob, "phone", 0).await;
    let mut pad = system.online(&alice, "pad", 1).await;
    for id in ["1", "2", "3"] {
        misdirect(&mut system, id, &alice, &bob).await;
    }
    dead(&system, 3).await;
    put(&mut system, Lane(0), b"not toml").await;
    dead(&system, 4).await;
    assert_eq!(account(&system).await, (0, 4, 4, true));

    let listed = system.admin(&["dead", "list"]).await.done();
    let from = format!("{}/phone", alice.id);
    assert_eq!(listed.lines().filter(|line| line.contains(&from)).count(), 3, "{listed}");
    assert!(listed.contains("expected in lane") && listed.contains("cannot be read"), "{listed}");
    let shown = system.admin(&["dead", "show", "1"]).await.done();
    assert!(
        shown.contains("c = \"set aside\"") && shown.contains("# im-reason: expected in lane"),
        "{shown}"
    );

    // Put back: stored, shown to the other side and the sender's other devices, and no longer dead.
    let said = system.admin(&["dead", "replay", "1"]).await.done();
    let talk = format!("dm:{}:{}", alice.id, bob.id);
    assert!(said.contains(&format!("stored in {talk} as 1")), "{said}");
    b.expect(&delivered("1", "set aside", 1, &bob, &alice, "phone")).await;
    pad.expect(&delivered("1", "set aside", 1, &bob, &alice, "phone")).await;
    assert_eq!(account(&system).await, (1, 3, 4, true));
    let ts = "SELECT ts FROM messages WHERE conv = $1 AND seq = 1";
    assert_eq!(system.stores.number(ts, &[&talk]).await, 1_700_000_000, "its time is when it was sent");
    assert!(system.admin(&["dead", "replay", "1"]).await.failed().contains("expected a dead frame"));

    // One that was cut short behind the account is not taken off it twice.
    let js = jetstream::new(system.stores.nats.clone());
    let stream = js.get_stream(system.stores.subjects().dead_stream()).await.unwrap();
    let made = stream.cached_info().created.unix_timestamp_nanos().to_string();
    system.stores.execute("INSERT INTO replays (stream, seq) VALUES ($1, 2)", &[&made]).await;
    let lower = "UPDATE lanes SET dead = dead - 1 WHERE lane = (SELECT min(lane) FROM lanes WHERE dead > 0)";
    system.stores.execute(lower, &[]).await;
    let said = system.admin(&["dead", "replay", "2"]).await.done();
    assert!(said.contains("being put back before") && said.contains("as 2"), "{said}");
    b.expect(&delivered("2", "set aside", 2, &bob, &alice, "phone")).await;
    assert_eq!(account(&system).await, (2, 2, 4, true));

    // What cannot be read can only be given up; it stays counted.
    assert!(system.admin(&["dead", "replay", "4"]).await.failed().contains("only dropped"));
    system.admin(&["dead", "drop", "4"]).await.done();
    assert!(system.admin(&["dead", "drop", "4"]).await.failed().contains("expected a dead frame"));
    assert_eq!(account(&system).await, (2, 2, 4, true));
    let listed = system.admin(&["dead", "list"]).await.done();
    assert!(listed.contains("1 frames"), "{listed}");

    // A rule may refuse it by now: then it is refused, and not dead.
    let mut b = b;
    b.done("block", "block", &format!("to = {}", alice.id), "").await;
    let said = system.admin(&["dead", "replay", "3"]).await.done();
    assert!(said.contains("refused"), "{said}");
    assert_eq!(account(&system).await.1, 1);
    let (action, target, result) = system.last_audited().await;
    assert_eq!((&action[..], &target[..]), ("dead replay", "frame 3"));
    assert!(result.starts_with("ok: ") && !result.contains("set aside\""), "{result}");
    system.finish().await;
}
