//! Batching, retrying and waiting, against a broker that does as it is told.

use std::sync::Mutex;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use shared::{
    frame::split_counted,
    ids::{Device, MessageId, SessionNo, UserId},
    message::{Body, Message, Sender, Target, WantedAck, accepted},
};
use tokio::sync::mpsc;

use super::*;
use crate::outbox::Item;

/// One publish, answered by the test.
struct Asked {
    subject: String,
    id: String,
    batch: Bytes,
    answer: tokio::sync::oneshot::Sender<Result<(), String>>,
}

struct Fake(Mutex<mpsc::UnboundedSender<Asked>>);

impl Sink for Fake {
    fn publish<'a>(
        &'a self,
        subject: &'a str,
        id: &'a str,
        batch: Bytes,
        _timeout: Duration,
    ) -> BoxFuture<'a, Result<(), String>> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let asked = Asked { subject: subject.to_owned(), id: id.to_owned(), batch, answer };
        self.0.lock().unwrap().send(asked).ok();
        async move { answered.await.unwrap_or_else(|_| Err("gone".to_owned())) }.boxed()
    }
}

fn settings() -> Settings {
    Settings {
        lanes: 1,
        batch_bytes: 2048,
        queue_frames: 50,
        timeout: Duration::from_secs(5),
        unpublished: 10,
    }
}

fn start(settings: Settings) -> (Publisher, mpsc::UnboundedReceiver<Asked>) {
    let (asked, asking) = mpsc::unbounded_channel();
    let node = NodeId::new("e1-0").unwrap();
    let sink = Arc::new(Fake(Mutex::new(asked)));
    let vital = Vital::new(CancellationToken::new());
    (Publisher::start(sink, &Subjects::new("im"), &node, settings, &Metrics::new(), &vital), asking)
}

fn session() -> Arc<Outbox> {
    let node = NodeId::new("e1-0").unwrap();
    let who = Sender { user: UserId(1), device: Device::new("pad").unwrap(), session: SessionNo(5), node };
    Arc::new(Outbox::new(Arc::new(who)))
}

fn frame(session: &Outbox, number: usize, to: Target, ack: WantedAck) -> Stamped {
    let message = Message {
        id: MessageId::new(&format!("m{number}")).unwrap(),
        to,
        content: format!("text {number}"),
        ack,
    };
    let from = Sender::clone(&session.who);
    Stamped::for_test(Accepted { from, ts: 7, nonce: None, what: Body::Message(message) })
}

fn plain(session: &Outbox, number: usize) -> Stamped {
    frame(session, number, Target::User(UserId(2)), WantedAck::Stored)
}

fn ids(batch: &Bytes) -> Vec<String> {
    let frames = split_counted(batch).unwrap();
    frames.iter().map(|frame| accepted::decode(frame).unwrap().id().as_str().to_owned()).collect()
}

#[tokio::test]
async fn what_gathers_during_a_publish_goes_out_as_one_in_order_and_within_the_size() {
    let (publisher, mut asking) = start(settings());
    let session = session();
    assert!(publisher.take(&plain(&session, 0), &session));
    let first = asking.recv().await.unwrap();
    assert_eq!((ids(&first.batch), first.subject.as_str()), (vec!["m0".to_owned()], "im.in.0.m"));
    for number in 1..30 {
        assert!(publisher.take(&plain(&session, number), &session));
    }
    first.answer.send(Ok(())).unwrap();
    let mut seen = Vec::new();
    let mut batches = 0;
    while seen.len() < 29 {
        let asked = asking.recv().await.unwrap();
        assert!(asked.batch.len() <= 2048, "{} bytes", asked.batch.len());
        seen.extend(ids(&asked.batch));
        batches += 1;
        asked.answer.send(Ok(())).unwrap();
    }
    assert_eq!(seen, (1..30).map(|number| format!("m{number}")).collect::<Vec<_>>());
    assert!((2..15).contains(&batches), "{batches} batches");
    assert!(publisher.drain(Duration::from_secs(5)).await.is_empty());
    assert_eq!(session.unpublished(), 0);
}

#[tokio::test]
async fn a_batch_is_tried_with_one_id_until_it_is_taken_and_nothing_overtakes_it() {
    let (publisher, mut asking) = start(settings());
    let session = session();
    publisher.take(&plain(&session, 0), &session);
    let first = asking.recv().await.unwrap();
    publisher.take(&plain(&session, 1), &session);
    let id = first.id;
    first.answer.send(Err("the stream is full".into())).unwrap();
    for _ in 0..3 {
        let again = asking.recv().await.unwrap();
        assert_eq!((&again.id, ids(&again.batch)), (&id, vec!["m0".to_owned()]));
        again.answer.send(Err("still full".into())).unwrap();
    }
    assert_eq!(session.unpublished(), 2);
    asking.recv().await.unwrap().answer.send(Ok(())).unwrap();
    let next = asking.recv().await.unwrap();
    assert_ne!(next.id, id);
    assert_eq!(ids(&next.batch), ["m1"]);
}

#[tokio::test]
async fn who_asked_is_told_when_the_broker_holds_it() {
    let (publisher, mut asking) = start(settings());
    let session = session();
    publisher.take(&frame(&session, 0, Target::User(UserId(2)), WantedAck::Queued), &session);
    let asked = asking.recv().await.unwrap();
    assert!(session.take().items.is_empty(), "not before");
    asked.answer.send(Ok(())).unwrap();
    std::future::poll_fn(|task| session.poll_woken(task)).await;
    let items = session.take().items;
    assert!(matches!(items.front(), Some(Item::Queued(id)) if id.as_str() == "m0"), "{items:?}");
}

#[tokio::test]
async fn a_full_lane_takes_no_more_and_wakes_who_waits() {
    let (publisher, mut asking) = start(settings());
    let session = session();
    publisher.take(&plain(&session, 0), &session);
    let first = asking.recv().await.unwrap();
    let taken = (1..100).take_while(|number| publisher.take(&plain(&session, *number), &session)).count();
    assert_eq!(taken, 50);
    assert!(!publisher.take(&plain(&session, 99), &session));
    first.answer.send(Ok(())).unwrap();
    std::future::poll_fn(|task| session.poll_woken(task)).await;
    assert!(publisher.take(&plain(&session, 99), &session));
}

#[test]
fn what_is_in_the_queue_is_counted_already_and_what_was_refused_is_not() {
    let (mut queue, session) = (batch::Queue::new(2048, 2), session());
    assert!(queue.push(plain(&session, 0).frame(), &session));
    assert_eq!(session.unpublished(), 1, "before anybody could publish it");
    assert!(queue.push(plain(&session, 1).frame(), &session));
    assert!(!queue.push(plain(&session, 2).frame(), &session));
    assert_eq!(session.unpublished(), 2);
}

#[test]
fn a_session_that_tries_again_and_again_waits_in_a_full_lane_once() {
    let settings = Settings { queue_frames: 1, ..settings() };
    let node = NodeId::new("e1-0").unwrap();
    let lane = LaneQueue::new(Lane(0), Subjects::new("im"), node, settings, Metrics::new());
    let session = session();
    assert!(lane.take(plain(&session, 0).frame(), &session));
    for number in 1..1000 {
        assert!(!lane.take(plain(&session, number).frame(), &session));
    }
    assert_eq!(lane.sessions_waiting(), 1);
    // Those that give up and go are forgotten.
    for number in 0..1000 {
        let who = Sender { session: SessionNo(1000 + number), ..Sender::clone(&session.who) };
        let other = Arc::new(Outbox::new(Arc::new(who)));
        assert!(!lane.take(plain(&other, 1).frame(), &other));
        other.gone();
    }
    assert!(lane.sessions_waiting() <= 64, "{}", lane.sessions_waiting());
}

#[tokio::test]
async fn a_mixed_batch_says_so() {
    let (publisher, mut asking) = start(settings());
    let session = session();
    publisher.take(&plain(&session, 0), &session);
    let first = asking.recv().await.unwrap();
    publisher.take(&frame(&session, 1, Target::Group(shared::ids::GroupId(3)), WantedAck::Stored), &session);
    first.answer.send(Ok(())).unwrap();
    let second = asking.recv().await.unwrap();
    assert_eq!(second.subject, "im.in.0.gm");
    publisher.take(&plain(&session, 2), &session);
    publisher.take(&frame(&session, 3, Target::Group(shared::ids::GroupId(3)), WantedAck::Stored), &session);
    second.answer.send(Ok(())).unwrap();
    assert_eq!(asking.recv().await.unwrap().subject, "im.in.0.x");
}

#[tokio::test]
async fn a_drain_names_what_the_broker_did_not_take() {
    let (publisher, mut asking) = start(settings());
    let session = session();
    publisher.take(&plain(&session, 0), &session);
    let _held = asking.recv().await.unwrap();
    publisher.take(&plain(&session, 1), &session);
    assert_eq!(publisher.drain(Duration::from_millis(20)).await, [(Lane(0), 2)]);
}

struct Panics;

impl Sink for Panics {
    fn publish<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: Bytes,
        _: Duration,
    ) -> BoxFuture<'a, Result<(), String>> {
        async { panic!("a bug") }.boxed()
    }
}

#[tokio::test]
async fn a_lane_that_ends_by_a_bug_ends_the_node() {
    let vital = Vital::new(CancellationToken::new());
    let (node, session) = (NodeId::new("e1-0").unwrap(), session());
    let metrics = Metrics::new();
    let publisher =
        Publisher::start(Arc::new(Panics), &Subjects::new("im"), &node, settings(), &metrics, &vital);
    publisher.take(&plain(&session, 0), &session);
    assert_eq!(vital.ended().await, "publisher");
}
