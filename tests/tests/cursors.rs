//! A device's cursor and the sessions that may move it.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use shared::{
    ids::{Conversation, Device, Seq, SessionNo, UserId},
    rpc::{self, Cursors, Move},
};
use tests::{
    harness::System,
    people::{User, delivered},
};

/// What an edge tells a worker.
async fn moved(system: &System, user: &User, other: &User, seq: i64, newest: Option<i64>) {
    let one = Move {
        user: UserId(user.id),
        device: Device::new("ipad").unwrap(),
        conv: Conversation::direct(UserId(user.id), UserId(other.id)),
        seq: Seq(seq),
        newest: newest.map(SessionNo),
    };
    let call = rpc::to_vec(&Cursors { moves: vec![one], ..Cursors::default() });
    let subject = system.stores.subjects().rpc("session.cursor");
    system.stores.nats.request(subject, call.into()).await.unwrap();
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
