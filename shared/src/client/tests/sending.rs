use std::time::Duration;

use super::*;
use crate::{
    client::{Client, Event, InFlight, Level, SendError, Stored},
    command::Code,
    ids::{GroupId, MessageId, Seq},
    message::{Ask, Target, WantedAck},
};

const TO: Target = Target::User(UserId(2));

async fn begin(client: &Client, texts: &[&str]) -> Vec<InFlight<Stored>> {
    let mut sent = Vec::new();
    for text in texts {
        sent.push(client.begin(TO, text, WantedAck::Stored).await.unwrap());
    }
    sent
}

#[tokio::test]
async fn answers_find_their_messages_in_any_order() {
    let node = Node::new().await;
    let (connected, mut peer) = tokio::join!(Client::connect(node.options()), node.login("login"));
    let (client, mut events) = connected.unwrap();
    let sent = begin(&client, &["a", "b \"quoted\"\n", "c"]).await;
    let mut entries = Vec::new();
    for text in ["a", "b \"quoted\"\n", "c"] {
        entries.push(peer.entry().await);
        assert_eq!(entries.last().unwrap()["c"].as_str(), Some(text));
    }
    peer.stored(&entries[2], 3).await;
    peer.stored(&entries[0], 1).await;
    peer.write(&format!(
        "[[rr]]\nid = {}\nt = \"\"\ns = 1\nr = \"no\"\ncode = \"blocked\"\n",
        entries[1]["id"]
    ))
    .await;
    let mut answers = Vec::new();
    for one in sent {
        answers.push(one.await);
    }
    assert_eq!(answers[0], Ok(Stored { seq: Seq(1), ts: 5 }));
    assert_eq!(answers[1].as_ref().unwrap_err().code(), Some(Code::Blocked));
    assert_eq!(answers[2], Ok(Stored { seq: Seq(3), ts: 5 }));
    assert!(matches!(events.next().await, Some(Event::Connected { .. })));
    assert_eq!(events.try_next(), None);
}

#[tokio::test]
async fn what_has_no_answer_is_sent_again_in_order_after_a_reconnect() {
    let node = Node::new().await;
    let (connected, mut peer) = tokio::join!(Client::connect(node.options()), node.login("login"));
    let (client, _events) = connected.unwrap();
    let sent = begin(&client, &["a", "b", "c", "d"]).await;
    let first: [String; 4] = peer.next("id").await;
    peer.write(&format!("[[a]]\nid = {}\nlvl = \"stored\"\nts = 5\nseq = 2\n", first[1])).await;
    drop(peer);
    let mut peer = node.login("reconnect").await;
    let mut entries = vec![peer.entry().await, peer.entry().await, peer.entry().await];
    // The answer may have been read before the connection broke, or not: then b comes again as well.
    if entries[1]["c"].as_str() == Some("b") {
        entries.push(peer.entry().await);
    } else {
        entries.insert(1, "id = \"gone\"\nc = \"b\"".parse().unwrap());
    }
    let texts: Vec<_> = entries.iter().map(|entry| entry["c"].as_str().unwrap()).collect();
    assert_eq!(texts, ["a", "b", "c", "d"]);
    assert_eq!(entries[0]["id"].to_string(), first[0], "the same ids, so that nothing is stored twice");
    for (entry, seq) in entries.iter().zip(1..) {
        peer.stored(entry, seq).await;
    }
    for (one, seq) in sent.into_iter().zip(1..) {
        assert_eq!(one.await.unwrap().seq, Seq(seq));
    }
}

#[tokio::test]
async fn what_has_no_answer_in_time_is_sent_again_on_the_same_connection() {
    let node = Node::new().await;
    let options = Options { resend_after: Duration::from_millis(50), ..node.options() };
    let (connected, mut peer) = tokio::join!(Client::connect(options), node.login("login"));
    let (client, _events) = connected.unwrap();
    let sent = begin(&client, &["a", "b"]).await;
    let texts: [String; 6] = peer.next("c").await;
    assert_eq!(texts, ["\"a\"", "\"b\"", "\"a\"", "\"b\"", "\"a\"", "\"b\""]);
    assert!(client.written() >= 6, "each is counted as often as it is written: {}", client.written());
    let a = peer.entry().await;
    // Both answers of a; the second is nothing to anyone.
    peer.stored(&a, 1).await;
    peer.stored(&a, 1).await;
    let b = loop {
        let entry = peer.entry().await;
        if entry["c"].as_str() == Some("b") {
            break entry;
        }
    };
    peer.stored(&b, 2).await;
    for (one, seq) in sent.into_iter().zip(1..) {
        assert_eq!(one.await.unwrap().seq, Seq(seq));
    }
}

#[tokio::test]
async fn the_window_bounds_what_is_on_its_way() {
    let node = Node::new().await;
    let options = Options { window: 2, ..node.options() };
    let (connected, mut peer) = tokio::join!(Client::connect(options), node.login("login"));
    let (client, _events) = connected.unwrap();
    let first = client.send_nowait(TO, "a", WantedAck::Stored).unwrap();
    let _second = client.send_nowait(TO, "b", WantedAck::Stored).unwrap();
    assert_eq!(client.send_nowait(TO, "c", WantedAck::Stored).unwrap_err(), SendError::Full);
    let a = peer.entry().await;
    peer.stored(&a, 1).await;
    first.await.unwrap();
    let _third = client.begin(TO, "c", WantedAck::Stored).await.unwrap();
    let texts: [String; 2] = peer.next("c").await;
    assert_eq!(texts, ["\"b\"", "\"c\""]);
}

#[tokio::test]
async fn requests_have_their_answers_and_receipts_are_events() {
    let node = Node::new().await;
    let (connected, mut peer) = tokio::join!(Client::connect(node.options()), node.login("login"));
    let (client, mut events) = connected.unwrap();
    let made = tokio::spawn({
        let client = client.clone();
        async move { client.request(Ask::CreateGroup { name: "friends".into(), members: vec![UserId(2)] }).await }
    });
    let request = peer.entry().await;
    assert_eq!(request["t"].as_str(), Some("create_group"));
    assert_eq!(request["members"].to_string(), "[2]");
    peer.write(&format!(
        "[[rr]]\nid = {}\nt = \"create_group\"\ns = 0\nseq = 1\ngroup_id = 9\n",
        request["id"]
    ))
    .await;
    assert_eq!(made.await.unwrap().unwrap().group_id, Some(GroupId(9)));

    let id = MessageId::new("mine").unwrap();
    let sent = client.begin_with(id.clone(), Target::Group(GroupId(9)), "hi", WantedAck::Read).await.unwrap();
    let message = peer.entry().await;
    assert_eq!(
        (message["id"].as_str(), message["group"].as_integer(), message["ack"].as_str()),
        (Some("mine"), Some(9), Some("read"))
    );
    peer.stored(&message, 2).await;
    peer.write("[[a]]\nid = \"mine\"\nlvl = \"read\"\nseq = 2\ngroup = 9\n[a.from]\nid = 2\n").await;
    sent.await.unwrap();
    let receipt = loop {
        if let Event::Receipt(receipt) = events.next().await.unwrap() {
            break receipt;
        }
    };
    assert_eq!(
        (receipt.id, receipt.level, receipt.by, receipt.group),
        (id, Level::Read, Some(UserId(2)), Some(GroupId(9)))
    );
}

#[tokio::test]
async fn closing_writes_what_was_handed_over_and_fails_what_has_no_answer() {
    let node = Node::new().await;
    let (connected, mut peer) = tokio::join!(Client::connect(node.options()), node.login("login"));
    let (client, mut events) = connected.unwrap();
    let sent = begin(&client, &["a", "b"]).await;
    client.close().await;
    let texts: [String; 2] = peer.next("c").await;
    assert_eq!(texts, ["\"a\"", "\"b\""]);
    assert_eq!(peer.frame().await, None);
    for one in sent {
        assert_eq!(one.await, Err(SendError::Closed));
    }
    assert_eq!(client.send(TO, "c", WantedAck::Stored).await, Err(SendError::Closed));
    while let Some(event) = events.next().await {
        assert!(matches!(event, Event::Connected { .. }), "{event:?}");
    }
}

#[tokio::test]
async fn the_last_handle_takes_the_connection_with_it() {
    let node = Node::new().await;
    let (connected, mut peer) = tokio::join!(Client::connect(node.options()), node.login("login"));
    let (client, _events) = connected.unwrap();
    drop(client);
    assert_eq!(peer.frame().await, None);
}

#[tokio::test]
async fn what_no_server_would_take_is_refused_here() {
    let node = Node::new().await;
    let (connected, mut peer) = tokio::join!(Client::connect(node.options()), node.login("login"));
    let (client, _events) = connected.unwrap();
    let long = "x".repeat(65_536);
    let refused = client.send(TO, &long, WantedAck::Stored).await;
    assert_eq!(refused.map_err(|error| error.code()), Err(Some(Code::TooLong)));
    let refused = client.request(Ask::AddContact { to: UserId(2), message: long }).await;
    assert_eq!(refused.map_err(|error| error.code()), Err(Some(Code::TooLong)));
    let _next = begin(&client, &["short"]).await;
    assert_eq!(peer.entry().await["c"].as_str(), Some("short"), "nothing of them was written");
}
