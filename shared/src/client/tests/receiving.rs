use super::*;
use crate::{
    client::{Client, Events},
    ids::{Conversation, Seq},
};

async fn seqs<const N: usize>(events: &mut Events) -> [i64; N] {
    let mut seqs = [0; N];
    for seq in &mut seqs {
        let delivery = timeout(PATIENCE, events.next_delivery()).await.expect("no delivery").unwrap();
        assert_eq!(delivery.text(), Some(format!("text {}", delivery.seq).as_str()));
        *seq = delivery.seq.0;
    }
    seqs
}

#[tokio::test]
async fn each_number_is_shown_once_and_acknowledged_each_time() {
    let node = Node::new().await;
    let (connected, mut peer) = tokio::join!(Client::connect(node.options()), node.login("login"));
    let (_client, mut events) = connected.unwrap();
    for seq in [1, 2, 2, 1, 3] {
        peer.deliver(seq).await;
    }
    assert_eq!(seqs(&mut events).await, [1, 2, 3]);
    for seq in [1, 2, 2, 1, 3] {
        let ack = peer.entry().await;
        assert_eq!(ack["seq"].as_integer(), Some(seq));
        assert_eq!(ack["from"].as_table().unwrap()["id"].as_integer(), Some(2));
    }
    drop(peer);
    let mut peer = node.login("reconnect").await;
    for seq in [2, 3, 4] {
        peer.deliver(seq).await;
    }
    assert_eq!(seqs(&mut events).await, [4]);
    let acks: [String; 3] = peer.next("seq").await;
    assert_eq!(acks, ["2", "3", "4"]);
}

#[tokio::test]
async fn what_nobody_took_is_not_acknowledged() {
    let node = Node::new().await;
    let options = Options { events: 2, ..node.options() };
    let (connected, mut peer) = tokio::join!(Client::connect(options), node.login("login"));
    let (client, mut events) = connected.unwrap();
    // One place is taken by Connected.
    for seq in 1..=3 {
        peer.deliver(seq).await;
    }
    let acked: [String; 1] = peer.next("seq").await;
    assert_eq!(acked, ["1"]);
    // The others are not lost, and sending goes on meanwhile.
    client.read(Conversation::direct(UserId(1), UserId(2)), Seq(1)).await.unwrap();
    let read = peer.entry().await;
    assert_eq!((read["lvl"].as_str(), read["seq"].as_integer()), (Some("read"), Some(1)));
    assert_eq!(seqs(&mut events).await, [1, 2, 3]);
    let acked: [String; 2] = peer.next("seq").await;
    assert_eq!(acked, ["2", "3"]);
}

#[tokio::test]
async fn what_was_not_taken_before_a_reconnect_is_taken_when_it_comes_again() {
    let node = Node::new().await;
    let options = Options { events: 2, ..node.options() };
    let (connected, mut peer) = tokio::join!(Client::connect(options), node.login("login"));
    let (_client, mut events) = connected.unwrap();
    for seq in 1..=3 {
        peer.deliver(seq).await;
    }
    let acked: [String; 1] = peer.next("seq").await;
    assert_eq!(acked, ["1"]);
    drop(peer);
    let mut peer = node.login("reconnect").await;
    for seq in 2..=3 {
        peer.deliver(seq).await;
    }
    assert_eq!(seqs(&mut events).await, [1, 2, 3]);
    let acked: [String; 2] = peer.next("seq").await;
    assert_eq!(acked, ["2", "3"]);
}

#[tokio::test]
async fn an_application_that_acknowledges_itself_is_asked_until_it_does() {
    let node = Node::new().await;
    let options = Options { auto_ack: false, ..node.options() };
    let (connected, mut peer) = tokio::join!(Client::connect(options), node.login("login"));
    let (client, mut events) = connected.unwrap();
    peer.deliver(1).await;
    peer.deliver(2).await;
    let first = events.next_delivery().await.unwrap();
    let second = events.next_delivery().await.unwrap();
    client.ack(&first).await.unwrap();
    let acked: [String; 1] = peer.next("seq").await;
    assert_eq!(acked, ["1"]);
    // The acknowledgement was lost: it is said again. The second one is still the application's to acknowledge.
    peer.deliver(1).await;
    peer.deliver(2).await;
    let acked: [String; 1] = peer.next("seq").await;
    assert_eq!(acked, ["1"]);
    client.ack(&second).await.unwrap();
    let acked: [String; 1] = peer.next("seq").await;
    assert_eq!(acked, ["2"]);
}

#[tokio::test]
async fn a_copy_of_ones_own_message_is_acknowledged_with_its_recipient() {
    let node = Node::new().await;
    let (connected, mut peer) = tokio::join!(Client::connect(node.options()), node.login("login"));
    let (_client, mut events) = connected.unwrap();
    peer.write("[[m]]\nid = \"x\"\nc = \"\"\nts = 5\nseq = 7\n[m.to]\nid = 3\n[m.from]\nid = 1\ndevice = \"other\"\n").await;
    let delivery = events.next_delivery().await.unwrap();
    assert_eq!(delivery.conversation, Conversation::direct(UserId(1), UserId(3)));
    let ack = peer.entry().await;
    let id = |key: &str| ack[key].as_table().unwrap()["id"].as_integer();
    assert_eq!((id("from"), id("to")), (Some(1), Some(3)));
}
