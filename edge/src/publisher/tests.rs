//! Batching, retrying and waiting, against a broker that does as it is told.

mod model;
mod rounds;
mod wiped;

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use shared::{
    frame::split_counted,
    ids::{MessageId, SessionNo, UserId},
    message::{Body, Message, Sender, Target, WantedAck, accepted},
    telemetry::Moment,
};
use tokio::sync::mpsc;

use super::{
    sink::{Found, Way},
    *,
};
use crate::{outbox::Item, trace::Trace};

/// One publish, answered by the test.
struct Asked {
    subject: String,
    id: String,
    batch: Bytes,
    answer: tokio::sync::oneshot::Sender<Result<(), String>>,
}

/// The stream, as the test has it.
#[derive(Clone)]
struct Fake(Arc<Inner>);

struct Inner {
    asked: Mutex<mpsc::UnboundedSender<Asked>>,
    /// When it was made.
    created: AtomicU64,
    /// The place given last.
    place: AtomicU64,
    looked: AtomicU64,
    /// The connection, until the test loses it.
    connection: Mutex<CancellationToken>,
}

/// The fake over one connection.
struct Connected(Fake, CancellationToken);

impl Fake {
    fn new() -> (Self, mpsc::UnboundedReceiver<Asked>) {
        let (asked, asking) = mpsc::unbounded_channel();
        let (created, place, looked) = (AtomicU64::new(1), AtomicU64::new(0), AtomicU64::new(0));
        let (asked, connection) = (Mutex::new(asked), Mutex::default());
        (Self(Arc::new(Inner { asked, created, place, looked, connection })), asking)
    }

    fn looked(&self) -> u64 {
        self.0.looked.load(Ordering::Relaxed)
    }

    /// Another stream, empty.
    fn wipe(&self) {
        self.0.created.fetch_add(1, Ordering::Relaxed);
        self.0.place.store(0, Ordering::Relaxed);
    }

    /// What is under way fails, and everybody knows why.
    fn disconnect(&self) {
        std::mem::take(&mut *self.0.connection.lock().unwrap()).cancel();
    }
}

impl Sink for Fake {
    fn find(&self, _: Duration) -> BoxFuture<'_, Result<Found, String>> {
        async move {
            self.0.looked.fetch_add(1, Ordering::Relaxed);
            let created = self.0.created.load(Ordering::Relaxed).into();
            let last_sequence = self.0.place.load(Ordering::Relaxed);
            let connection = self.0.connection.lock().unwrap().clone();
            Ok(Found { created, last_sequence, way: Arc::new(Connected(self.clone(), connection)) })
        }
        .boxed()
    }
}

impl Way for Connected {
    fn publish<'a>(
        &'a self,
        subject: &'a str,
        (id, _): (&'a str, Moment),
        batch: Bytes,
    ) -> BoxFuture<'a, Result<u64, String>> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let asked = Asked { subject: subject.to_owned(), id: id.to_owned(), batch, answer };
        self.0.0.asked.lock().unwrap().send(asked).ok();
        async move {
            let answer = tokio::select! {
                answer = answered => answer.unwrap_or_else(|_| Err("gone".to_owned())),
                () = self.1.cancelled() => Err("the connection was lost".to_owned()),
            };
            answer.map(|()| self.0.0.place.fetch_add(1, Ordering::Relaxed) + 1)
        }
        .boxed()
    }

    fn is_lost(&self) -> bool {
        self.1.is_cancelled()
    }

    fn lost(&self) -> BoxFuture<'_, ()> {
        self.1.cancelled().boxed()
    }
}

fn settings() -> Settings {
    Settings {
        lanes: 1,
        batch_bytes: 2048,
        rest: Duration::from_millis(3),
        queue_frames: 50,
        timeout: Duration::from_secs(5),
        unpublished: 10,
    }
}

fn start(settings: Settings) -> (Publisher, mpsc::UnboundedReceiver<Asked>) {
    let (fake, asking) = Fake::new();
    (start_on(Arc::new(fake), &Arc::default(), settings).0, asking)
}

fn start_on(sink: Arc<dyn Sink>, registry: &Arc<Registry>, settings: Settings) -> (Publisher, Vital) {
    let (subjects, node) = (Subjects::new("im"), NodeId::new("e1-0").unwrap());
    let vital = Vital::new(CancellationToken::new());
    let metrics = Metrics::new();
    (
        Publisher::start(
            sink,
            registry.clone(),
            &subjects,
            &node,
            settings,
            (&metrics, &Trace::default()),
            &vital,
        ),
        vital,
    )
}

fn session() -> Arc<Outbox> {
    numbered(5)
}

fn numbered(number: i64) -> Arc<Outbox> {
    crate::testing::session(number, "pad", number)
}

async fn woken(session: &Outbox) {
    std::future::poll_fn(|task| session.poll_woken(task)).await;
}

/// Until the publisher knows that everything of the session is in the stream.
async fn confirmed(session: &Outbox) {
    while session.unpublished() > 0 {
        tokio::task::yield_now().await;
    }
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
    assert!(matches!(items.first(), Some(Item::Queued(id)) if id.as_str() == "m0"), "{items:?}");
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
    let (node, observed) = (NodeId::new("e1-0").unwrap(), (Metrics::new(), Trace::default()));
    let lane = LaneQueue::new(Lane(0), Subjects::new("im"), node, settings, observed, Arc::default());
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

/// Finds a stream, and then fails by a bug.
struct Panics;

impl Sink for Panics {
    fn find(&self, _: Duration) -> BoxFuture<'_, Result<Found, String>> {
        async { Ok(Found { created: 1, last_sequence: 0, way: Arc::new(Panics) }) }.boxed()
    }
}

impl Way for Panics {
    fn publish<'a>(
        &'a self,
        _: &'a str,
        _: (&'a str, Moment),
        _: Bytes,
    ) -> BoxFuture<'a, Result<u64, String>> {
        async { panic!("a bug") }.boxed()
    }

    fn is_lost(&self) -> bool {
        false
    }

    fn lost(&self) -> BoxFuture<'_, ()> {
        std::future::pending().boxed()
    }
}

#[tokio::test]
async fn a_lane_that_ends_by_a_bug_ends_the_node() {
    let session = session();
    let (publisher, vital) = start_on(Arc::new(Panics), &Arc::default(), settings());
    publisher.take(&plain(&session, 0), &session);
    assert_eq!(vital.ended().await, "publisher");
}
