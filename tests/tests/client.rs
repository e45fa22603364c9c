//! The client library against the real system: what it says is stored is stored, and shown once and in order, while
//! nodes and workers come and go.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use shared::{
    client::{Client, Events, Options, SendError, http::Api},
    command::Code,
    ids::{Device, GroupId, UserId},
    message::{Ask, Target, WantedAck},
};
use tests::{harness::System, people::User};

/// A session of the library that begins on one edge and asks another's API when that fails.
async fn client(system: &System, user: &User, device: &str, begin: usize, api: usize) -> (Client, Events) {
    let token = system.token(user, device).await;
    let mut options = Options::new(UserId(user.id), Device::new(device).unwrap(), token);
    options.http = Some(Api::new(system.http(api)));
    options.server = Some(system.tcp(begin).to_owned());
    Client::connect(options).await.unwrap()
}

#[tokio::test]
async fn a_session_outlives_its_node_and_its_workers() {
    let mut system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let (a, _a_events) = client(&system, &alice, "phone", 0, 1).await;
    let (b, mut b_events) = client(&system, &bob, "phone", 0, 1).await;

    let sender = tokio::spawn(async move {
        let mut on_the_way = Vec::new();
        for n in 1..=600 {
            on_the_way.push(
                a.begin(Target::User(b.user()), &format!("number {n}"), WantedAck::Stored).await.unwrap(),
            );
            // Slow enough to go on while the processes below come and go.
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let mut seqs = Vec::new();
        for answer in on_the_way {
            seqs.push(answer.await.unwrap().seq.0);
        }
        (a, b, seqs)
    });
    let receiver = tokio::spawn(async move {
        let mut texts = Vec::new();
        while texts.len() < 600 {
            let delivery = b_events.next_delivery().await.expect("the session lives on");
            texts.push((delivery.seq.0, delivery.text().unwrap().to_owned()));
        }
        (texts, b_events)
    });
    system.kill_worker(0).await;
    system.start_worker(0).await;
    system.kill_edge(0).await;
    system.restart_worker(1).await;
    system.start_edge(0).await;

    let (a, b, seqs) = sender.await.unwrap();
    assert_eq!(seqs, (1..=600).collect::<Vec<i64>>(), "each is stored once, in the order it was sent in");
    let (texts, _b_events) = receiver.await.unwrap();
    let expected: Vec<(i64, String)> = (1..=600).map(|n| (n, format!("number {n}"))).collect();
    assert_eq!(texts, expected, "each is shown once, in order");
    a.close().await;
    b.close().await;
    system.finish().await;
}

#[tokio::test]
async fn requests_refusals_and_the_http_calls_of_the_library() {
    let system = System::start(2, 2).await;
    let api = Api::new(system.http(1));
    api.register("13900000001", "alice", "888888").await.unwrap();
    api.register("13900000002", "bob", "888888").await.unwrap();
    assert!(api.register("13900000002", "bob", "888888").await.is_err());
    let (of_alice, of_bob) = (
        api.login("13900000001", "888888", Some("phone")).await.unwrap(),
        api.login("13900000002", "888888", Some("phone")).await.unwrap(),
    );
    let device = || Device::new("phone").unwrap();
    let (a, mut a_events) = Client::connect(Options::of_login(&api, &of_alice, device())).await.unwrap();
    let (b, mut b_events) = Client::connect(Options::of_login(&api, &of_bob, device())).await.unwrap();

    let asked = a.request(Ask::AddContact { to: b.user(), message: "hi".into() }).await.unwrap();
    assert_eq!(asked.seq.map(|seq| seq.0), Some(1));
    let again = a.request(Ask::AddContact { to: b.user(), message: "hi again".into() }).await;
    assert_eq!(again.map_err(|error| error.code()), Err(Some(Code::Waiting)));
    assert_eq!(b_events.next_delivery().await.unwrap().from, a.user());
    let accepted = b.request(Ask::AcceptContact { to: a.user() }).await.unwrap();
    a_events.next_delivery().await.unwrap();
    let contacts = api.contacts(of_bob.token.expose(), 0).await.unwrap();
    assert_eq!(Some(contacts.version), accepted.contact_version);
    assert_eq!(contacts.users.iter().map(|user| user.id).collect::<Vec<_>>(), [a.user()]);

    let nowhere = a.send(Target::Group(GroupId(99_999_999)), "anyone?", WantedAck::Stored).await;
    assert_eq!(nowhere.map_err(|error| error.code()), Err(Some(Code::NotFound)));
    let made = a.request(Ask::CreateGroup { name: "two".into(), members: vec![b.user()] }).await.unwrap();
    let group = made.group_id.unwrap();
    b_events.next_delivery().await.unwrap();
    b.send(Target::Group(group), "hello", WantedAck::Stored).await.unwrap();
    assert_eq!(a_events.next_delivery().await.unwrap().text(), Some("hello"));

    // The other login on this device ends the session for good.
    let newer = api.login("13900000001", "888888", Some("phone")).await.unwrap();
    let (newest, _events) = Client::connect(Options::of_login(&api, &newer, device())).await.unwrap();
    a.closed().await;
    let ended = a.send(Target::User(b.user()), "too late", WantedAck::Stored).await;
    assert_eq!(ended, Err(SendError::Closed));
    newest.close().await;
    b.close().await;
    system.finish().await;
}
