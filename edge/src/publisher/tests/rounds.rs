//! When lanes publish.

use tokio::time::Instant;

use super::super::rounds::FULL;
use super::*;

const LANES: u16 = 4;

/// A frame for each lane from one session: the lane is a hash of the conversation, so peers are tried until each has one.
fn one_a_lane(session: &Outbox) -> Vec<Stamped> {
    let mut frames: Vec<Option<Stamped>> = (0..LANES).map(|_| None).collect();
    for peer in 2.. {
        let stamped = frame(session, peer, Target::User(UserId(peer as i64)), WantedAck::Stored);
        let place = &mut frames[usize::from(stamped.frame().lane(LANES).0)];
        place.get_or_insert(stamped);
        if frames.iter().all(Option::is_some) {
            break;
        }
    }
    frames.into_iter().flatten().collect()
}

fn started(lanes: u16) -> (Publisher, mpsc::UnboundedReceiver<Asked>, Arc<Outbox>) {
    let (publisher, asking) = start(Settings { lanes, batch_bytes: 4096, ..settings() });
    (publisher, asking, session())
}

/// Until the publisher has found the stream: the first frame waits for that.
async fn ready(publisher: &Publisher, asking: &mut mpsc::UnboundedReceiver<Asked>, session: &Arc<Outbox>) {
    assert!(publisher.take(&plain(session, 0), session));
    asking.recv().await.unwrap().answer.send(Ok(())).unwrap();
    confirmed(session).await;
}

#[tokio::test(start_paused = true)]
async fn lanes_leave_together() {
    let (publisher, mut asking, session) = started(LANES);
    ready(&publisher, &mut asking, &session).await;
    for stamped in one_a_lane(&session) {
        assert!(publisher.take(&stamped, &session));
    }
    let began = Instant::now();
    let mut asked = Vec::new();
    for _ in 0..LANES {
        asked.push(asking.recv().await.unwrap());
    }
    assert_eq!(began.elapsed(), Duration::ZERO, "none waited for another's confirmation");
}

#[tokio::test(start_paused = true)]
async fn the_next_round_waits_for_the_last_and_not_long_for_a_lane_that_is_kept_waiting() {
    let (publisher, mut asking, session) = started(LANES);
    ready(&publisher, &mut asking, &session).await;
    let frames = one_a_lane(&session);
    publisher.take(&frames[0], &session);
    let kept = asking.recv().await.unwrap();
    let began = Instant::now();
    publisher.take(&frames[0], &session);
    publisher.take(&frames[1], &session);
    let other = asking.recv().await.unwrap();
    assert_eq!(other.subject, "im.in.1.m", "the lane whose batch is under way waits for it");
    let waited = began.elapsed();
    assert!((Duration::from_millis(20)..Duration::from_millis(25)).contains(&waited), "{waited:?}");
    other.answer.send(Ok(())).unwrap();
    kept.answer.send(Ok(())).unwrap();
    assert_eq!(asking.recv().await.unwrap().subject, "im.in.0.m");
}

#[tokio::test(start_paused = true)]
async fn a_round_of_many_frames_rests_and_one_of_few_does_not() {
    for (frames, rests) in [(FULL - 1, false), (FULL, true)] {
        let (publisher, mut asking, session) = started(1);
        ready(&publisher, &mut asking, &session).await;
        for number in 0..frames {
            assert!(publisher.take(&plain(&session, number), &session));
        }
        let began = Instant::now();
        let mut published = 0;
        while published < frames {
            let asked = asking.recv().await.unwrap();
            published += ids(&asked.batch).len();
            asked.answer.send(Ok(())).unwrap();
        }
        assert!(publisher.take(&plain(&session, frames), &session));
        asking.recv().await.unwrap().answer.send(Ok(())).unwrap();
        let rested = began.elapsed() >= settings().rest;
        assert_eq!(rested, rests, "{frames} frames, {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_rest() {
    let (publisher, mut asking, session) = started(1);
    ready(&publisher, &mut asking, &session).await;
    // More than a batch holds.
    for number in 0..50 {
        assert!(publisher.take(&plain(&session, number), &session));
    }
    let began = Instant::now();
    let mut batches = Vec::new();
    let answering = async {
        while let Some(asked) = asking.recv().await {
            batches.push(ids(&asked.batch).len());
            asked.answer.send(Ok(())).unwrap();
        }
    };
    tokio::select! {
        left = publisher.drain(Duration::from_secs(5)) => assert!(left.is_empty(), "{left:?}"),
        () = answering => {}
    }
    assert!(batches.len() > 1 && batches[0] >= FULL, "{batches:?}");
    assert!(began.elapsed() < settings().rest, "{:?}", began.elapsed());
}
