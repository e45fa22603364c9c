//! A device's cursor and the sessions that may move it; what is told together with it.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use serde::Serialize;
use shared::{
    delivery::ReceiptKey,
    ids::{Conversation, Device, NodeId, Seq, SessionNo, UserId},
    rpc::{self, Close, Cursors, Move, Registration},
};
use tests::{
    harness::{Options, Store, System, Way},
    people::{User, delivered, stored},
};

fn ipad(user: &User, other: &User, seq: i64, newest: Option<i64>) -> Move {
    Move {
        user: UserId(user.id),
        device: Device::new("ipad").unwrap(),
        conv: Conversation::direct(UserId(user.id), UserId(other.id)),
        seq: Seq(seq),
        newest: newest.map(SessionNo),
    }
}

/// What an edge tells a worker; whether it has done it.
async fn tell(system: &System, name: &str, call: &impl Serialize) -> bool {
    let subject = system.stores.subjects().rpc(name);
    let answer = system.stores.nats.request(subject, rpc::to_vec(call).into()).await.unwrap();
    answer.headers.is_none_or(|headers| headers.get(rpc::ERROR_HEADER).is_none())
}

async fn moved(system: &System, user: &User, other: &User, seq: i64, newest: Option<i64>) {
    let moves = vec![ipad(user, other, seq, newest)];
    tell(system, "session.cursor", &Cursors { moves, ..Cursors::default() }).await;
}

async fn session(system: &System, user: &User) -> i64 {
    let query = "SELECT session FROM devices WHERE user_id = $1 AND device = 'ipad'";
    system.stores.number(query, &[&user.id]).await
}

#[tokio::test]
async fn what_holds_for_the_newest_session_alone_moves_nothing_once_there_is_a_newer_one() {
    let system = System::start(1, 1).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let token = system.token(&alice, "ipad").await;
    let _old = system.connect(&alice, "ipad", &token, 0).await;
    let old = session(&system, &alice).await;
    let mut new = system.connect(&alice, "ipad", &token, 0).await;
    let newer = session(&system, &alice).await;
    assert!(newer > old);

    let mut sender = system.online(&bob, "ipad", 0).await;
    for seq in 1..=3 {
        let (id, text) = (format!("b{seq}"), format!("text {seq}"));
        sender.say(&id, &alice, &text, seq).await;
        // To the new session alone, which does not acknowledge it.
        new.expect(&delivered(&id, &text, seq, &alice, &bob, "ipad")).await;
    }
    // The old one was answered to a frame of its own after the third, and takes it that it has had all before.
    moved(&system, &alice, &bob, 3, Some(old)).await;
    moved(&system, &alice, &bob, 1, Some(newer)).await;
    system.cursor_at(&alice, "ipad", &bob, 1).await;
    // What was acknowledged for certain counts, whoever says so.
    moved(&system, &alice, &bob, 2, None).await;
    system.cursor_at(&alice, "ipad", &bob, 2).await;
    system.finish().await;
}

/// A worker that dies between a device's cursor and the receipt for what it acknowledged: the edge tells it again, unless
/// it dies too. Then the message comes again, but only to a cursor that has not passed it.
#[tokio::test]
async fn a_cursor_moves_only_once_the_receipts_before_it_are_written() {
    let mut system = System::start(1, 1).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "ipad", 0).await;
    system.token(&bob, "ipad").await;
    a.send(&format!("[[m]]\nid = \"1\"\nc = \"hello\"\nack = \"delivered\"\nto = {}", bob.id)).await;
    a.expect(&stored("1", 1)).await;
    let conversation = Conversation::direct(UserId(alice.id), UserId(bob.id));
    let receipt = ReceiptKey { conversation, seq: Seq(1), by: UserId(bob.id), read: false };
    let call =
        Cursors { moves: vec![ipad(&bob, &alice, 1, None)], delivered: vec![receipt], ..Cursors::default() };
    let cursors = "SELECT coalesce(max(seq), 0)::bigint FROM cursors WHERE user_id = $1";

    system.stores.execute("ALTER TABLE receipts ADD CONSTRAINT broken CHECK (seq < 0)", &[]).await;
    assert!(!tell(&system, "session.cursor", &call).await);
    assert_eq!(system.stores.number(cursors, &[&bob.id]).await, 0, "its receipt would be lost");
    system.stores.execute("ALTER TABLE receipts DROP CONSTRAINT broken", &[]).await;

    // Written, and told before the cursor is tried: told again it would be nothing new.
    system.stores.execute("ALTER TABLE cursors ADD CONSTRAINT broken CHECK (seq < 0) NOT VALID", &[]).await;
    assert!(!tell(&system, "session.cursor", &call).await);
    a.expect(&format!("[[a]]\nid = \"1\"\nlvl = \"delivered\"\nseq = 1\n[a.from]\nid = {}", bob.id)).await;
    system.stores.execute("ALTER TABLE cursors DROP CONSTRAINT broken", &[]).await;
    assert!(tell(&system, "session.cursor", &call).await);
    assert_eq!(system.stores.number(cursors, &[&bob.id]).await, 1);
    system.allow("session.cursor");
    system.finish().await;
}

#[tokio::test]
async fn a_device_that_is_forgotten_is_owed_no_receipts() {
    let system = System::start(1, 1).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    system.token(&bob, "ipad").await;
    let mut a = system.online(&alice, "ipad", 0).await;
    for (seq, ack) in [(1, "delivered"), (2, "read"), (3, "delivered"), (4, "read")] {
        a.send(&format!("[[m]]\nid = \"{seq}\"\nc = \"hello\"\nack = \"{ack}\"\nto = {}", bob.id)).await;
        a.expect(&stored(&seq.to_string(), seq)).await;
    }
    drop(a);
    system.away(&alice).await;
    let (user, conv) = (UserId(bob.id), Conversation::direct(UserId(alice.id), UserId(bob.id)));
    let acknowledged = |seq| Cursors {
        reads: vec![rpc::Read { user, conv, seq: Seq(seq) }],
        delivered: vec![ReceiptKey { conversation: conv, seq: Seq(seq - 1), by: user, read: false }],
        ..Cursors::default()
    };
    assert!(tell(&system, "session.cursor", &acknowledged(2)).await);
    let owed = "SELECT count(*) FROM receipts WHERE user_id = $1";
    assert_eq!(system.stores.number(owed, &[&alice.id]).await, 2);
    for table in ["receipts", "devices"] {
        system.stores.execute(&format!("DELETE FROM {table} WHERE user_id = $1"), &[&alice.id]).await;
    }
    assert!(tell(&system, "session.cursor", &acknowledged(4)).await);
    assert_eq!(system.stores.number(owed, &[&alice.id]).await, 0, "nobody would ever fetch them");
    let read = "SELECT seq FROM reads WHERE user_id = $1";
    assert_eq!(system.stores.number(read, &[&bob.id]).await, 4, "it has read all the same");
    system.finish().await;
}

/// Behind the end of a session wait the cursors of all others.
#[tokio::test]
async fn a_session_ends_while_redis_is_away() {
    let worker = vec![("redis.timeout_ms", "250".into())];
    let options = Options { cuttable: true, worker, ..Options::default() };
    let system = System::start_with(1, 1, options).await;
    let [alice] = system.users(["alice"]).await;
    let _a = system.online(&alice, "ipad", 0).await;
    let session = SessionNo(session(&system, &alice).await);
    let one = Registration { user: UserId(alice.id), device: Device::new("ipad").unwrap(), session };
    let close = Close { node: NodeId::new("e1-1").unwrap(), sessions: vec![one] };
    for way in [Way::Broken, Way::Silent] {
        system.way(Store::Redis, way);
        assert!(tell(&system, "session.close", &close).await, "{way:?}");
        system.way(Store::Redis, Way::Open);
        system.directory_stands().await;
    }
    system.finish().await;
}
