//! Real sockets against a node whose workers and stream are fakes.

use shared::{
    delivery::{Delivery, Push},
    ids::{Seq, SessionNo, UserId},
    message::Body,
};
use tokio::io::AsyncWriteExt;

use crate::{
    deliver::crowds::CROWD,
    testing::{Client, Node, login, push},
};

/// The answer to some frame of the first session.
fn answer() -> Delivery {
    let body = "[[a]]\nid = \"x\"\n".into();
    Delivery::Answer { user: UserId(1), session: SessionNo(1), place: None, body }
}

fn message(number: usize, to: i64) -> String {
    format!("[[m]]\nid = \"m{number}\"\nc = \"text {number}\"\nto = {to}\n\n")
}

#[tokio::test]
async fn before_the_login_nothing_else_is_taken_and_the_connection_stays() {
    let node = Node::start(|_| ()).await;
    let mut client = Client::connect(&node).await;
    client.write(&message(1, 2)).await;
    let refused = client.frame().await.unwrap();
    assert!(refused.contains("not_logged_in") && refused.contains("\"m1\""), "{refused}");
    client.write("\n").await;
    client.write(&login(1, "pad", "bad")).await;
    // A heartbeat in text is an empty line, which this client reads as part of the next frame.
    let refused = client.frame().await.unwrap();
    assert!(refused.contains("code = \"token\"") && refused.contains("\"login\""), "{refused}");
    client.write(&login(1, "pad", "good")).await;
    assert!(client.frame().await.unwrap().contains("s = 0"));
    client.write(&login(1, "pad", "good")).await;
    assert!(client.frame().await.unwrap().contains("already_logged_in"));
}

#[tokio::test]
async fn a_login_and_messages_in_one_segment_are_taken_in_order() {
    let node = Node::start(|_| ()).await;
    let mut client = Client::connect(&node).await;
    let all: String = (0..100).map(|number| message(number, 2)).collect();
    client.write(&(login(1, "pad", "good") + &all)).await;
    node.until(|world| world.accepted.len() == 100).await;
    let world = node.world.borrow();
    for (number, frame) in world.accepted.iter().enumerate() {
        assert_eq!(frame.id().as_str(), format!("m{number}"));
        assert_eq!(
            (frame.from.user, frame.from.device.as_str(), frame.from.session),
            (UserId(1), "pad", SessionNo(1))
        );
    }
}

/// This node stood still, or the workers took long: the client has logged in elsewhere by now, and its old login, the
/// later one for the workers, would throw that session out.
#[tokio::test]
async fn the_login_of_a_client_that_has_left_is_not_carried_out() {
    let node = Node::start(|_| ()).await;
    let mut gone = Client::connect(&node).await;
    // On one thread, and nothing here waits: the node finds the login and the end together.
    gone.write(&login(1, "pad", "good")).await;
    drop(gone);
    let mut client = Client::logged_in(&node, 1, "pad").await;
    client.write(&message(1, 2)).await;
    node.until(|world| world.accepted.len() == 1).await;
    assert_eq!(node.world.borrow().accepted[0].from.session, SessionNo(1), "the first that was carried out");
    // The same while a call is tried again and again, of which it is one of several.
    node.world.send_modify(|world| world.workers_away = true);
    let mut gone = Client::connect(&node).await;
    gone.write(&login(1, "pad", "good")).await;
    node.until(|world| world.unheard > 0).await;
    drop(gone);
    // Between two of them the node sees that the client has left.
    let heard = node.world.borrow().unheard;
    node.until(|world| world.unheard > heard + 1).await;
    node.world.send_modify(|world| world.workers_away = false);
    // Sent ahead of the answer is something else than leaving.
    let mut eager = Client::connect(&node).await;
    eager.write(&login(2, "pad", "good")).await;
    eager.write(&message(2, 1)).await;
    node.until(|world| world.accepted.len() == 2).await;
    assert_eq!(node.world.borrow().logins, 2);
}

#[tokio::test]
async fn a_frame_may_be_cut_anywhere() {
    let node = Node::start(|_| ()).await;
    let mut client = Client::logged_in(&node, 1, "pad").await;
    let frame = message(7, 2);
    for at in 1..frame.len() {
        client.write(&frame[..at]).await;
        // The first part is read by itself before the rest comes.
        tokio::task::yield_now().await;
        client.write(&frame[at..]).await;
    }
    let count = frame.len() - 1;
    node.until(|world| world.accepted.len() == count).await;
    assert!(
        node.world
            .borrow()
            .accepted
            .iter()
            .all(|one| matches!(&one.what, Body::Message(m) if m.content == "text 7"))
    );
}

#[tokio::test]
async fn deliveries_are_written_and_their_acknowledgement_moves_the_cursor() {
    let node = Node::start(|_| ()).await;
    node.world.send_modify(|world| world.owed = vec![push(1, 2, 1), push(1, 2, 2)]);
    let mut client = Client::logged_in(&node, 1, "pad").await;
    for seq in 1..=2 {
        assert!(client.frame().await.unwrap().contains(&format!("seq = {seq}")));
    }
    assert_eq!(node.world.borrow().reads.len(), 1, "one read says that there is no more");
    node.send(&[Delivery::Push(push(1, 2, 2)), Delivery::Push(push(1, 2, 3))]);
    assert!(client.frame().await.unwrap().contains("seq = 3"));
    client.write("[[a]]\nseq = 1\n[a.from]\nid = 2\n\n[[a]]\nid = \"p2\"\n\n").await;
    let moved = |seq: i64| {
        move |world: &crate::testing::World| {
            world
                .cursors
                .iter()
                .flat_map(|one| &one.moves)
                .any(|one| one.seq == Seq(seq) && one.user == UserId(1))
        }
    };
    node.until(moved(2)).await;
    drop(client);
    node.until(|world| world.closed.iter().any(|one| one.sessions[0].session == SessionNo(1))).await;
    assert!(node.context.registry.is_empty());
}

#[tokio::test]
async fn junk_is_answered_and_ends_only_its_own_connection() {
    let node = Node::start(|limits| limits.frame_bytes = 1024).await;
    let mut good = Client::logged_in(&node, 1, "pad").await;
    for (junk, code) in [("#12x\n", "malformed"), ("#99999\nxxxx", "too_long")] {
        let mut bad = Client::connect(&node).await;
        bad.write(junk).await;
        let mut answer = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut bad.socket, &mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.contains(code) && answer.contains("s = 1"), "{junk:?}: {answer}");
    }
    good.write("= = =\n\n").await;
    assert!(good.frame().await.unwrap().contains("malformed"));
    good.write(&message(1, 2)).await;
    node.until(|world| world.accepted.len() == 1).await;
}

#[tokio::test]
async fn who_does_not_log_in_is_closed() {
    let node = Node::start(|limits| limits.login_seconds = shared::config::Seconds(1)).await;
    let mut client = Client::connect(&node).await;
    assert_eq!(client.frame().await, None);
}

#[tokio::test]
async fn a_new_login_on_a_device_closes_the_older_one() {
    let node = Node::start(|_| ()).await;
    let mut old = Client::logged_in(&node, 1, "pad").await;
    let mut other = Client::logged_in(&node, 1, "phone").await;
    let _new = Client::logged_in(&node, 1, "pad").await;
    assert!(old.frame().await.unwrap().contains("replaced"));
    assert_eq!(old.frame().await, None);
    let revoked = |below| Delivery::Revoked {
        user: UserId(1),
        device: Some(shared::ids::Device::new("phone").unwrap()),
        below: Some(SessionNo(below)),
    };
    // The device's session is the second one: a revocation from before it began is not meant for it.
    node.send(&[revoked(2)]);
    other.write("[[r]]\nid = \"1\"\nt = \"no such\"\n\n").await;
    assert!(other.frame().await.unwrap().contains("unknown"));
    node.send(&[revoked(3)]);
    assert_eq!(other.frame().await, None);
}

#[tokio::test]
async fn a_full_stream_stops_the_reading_and_loses_nothing() {
    let node = Node::start(|limits| limits.unpublished = 8).await;
    node.world.send_modify(|world| world.stream_full = true);
    let mut client = Client::logged_in(&node, 1, "pad").await;
    let all: String = (0..200).map(|number| message(number, 2 + number as i64 % 3)).collect();
    client.write(&all).await;
    let session = || {
        let mut found = None;
        node.context.registry.of_user(UserId(1), |one| found = Some(one.clone()));
        found.unwrap()
    };
    while session().unpublished() < 8 {
        tokio::task::yield_now().await;
    }
    // Deliveries go on meanwhile.
    node.until(|world| !world.reads.is_empty()).await;
    node.send(&[answer()]);
    assert!(client.frame().await.unwrap().contains("\"x\""));
    assert!(session().unpublished() <= 8 + 1);
    node.world.send_modify(|world| world.stream_full = false);
    node.until(|world| world.accepted.len() == 200).await;
    let world = node.world.borrow();
    for to in 2..5 {
        let sent = world.accepted.iter().filter(
            |one| matches!(&one.what, Body::Message(m) if m.to == shared::message::Target::User(UserId(to))),
        );
        let numbers: Vec<usize> = sent.map(|one| one.id().as_str()[1..].parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
}

#[tokio::test]
async fn who_writes_to_a_crowd_is_read_again_once_that_has_had_its_turns() {
    let node = Node::start(|_| ()).await;
    let mut writer = Client::logged_in(&node, 1, "pad").await;
    let mut member = Client::logged_in(&node, 2, "pad").await;
    node.until(|world| world.reads.len() == 2).await;
    let to = [2].into_iter().chain(1_000..1_000 + CROWD as i64).map(UserId).collect();
    node.send(&[Delivery::Push(Push { to, skip: Some(SessionNo(1)), ..push(2, 1, 1) })]);
    writer.write(&message(1, 2)).await;
    // What comes for it is written all the same.
    node.send(&[answer()]);
    assert!(writer.frame().await.unwrap().contains("\"x\""));
    assert!(node.world.borrow().accepted.is_empty());
    let crowds = node.wake_crowds();
    assert!(member.frame().await.unwrap().contains("\"p1\""));
    node.until(|world| world.accepted.len() == 1).await;
    crowds.abort();
}

#[tokio::test]
async fn a_client_that_does_not_read_gets_everything_once_when_it_does() {
    let node = Node::start(|limits| {
        limits.outbox = 16;
        limits.unacked = 10_000;
    })
    .await;
    let mut client = Client::logged_in(&node, 1, "pad").await;
    node.until(|world| !world.reads.is_empty()).await;
    let long = |seq: i64| Push {
        body: format!("[[m]]\nc = \"{}\"\nseq = {seq}\n", "x".repeat(20_000)).into(),
        ..push(1, 2, seq)
    };
    // More than the socket's buffers hold.
    for seq in 1..=600 {
        node.world.send_modify(|world| world.owed.push(long(seq)));
        node.send(&[Delivery::Push(long(seq))]);
        tokio::task::yield_now().await;
    }
    for seq in 1..=600 {
        let frame = client.frame().await.unwrap();
        assert!(
            frame.ends_with(&format!("seq = {seq}")),
            "expected {seq}, found …{}",
            &frame[frame.len() - 20..]
        );
    }
    assert!(node.world.borrow().reads.len() > 1, "it overflowed");
}

fn sized(seq: i64, from: i64, bytes: usize) -> Push {
    let body = format!("[[m]]\nc = \"{}\"\nfrom = {from}\nseq = {seq}\n", "x".repeat(bytes)).into();
    Push { body, ..push(1, from, seq) }
}

/// A node with one session, of user 1, that is live.
async fn with_a_live_session() -> (Node, Client) {
    let node = Node::start(|_| ()).await;
    let mut client = Client::logged_in(&node, 1, "pad").await;
    // The read's empty answer is in the session's outbox by then, before anything sent now.
    node.until(|world| !world.reads.is_empty()).await;
    node.world.send_modify(|world| world.owed.push(push(1, 9, 1)));
    node.send(&[Delivery::Push(push(1, 9, 1))]);
    assert!(client.frame().await.unwrap().contains("seq = 1"));
    assert_eq!(node.world.borrow().reads.len(), 1, "it was written without another read");
    (node, client)
}

#[tokio::test]
async fn what_fits_after_a_dropped_delivery_does_not_pass_it_over() {
    let (node, mut client) = with_a_live_session().await;
    let half = crate::outbox::MAX_BYTES / 2 + 1000;
    let all = [sized(1, 3, half), sized(1, 2, half), sized(2, 2, 10)];
    node.world.send_modify(|world| world.owed.extend(all.clone()));
    // The second does not fit into the session's outbox, the third, of the same conversation, does.
    node.send(&all.map(Delivery::Push));
    let mut ends = Vec::new();
    for _ in 0..3 {
        let frame = client.frame().await.unwrap();
        ends.push(frame[frame.len() - "from = 0\nseq = 0".len()..].replace('\n', ", "));
    }
    ends.sort();
    assert_eq!(ends, ["from = 2, seq = 1", "from = 2, seq = 2", "from = 3, seq = 1"]);
}

#[tokio::test]
async fn what_follows_a_resync_does_not_pass_over_what_was_lost_before_it() {
    let (node, mut client) = with_a_live_session().await;
    node.world.send_modify(|world| world.owed.extend([push(1, 2, 1), push(1, 2, 2)]));
    node.send(&[Delivery::Resync, Delivery::Push(push(1, 2, 2))]);
    for seq in 1..=2 {
        assert!(client.frame().await.unwrap().contains(&format!("seq = {seq}")));
    }
}

#[tokio::test]
async fn the_first_batch_after_a_lost_link_does_not_pass_over_what_was_lost() {
    for (reconnects, dropped) in [(1, 0), (0, 1)] {
        let (mut node, mut client) = with_a_live_session().await;
        node.world.send_modify(|world| world.owed.extend([push(1, 2, 1), push(1, 2, 2)]));
        // Number 1 was sent while the link was away, or was dropped.
        node.deliver.after(crate::broker::Losses { reconnects, dropped });
        node.send(&[Delivery::Push(push(1, 2, 2))]);
        for seq in 1..=2 {
            assert!(client.frame().await.unwrap().contains(&format!("seq = {seq}")));
        }
    }
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let node = Node::start(|limits| limits.connections = 1).await;
    let first = Client::logged_in(&node, 1, "pad").await;
    let mut second = Client::connect(&node).await;
    assert!(second.frame().await.unwrap().contains("unavailable"));
    assert_eq!(second.frame().await, None);
    drop(first);
    node.until(|world| !world.closed.is_empty()).await;
}

#[tokio::test]
async fn without_workers_a_login_is_told_to_try_again_and_a_session_keeps_reading_its_backlog() {
    let node = Node::start(|_| ()).await;
    node.world.send_modify(|world| world.workers_away = true);
    let mut client = Client::connect(&node).await;
    client.write(&login(1, "pad", "good")).await;
    assert!(client.frame().await.unwrap().contains("unavailable"));
    node.world.send_modify(|world| world.workers_away = false);
    client.write(&login(1, "pad", "good")).await;
    assert!(client.frame().await.unwrap().contains("s = 0"));
    node.until(|world| !world.reads.is_empty()).await;
    node.world.send_modify(|world| {
        world.workers_away = true;
        world.owed.push(push(1, 2, 1));
    });
    node.send(&[Delivery::Resync]);
    node.world.send_modify(|world| world.workers_away = false);
    assert!(client.frame().await.unwrap().contains("seq = 1"));
}

#[tokio::test]
async fn many_connections_that_send_nothing_or_junk_cost_the_others_nothing() {
    let node = Node::start(|_| ()).await;
    let mut silent = Vec::new();
    for number in 0..200 {
        let mut one = Client::connect(&node).await;
        if number % 2 == 0 {
            one.socket.write_all(&[0xff, number as u8, b'\n', b'\n']).await.unwrap();
        }
        silent.push(one);
    }
    let mut client = Client::logged_in(&node, 1, "pad").await;
    client.write(&message(1, 2)).await;
    node.until(|world| world.accepted.len() == 1).await;
}

#[tokio::test]
async fn an_idle_connection_is_small() {
    let node = Node::start(|_| ()).await;
    let socket = tokio::net::TcpStream::connect(node.address).await.unwrap();
    let shutdown = tokio_util::sync::CancellationToken::new();
    // Its guard is a pointer, as the listener's.
    let guard = node.context.clone();
    let task = super::run(socket, "127.0.0.1".parse().unwrap(), node.context.clone(), shutdown, guard);
    // tokio adds 104 bytes of its own and rounds up to 128: some bytes more would cost 128.
    assert!(size_of_val(&task) <= 280, "{}", size_of_val(&task));
    let outbox = size_of::<crate::outbox::Outbox>();
    // With an `Arc`'s two counters: the allocators have 112 and 128 for such.
    assert!(outbox + 16 <= 112, "{outbox}");
}
