use shared::{config::Millis, ids::Seq};

use crate::{
    node::peers::Peer,
    testing::{Client, Node, login, push},
};

fn peer(server: &str) -> Peer {
    Peer { server: server.to_owned(), port: 1987, sessions: 0 }
}

/// What stands behind a key.
fn value<'a>(frame: &'a str, key: &str) -> Option<&'a str> {
    frame.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))
}

fn after(frame: &str) -> u64 {
    value(frame, "after").unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_was_taken_is_published_and_what_was_acknowledged_is_told_before_the_socket_closes() {
    let node = Node::start(|_| ()).await;
    node.world.send_modify(|world| world.owed = vec![push(1, 2, 1)]);
    let mut client = Client::logged_in(&node, 1, "pad").await;
    assert!(client.frame().await.unwrap().contains("seq = 1"));
    client.write("[[a]]\nid = \"p1\"\n\n[[m]]\nid = \"m1\"\nc = \"x\"\nto = 2\n\n").await;
    node.until(|world| world.accepted.len() == 1).await;
    let world = node.world.clone();
    let draining = tokio::spawn(node.drain(Vec::new()));
    let moved = client.frame().await.unwrap();
    assert_eq!((value(&moved, "t"), value(&moved, "server")), (Some("\"move\""), None), "{moved}");
    assert_eq!(client.frame().await, None);
    {
        let world = world.borrow();
        assert!(world.cursors.iter().any(|one| one.moves.iter().any(|one| one.seq == Seq(1))));
        assert_eq!(world.closed.len(), 1);
    }
    assert_eq!(draining.await.unwrap().stragglers, Vec::<String>::new());
}

#[tokio::test]
async fn sessions_go_to_all_others_each_at_its_own_time_and_who_stays_is_named() {
    let mut node = Node::start(|_| ()).await;
    node.plan.pace = 10;
    let mut clients = Vec::new();
    for user in 1..=4 {
        clients.push(Client::logged_in(&node, user, "pad").await);
    }
    let draining = tokio::spawn(node.drain(vec![peer("10.0.0.2"), peer("10.0.0.3")]));
    let (mut servers, mut times) = (Vec::new(), Vec::new());
    for client in &mut clients {
        let moved = client.frame().await.unwrap();
        servers.push(value(&moved, "server").unwrap().to_owned());
        times.push(after(&moved));
        assert_eq!(value(&moved, "port"), Some("1987"));
    }
    servers.sort();
    times.sort_unstable();
    assert_eq!(servers, ["\"10.0.0.2\"", "\"10.0.0.2\"", "\"10.0.0.3\"", "\"10.0.0.3\""]);
    assert!(times.windows(2).all(|two| two[1] >= two[0] + 50) && times[3] <= 300, "{times:?}");
    // The third stays.
    let mut stays = clients.remove(2);
    drop(clients);
    assert_eq!(stays.frame().await, None);
    let stragglers = draining.await.unwrap().stragglers;
    assert_eq!(stragglers.len(), 1, "{stragglers:?}");
    assert!(stragglers[0].starts_with("1 sessions") && stragglers[0].contains("user 3"), "{stragglers:?}");
}

#[tokio::test]
async fn who_comes_while_the_node_drains_is_told_where_to_go() {
    let mut node = Node::start(|_| ()).await;
    node.plan.notice_ms = Millis(2_000);
    let (context, mut stays) = (node.context.clone(), Client::logged_in(&node, 1, "pad").await);
    let mut early = Client::connect(&node).await;
    let address = node.address;
    let draining = tokio::spawn(node.drain(vec![peer("10.0.0.2")]));
    context.drain.begun().await;
    while !context.is_draining() {
        tokio::task::yield_now().await;
    }
    let mut late = Client::at(address).await;
    for client in [&mut early, &mut late] {
        client.write(&login(2, "pad", "good")).await;
        let moved = client.frame().await.unwrap();
        assert_eq!((value(&moved, "server"), after(&moved)), (Some("\"10.0.0.2\""), 0));
        let refused = client.frame().await.unwrap();
        assert_eq!(value(&refused, "code"), Some("\"unavailable\""), "{refused}");
        assert_eq!(client.frame().await, None);
    }
    // Balancers have not noticed yet: who is there is served on.
    stays.write("[[m]]\nid = \"m1\"\nc = \"x\"\nto = 2\n\n").await;
    assert!(value(&stays.frame().await.unwrap(), "server").is_some());
    drop(stays);
    assert_eq!(draining.await.unwrap().stragglers, Vec::<String>::new());
}

#[tokio::test]
async fn what_does_not_end_in_time_is_named_and_cut_off() {
    let mut node = Node::start(|_| ()).await;
    (node.plan.grace_ms, node.plan.deadline_seconds) = (Millis(60_000), shared::config::Seconds(1));
    let _stays = Client::logged_in(&node, 7, "pad").await;
    // No worker takes what the session has to tell, either.
    node.world.send_modify(|world| world.workers_away = true);
    let begun = std::time::Instant::now();
    let stragglers = node.drain(vec![peer("10.0.0.2")]).await.stragglers;
    for named in ["user 7", "no worker took"] {
        assert!(stragglers.iter().any(|line| line.contains(named)), "{stragglers:?}");
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
}
