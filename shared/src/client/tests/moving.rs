//! Nodes that are about to end.

use std::time::{Duration, Instant};

use super::{
    super::{Client, Event},
    Node, Peer,
};
use crate::{
    ids::UserId,
    message::{Target, WantedAck},
};

/// `[[n]] t = "move"` to that node.
async fn send_to(peer: &mut Peer, other: &Node, after: u64) {
    let port = other.listener.local_addr().unwrap().port();
    peer.write(&format!("[[n]]\nt = \"move\"\nserver = \"127.0.0.1\"\nport = {port}\nafter = {after}\n"))
        .await;
}

fn to() -> Target {
    Target::User(UserId(2))
}

#[tokio::test]
async fn a_node_that_drains_is_left_for_the_one_it_names_with_all_that_is_unanswered() {
    let (node, other) = (Node::new().await, Node::new().await);
    let (connected, mut peer) = tokio::join!(Client::connect(node.options()), node.login("login"));
    let (client, mut events) = connected.unwrap();
    let sent = client.begin(to(), "a", WantedAck::Stored).await.unwrap();
    peer.entry().await;
    send_to(&mut peer, &other, 20).await;
    let mut next = other.login("reconnect").await;
    let message = next.entry().await;
    next.stored(&message, 1).await;
    sent.await.unwrap();
    let mut told = Vec::new();
    while told.len() < 3 {
        told.push(events.next().await.unwrap());
    }
    assert_eq!(
        told[1..],
        [
            Event::Moved { server: Some(other.address()) },
            Event::Connected { server: other.address(), away: Duration::ZERO }
        ]
    );
    assert_eq!(peer.frame().await, None);
}

#[tokio::test]
async fn the_old_connection_serves_until_the_next_one_is_logged_in() {
    let (node, other) = (Node::new().await, Node::new().await);
    let (connected, mut peer) = tokio::join!(Client::connect(node.options()), node.login("login"));
    let (client, mut events) = connected.unwrap();
    send_to(&mut peer, &other, 0).await;
    let mut next = other.accept().await;
    let login = next.entry().await;
    // Not answered yet: both ways work on the old one.
    let sent = client.begin(to(), "a", WantedAck::Stored).await.unwrap();
    let message = peer.entry().await;
    peer.stored(&message, 1).await;
    assert_eq!(sent.await.unwrap().seq.0, 1);
    peer.deliver(2).await;
    assert_eq!(events.next_delivery().await.unwrap().seq.0, 2);
    let unanswered = client.begin(to(), "b", WantedAck::Stored).await.unwrap();
    let [acked, first] = [peer.entry().await, peer.entry().await];
    assert!(acked.contains_key("seq") && first.contains_key("c"), "{acked} {first}");
    // The old node hears of the login before the client does.
    peer.write("[[n]]\nt = \"replaced\"\n").await;
    drop(peer);
    next.write(&format!("[[rr]]\nid = {}\nt = \"reconnect\"\ns = 0\n", login["id"])).await;
    let again = next.entry().await;
    assert_eq!(again["id"], first["id"]);
    next.stored(&again, 3).await;
    assert_eq!(unanswered.await.unwrap().seq.0, 3);
    let connected = events.next().await.unwrap();
    assert!(
        matches!(&connected, Event::Connected { server, .. } if *server == other.address()),
        "{connected:?}"
    );
}

#[tokio::test]
async fn a_next_node_that_is_not_there_is_tried_again_while_the_old_one_serves() {
    let (node, other) = (Node::new().await, Node::new().await);
    let (connected, mut peer) = tokio::join!(Client::connect(node.options()), node.login("login"));
    let (client, _events) = connected.unwrap();
    send_to(&mut peer, &other, 0).await;
    drop(other.accept().await);
    drop(other.accept().await);
    let sent = client.begin(to(), "a", WantedAck::Stored).await.unwrap();
    let message = peer.entry().await;
    peer.stored(&message, 1).await;
    sent.await.unwrap();
    let _next = other.login("reconnect").await;
    assert_eq!(peer.frame().await, None);
}

#[tokio::test]
async fn with_nowhere_to_go_a_client_comes_back_when_told_to() {
    let node = Node::new().await;
    let (connected, mut peer) = tokio::join!(Client::connect(node.options()), node.login("login"));
    let (_client, mut events) = connected.unwrap();
    assert!(matches!(events.next().await, Some(Event::Connected { .. })));
    peer.write("[[n]]\nt = \"move\"\nafter = 300\n").await;
    assert_eq!(events.next().await, Some(Event::Moved { server: None }));
    let told = Instant::now();
    // It stays for as long as it is let.
    peer.deliver(1).await;
    assert_eq!(events.next_delivery().await.unwrap().seq.0, 1);
    drop(peer);
    assert!(matches!(events.next().await, Some(Event::Disconnected { .. })));
    let _again = node.login("reconnect").await;
    assert!(told.elapsed() >= Duration::from_millis(250), "{:?}", told.elapsed());
    match events.next().await {
        Some(Event::Connected { away, .. }) => assert!(away >= Duration::from_millis(200), "{away:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_login_at_a_node_that_drains_goes_on_to_the_one_it_names() {
    let (node, other) = (Node::new().await, Node::new().await);
    let sending_on = async {
        let mut peer = node.accept().await;
        let login = peer.entry().await;
        send_to(&mut peer, &other, 0).await;
        let id = &login["id"];
        peer.write(&format!("[[rr]]\nid = {id}\nt = \"login\"\ns = 1\nr = \"\"\ncode = \"unavailable\"\n"))
            .await;
        other.login("login").await
    };
    let (connected, _peer) = tokio::join!(Client::connect(node.options()), sending_on);
    let (_client, mut events) = connected.unwrap();
    let server = other.address();
    assert_eq!(events.next().await, Some(Event::Connected { server, away: Duration::ZERO }));
}
