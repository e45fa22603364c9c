//! Who is heard, who counts as dead, and who has been passed by.

use super::*;

/// A heartbeat of this node, which has no sessions.
pub(crate) fn beat(node: &str) -> Heartbeat {
    Heartbeat::first(NodeId::new(node).unwrap(), "127.0.0.1", 1987)
}

#[tokio::test]
async fn a_node_that_says_it_is_gone_is_waited_for_no_longer() {
    let nodes = Nodes::new(Duration::from_secs(60));
    let node = NodeId::new("e1-1").unwrap();
    nodes.heard(&beat("e1-1"));
    let mut death = std::pin::pin!(nodes.until_dead(&node));
    assert!(futures::poll!(&mut death).is_pending());
    nodes.heard(&Heartbeat { draining: true, gone: true, ..beat("e1-1") });
    death.await;
    nodes.tick(Instant::now());
    assert!(nodes.live().is_empty());
}

#[tokio::test]
async fn all_nodes_are_known_once_one_has_been_heard_twice() {
    let nodes = Nodes::new(Duration::from_secs(60));
    let waiting = tokio::spawn({
        let nodes = nodes.clone();
        async move { nodes.acquainted().await }
    });
    nodes.heard(&beat("e1-1"));
    nodes.heard(&beat("e2-1"));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    nodes.heard(&beat("e1-1"));
    waiting.await.unwrap();
}

/// Ticks at their interval; gives when the last one was.
fn ticks(nodes: &Nodes, mut now: Instant, count: u32) -> Instant {
    for _ in 0..count {
        now += nodes.dead_after / TICKS;
        nodes.tick(now);
    }
    now
}

#[tokio::test]
async fn with_no_node_at_all_the_dead_time_is_enough_if_the_broker_was_heard() {
    let nodes = Nodes::new(Duration::from_secs(60));
    let mut acquainted = std::pin::pin!(nodes.acquainted());
    let now = ticks(&nodes, Instant::now(), TICKS);
    assert!(futures::poll!(&mut acquainted).is_pending());
    // A minute in which nothing is heard is no sign.
    nodes.tick(now + nodes.dead_after);
    acquainted.await;
    let late = NodeId::new("e1-1").unwrap();
    nodes.heard(&beat("e1-1"));
    assert!(nodes.take_missed(&late), "a broadcast may have passed it by");
}

#[tokio::test]
async fn an_outage_does_not_kill_and_a_death_in_it_is_found_after_it() {
    let nodes = Nodes::new(Duration::from_secs(6));
    let node = NodeId::new("e1-1").unwrap();
    nodes.tick(Instant::now());
    nodes.heard(&beat("e1-1"));
    let now = ticks(&nodes, Instant::now(), 1);
    let back = now + Duration::from_secs(60);
    nodes.tick(back);
    assert!(nodes.is_live(&node));
    let mut death = std::pin::pin!(nodes.until_dead(&node));
    ticks(&nodes, back, 3);
    assert!(futures::poll!(&mut death).is_pending());
    ticks(&nodes, back + Duration::from_secs(3), 3);
    death.await;
    assert!(nodes.live().is_empty());
    nodes.heard(&beat("e1-1"));
    assert!(nodes.take_missed(&node), "it may have been passed by");
}

#[test]
fn silence_makes_dead_and_a_return_owes_a_resync() {
    let nodes = Nodes::new(Duration::ZERO);
    let node = NodeId::new("e1-1").unwrap();
    nodes.heard(&beat("e1-1"));
    assert!(!nodes.is_live(&node), "with a dead time of zero every node is dead at once");
    let nodes = Nodes { dead_after: Duration::from_secs(60), ..nodes };
    assert!(nodes.is_live(&node));
    assert!(!nodes.take_missed(&node));
    nodes.passed_by(&node);
    nodes.heard(&beat("e1-1"));
    assert!(nodes.take_missed(&node));
    assert!(!nodes.take_missed(&node));
}

#[test]
fn a_node_passed_by_before_it_was_heard_of_owes_a_resync_too() {
    let nodes = Nodes::new(Duration::from_secs(60));
    let node = NodeId::new("e2-1").unwrap();
    nodes.passed_by(&node);
    nodes.heard(&beat("e2-1"));
    assert!(nodes.take_missed(&node));
}
