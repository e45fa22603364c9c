//! What follows when the stream is found to be another one, and when it is found to be the same.

use super::*;
use crate::outbox::Close;

/// Sessions of a node whose publisher has a fake before it.
struct Wiping {
    fake: Fake,
    asking: mpsc::UnboundedReceiver<Asked>,
    registry: Arc<Registry>,
    publisher: Publisher,
}

impl Wiping {
    fn start(lanes: u16) -> Self {
        let (fake, asking) = Fake::new();
        let registry = Arc::default();
        let settings = Settings { lanes, ..settings() };
        let (publisher, _) = start_on(Arc::new(fake.clone()), &registry, settings);
        Self { fake, asking, registry, publisher }
    }

    fn login(&self, number: i64) -> (Arc<Outbox>, crate::registry::Entry) {
        let session = numbered(number);
        (session.clone(), self.registry.add(session))
    }

    async fn taken(&mut self) -> Vec<String> {
        let asked = self.asking.recv().await.unwrap();
        let ids = ids(&asked.batch);
        asked.answer.send(Ok(())).unwrap();
        ids
    }
}

#[tokio::test(start_paused = true)]
async fn in_another_stream_nothing_of_an_earlier_session_is_published_and_every_session_is_ended() {
    let mut node = Wiping::start(1);
    let ((old, _old), (idle, _idle)) = (node.login(1), node.login(2));
    node.publisher.take(&plain(&old, 0), &old);
    assert_eq!(node.taken().await, ["m0"]);
    node.publisher.take(&plain(&old, 1), &old);
    let _under_way = node.asking.recv().await.unwrap();
    node.publisher.take(&plain(&old, 2), &old);
    node.fake.wipe();
    node.fake.disconnect();
    woken(&idle).await;
    assert_eq!((old.take().close, idle.take().close), (Some(Close::Wiped), Some(Close::Wiped)));
    // It may have more in its hands.
    assert!(node.publisher.take(&plain(&old, 3), &old), "dropped, not kept to be tried again");
    let (new, _new) = node.login(3);
    node.publisher.take(&plain(&new, 10), &new);
    assert_eq!(node.taken().await, ["m10"]);
    assert_eq!((old.unpublished(), new.take().close), (0, None));
    assert!(node.publisher.drain(Duration::from_secs(5)).await.is_empty());
    assert!(node.asking.try_recv().is_err(), "nothing else was published");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_comes_back_with_its_stream_ends_no_session() {
    let mut node = Wiping::start(1);
    let (session, _entry) = node.login(1);
    for number in 0..5 {
        node.publisher.take(&plain(&session, number), &session);
        let _lost = node.asking.recv().await.unwrap();
        node.fake.disconnect();
        assert_eq!(node.taken().await, [format!("m{number}")]);
    }
    assert_eq!(session.take().close, None);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_looked_at_once_for_all_lanes() {
    let mut node = Wiping::start(8);
    let (session, _entry) = node.login(1);
    for number in 1..=64 {
        let to = Target::User(UserId(number));
        node.publisher.take(&frame(&session, number as usize, to, WantedAck::Stored), &session);
    }
    let mut under_way = Vec::new();
    for _ in 0..8 {
        under_way.push(node.asking.recv().await.unwrap());
    }
    assert_eq!(node.fake.looked(), 1);
    node.fake.disconnect();
    for _ in 0..8 {
        node.taken().await;
    }
    assert_eq!(node.fake.looked(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_the_stream_is_looked_at_before_anything_is_tried_again() {
    let mut node = Wiping::start(1);
    let (old, _entry) = node.login(1);
    node.publisher.take(&plain(&old, 0), &old);
    let asked = node.asking.recv().await.unwrap();
    // Deleted and made again on a connection that stands.
    node.fake.wipe();
    asked.answer.send(Err("no stream takes this".into())).unwrap();
    woken(&old).await;
    assert_eq!(old.take().close, Some(Close::Wiped));
    assert!(node.asking.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_gives_a_place_twice_was_made_anew_unnoticed() {
    let mut node = Wiping::start(1);
    let (old, _entry) = node.login(1);
    for number in 0..3 {
        node.publisher.take(&plain(&old, number), &old);
        assert_eq!(node.taken().await, [format!("m{number}")]);
    }
    confirmed(&old).await;
    node.fake.wipe();
    node.publisher.take(&plain(&old, 3), &old);
    assert_eq!(node.taken().await, ["m3"]);
    confirmed(&old).await;
    node.publisher.take(&plain(&old, 4), &old);
    woken(&old).await;
    assert_eq!(old.take().close, Some(Close::Wiped));
    assert!(node.asking.try_recv().is_err(), "nothing more of it");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_lost_its_end_is_another_one() {
    let mut node = Wiping::start(1);
    let (old, _entry) = node.login(1);
    for number in 0..3 {
        node.publisher.take(&plain(&old, number), &old);
        node.taken().await;
    }
    confirmed(&old).await;
    // Made at the same time, and shorter than what it has confirmed: the power failed.
    node.fake.0.place.store(2, Ordering::Relaxed);
    node.fake.disconnect();
    woken(&old).await;
    assert_eq!(old.take().close, Some(Close::Wiped));
}
