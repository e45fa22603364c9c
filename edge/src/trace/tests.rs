#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use shared::{
    delivery::Delivery,
    ids::{Conversation, Device, MessageId, NodeId, Seq, SessionNo, UserId},
    message::{Body, Message, Sender, Target, WantedAck},
    rpc::Place,
    trace::Question,
};

use super::*;
use crate::testing::Node;

fn sender(user: i64) -> Arc<Sender> {
    let (device, node) = (Device::new("pad").unwrap(), NodeId::new("e1-0").unwrap());
    Arc::new(Sender { user: UserId(user), device, session: SessionNo(user + 40), node })
}

fn frame(from: &Sender, id: &str) -> Frame {
    let to = Target::User(UserId(9));
    let message =
        Message { id: MessageId::new(id).unwrap(), to, content: "x".into(), ack: WantedAck::Stored };
    Frame { from: from.clone(), ts: 1, nonce: None, what: Body::Message(message) }
}

fn push(to: i64, seq: i64) -> Push {
    Push {
        to: vec![UserId(to)],
        conversation: Conversation::direct(UserId(1), UserId(to)),
        seq: Seq(seq),
        from: UserId(1),
        id: MessageId::new(&format!("m{seq}")).unwrap(),
        skip: None,
        receipt: false,
        again: false,
        body: "[[m]]\n".into(),
    }
}

fn asking(question: Question) -> Question {
    question
}

#[tokio::test]
async fn a_batch_is_found_again_by_the_sender_s_ids() {
    let (node, trace) = (Node::start(|_| {}).await, Trace::new(&TraceConfig::keeping(4)));
    let (one, other) = (sender(1), sender(2));
    let outbox = |who: &Arc<Sender>| Arc::new(Outbox::new(who.clone()));
    let mut queue = crate::publisher::batch::Queue::new(4096, 100);
    for (who, id) in [(&one, "a"), (&one, "b"), (&other, "a")] {
        queue.push(&frame(who, id), &outbox(who));
    }
    let batch = queue.pop().unwrap();
    trace.accepted(Lane(3), 77, &batch.senders, &batch.marks);
    let keys = vec![Key::of(UserId(2), "a"), Key::of(UserId(1), "b"), Key::of(UserId(1), "c")];
    let answer = trace.answer(&asking(Question { keys, ..Question::default() }), &node.context).await;
    let found: Vec<_> = answer
        .accepted
        .iter()
        .map(|one| (one.user.0, one.session.0, one.lane, one.stream_seq, one.frame))
        .collect();
    assert_eq!(found, [(1, 41, 3, 77, 1), (2, 42, 3, 77, 2)]);
    assert!(answer.accepted[0].opened <= answer.accepted[0].at && answer.accepted[0].opened > 0);

    for place in 78..100 {
        trace.accepted(Lane(3), place, &batch.senders, &batch.marks);
    }
    let answer = trace.answer(&Question::default(), &node.context).await;
    let shelf = answer.shelf.iter().find(|shelf| shelf.what == "accepted").unwrap();
    assert_eq!((shelf.written, shelf.overwritten, answer.process.keep), (69, 65, 4));
    assert!(shelf.oldest > 0);
    node.drain(Vec::new()).await;
}

#[tokio::test]
async fn what_sessions_did_is_found_by_its_place_and_the_first_acknowledgement_with_it() {
    let (node, trace) = (Node::start(|_| {}).await, Trace::new(&TraceConfig::keeping(100)));
    let (one, session) = (sender(2), Outbox::new(sender(2)));
    let mut step = trace.step();
    for seq in 1..=3 {
        step.stop(&one, &push(2, seq), What::Written, Why::None);
    }
    trace.stepped(&session, &mut step);
    let acknowledge = |seq: i64| {
        let mut step = trace.step();
        let (user, device) = (one.user, one.device.clone());
        let conv = Conversation::direct(UserId(1), UserId(2));
        step.acknowledged(&[shared::rpc::Move { user, device, conv, seq: Seq(seq), newest: None }]);
        trace.stepped(&session, &mut step);
    };
    (1..=3).for_each(acknowledge);
    trace.queued(&push(2, 2), 1, 5);
    trace.dropped(&session, &push(2, 2), 6);
    let place = Place { conv: Conversation::direct(UserId(1), UserId(2)), seq: Seq(2) };
    let answer = trace.answer(&Question { places: vec![place], ..Question::default() }, &node.context).await;
    let found: Vec<_> = answer.stop.iter().map(|stop| (stop.what, stop.seq.0, stop.session.0)).collect();
    assert_eq!(found, [(What::Written, 2, 42), (What::Acknowledged, 2, 42), (What::Dropped, 2, 42)]);
    assert_eq!((answer.queued.len(), answer.queued[0].sessions), (1, 1));
    node.drain(Vec::new()).await;
}

#[tokio::test]
async fn without_rings_nothing_is_noted_and_the_answer_says_so() {
    let (node, trace) = (Node::start(|_| {}).await, Trace::new(&TraceConfig::keeping(0)));
    let mut step = trace.step();
    step.stop(&sender(2), &push(2, 1), What::Written, Why::None);
    trace.stepped(&Outbox::new(sender(2)), &mut step);
    trace.queued(&push(2, 1), 1, trace.delivering());
    let answer = trace.answer(&Question::default(), &node.context).await;
    assert_eq!((answer.process.keep, answer.shelf.len(), trace.is_on()), (0, 0, false));
    node.drain(Vec::new()).await;
}

#[tokio::test]
async fn a_node_notes_what_it_delivers() {
    let node = Node::start(|_| {}).await;
    node.send(&[Delivery::Push(push(2, 1))]);
    let place = Place { conv: Conversation::direct(UserId(1), UserId(2)), seq: Seq(1) };
    let asked = Question { places: vec![place], ..Question::default() };
    let answer = node.context.trace.answer(&asked, &node.context).await;
    assert_eq!((answer.queued.len(), answer.queued[0].sessions, answer.stop.len()), (1, 0, 0));
    node.drain(Vec::new()).await;
}
