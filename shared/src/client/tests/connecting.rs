use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, routing::post};

use super::*;
use crate::{
    client::{Client, ConnectError, Event, SendError, http::Api},
    command::Code,
    message::{Target, WantedAck},
};

async fn refuse(peer: &mut Peer, code: &str) {
    let login = peer.entry().await;
    peer.write(&format!(
        "[[rr]]\nid = {}\nt = \"login\"\ns = 1\nr = \"no\"\ncode = \"{code}\"\n",
        login["id"]
    ))
    .await;
}

#[tokio::test]
async fn a_refused_login_is_an_error_and_one_that_cannot_be_decided_is_tried_again() {
    let node = Node::new().await;
    let (connected, ()) = tokio::join!(Client::connect(node.options()), async {
        refuse(&mut node.accept().await, "unavailable").await;
        refuse(&mut node.accept().await, "token").await;
    });
    let Err(ConnectError::Refused(refused)) = connected else { panic!("{connected:?}") };
    assert_eq!(refused.code, Some(Code::Token));
}

#[tokio::test]
async fn nowhere_and_nobody_there_are_errors() {
    let node = Node::new().await;
    let error = Client::connect(Options { server: None, ..node.options() }).await.unwrap_err();
    assert_eq!(error, ConnectError::Nowhere);
    let options = Options { first_login: Duration::from_millis(50), ..node.options() };
    let address = node.address();
    drop(node);
    let error = Client::connect(options).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Unreachable { .. }) && error.to_string().contains(&address),
        "{error}"
    );
}

#[tokio::test]
async fn what_comes_before_the_answer_to_the_login_is_not_lost() {
    let node = Node::new().await;
    let (connected, _peer) = tokio::join!(Client::connect(node.options()), async {
        let mut peer = node.accept().await;
        let login = peer.entry().await;
        peer.deliver(1).await;
        peer.write(&format!("[[rr]]\nid = {}\nt = \"login\"\ns = 0\n", login["id"])).await;
        peer.deliver(2).await;
        peer
    });
    let (_client, mut events) = connected.unwrap();
    for seq in 1..=2 {
        assert_eq!(events.next_delivery().await.unwrap().seq.0, seq);
    }
}

#[tokio::test]
async fn a_silent_peer_is_left() {
    let node = Node::new().await;
    let options = Options {
        heartbeat: Duration::from_millis(30),
        heartbeat_answer: Duration::from_millis(60),
        ..node.options()
    };
    let (connected, mut peer) = tokio::join!(Client::connect(options), node.login("login"));
    let (_client, mut events) = connected.unwrap();
    for _ in 0..3 {
        assert_eq!(peer.frame().await.as_deref(), Some(""));
        peer.stream.write_all(b"#0\n").await.unwrap();
    }
    // Now it says nothing more.
    let _again = node.login("reconnect").await;
    let mut told = Vec::new();
    while told.len() < 3 {
        told.push(events.next().await.unwrap());
    }
    assert!(matches!(&told[1], Event::Disconnected { reason } if reason.contains("heartbeat")), "{told:?}");
    assert!(matches!(told[2], Event::Connected { .. }), "{told:?}");
}

#[tokio::test]
async fn a_replaced_device_stays_away() {
    let node = Node::new().await;
    let (connected, mut peer) = tokio::join!(Client::connect(node.options()), node.login("login"));
    let (client, mut events) = connected.unwrap();
    let sent = client.begin(Target::User(UserId(2)), "a", WantedAck::Stored).await.unwrap();
    peer.entry().await;
    peer.write("[[n]]\nt = \"replaced\"\n").await;
    assert_eq!(sent.await, Err(SendError::Closed));
    assert!(matches!(events.next().await, Some(Event::Connected { .. })));
    assert_eq!(events.next().await, Some(Event::Replaced));
    assert_eq!(events.next().await, None);
    client.closed().await;
}

#[tokio::test]
async fn a_revoked_token_ends_the_client_at_its_next_login() {
    let node = Node::new().await;
    let (connected, peer) = tokio::join!(Client::connect(node.options()), node.login("login"));
    let (client, mut events) = connected.unwrap();
    drop(peer);
    refuse(&mut node.accept().await, "token").await;
    client.closed().await;
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(Event::LoginRefused(refused)) if refused.code == Some(Code::Token)));
}

#[tokio::test]
async fn a_node_that_is_gone_is_reported_and_another_one_asked_for() {
    let (node, other) = (Node::new().await, Node::new().await);
    let reports = Arc::new(AtomicUsize::new(0));
    let port = other.listener.local_addr().unwrap().port();
    let failed = post({
        let reports = reports.clone();
        async move || match reports.fetch_add(1, Ordering::Relaxed) {
            0 => "[[response]]\nstatus = 3\nr = \"IM is online\"\n".to_owned(),
            _ => format!("[[response]]\nstatus = 0\nserver = \"127.0.0.1\"\nport = {port}\n"),
        }
    });
    // While the node still counts as alive there is no other.
    let reconnect =
        post(async || (axum::http::StatusCode::SERVICE_UNAVAILABLE, "[[response]]\nstatus = 1\n"));
    let routes = Router::new().route("/server/failed", failed).route("/server/reconnect", reconnect);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = Api::new(format!("http://{}", listener.local_addr().unwrap()));
    tokio::spawn(async move { axum::serve(listener, routes).await });

    let options = Options { http: Some(api), ..node.options() };
    let (connected, peer) = tokio::join!(Client::connect(options), node.login("login"));
    let (_client, mut events) = connected.unwrap();
    drop((peer, node));
    let mut next = other.login("reconnect").await;
    next.deliver(1).await;
    assert_eq!(events.next_delivery().await.unwrap().seq.0, 1);
    assert_eq!(reports.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn dropping_the_future_of_a_connect_ends_its_attempts() {
    let node = Node::new().await;
    {
        let connecting = Client::connect(node.options());
        tokio::pin!(connecting);
        tokio::select! {
            _ = &mut connecting => panic!("nobody answered the login"),
            mut peer = node.accept() => drop(peer.entry().await),
        }
    }
    // A second attempt would come within the back-off of 20 ms; none does, and the address is free to be refused.
    let again = timeout(Duration::from_millis(200), node.listener.accept()).await;
    assert!(again.is_err(), "{again:?}");
}
