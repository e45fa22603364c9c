//! Reads against workers that are slow, cannot read one of them, or are away.

use std::sync::Mutex;

use bytes::Bytes;
use shared::{delivery::pages::Pages, message::Sender, subject::Subjects};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::calls::ask::{Ask, AskError, Reply};

/// A worker whose every call takes a second.
#[derive(Debug, Default)]
struct Worker {
    /// The users of each call.
    asked: Mutex<Vec<Vec<i64>>>,
    /// A call that this user is in fails.
    poison: Option<i64>,
    /// So many calls find nobody.
    away: Mutex<usize>,
    /// So many reads of a call have room in its answer.
    room: Option<usize>,
}

impl Worker {
    fn asked(&self) -> Vec<Vec<i64>> {
        self.asked.lock().unwrap().clone()
    }
}

impl Ask for Worker {
    fn ask(&self, _: String, request: Bytes, _: Duration) -> BoxFuture<'_, Result<Reply, AskError>> {
        let reads = rpc::from_slice::<rpc::BacklogBatch>(&request).unwrap().reads;
        let users: Vec<i64> = reads.iter().map(|read| read.user.0).collect();
        {
            let mut away = self.away.lock().unwrap();
            if *away > 0 {
                *away -= 1;
                return async { Err(AskError::NobodyThere) }.boxed();
            }
        }
        self.asked.lock().unwrap().push(users.clone());
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.poison.is_some_and(|poison| users.contains(&poison)) {
                return Ok(Reply { error: Some("invalid".to_owned()), ..Reply::default() });
            }
            let mut pages = Pages::default();
            for nth in 0..users.len() {
                pages.end(if self.room.is_none_or(|room| nth < room) { How::Done } else { How::Unread });
            }
            Ok(Reply { payload: pages.into_payload().into(), ..Reply::default() })
        }
        .boxed()
    }
}

fn start(worker: &Arc<Worker>) -> Backlogs {
    let second = Duration::from_secs(1);
    let calls = Calls::new(worker.clone(), Subjects::new("im"), second * 5, second * 5);
    Backlogs::start(calls, &Metrics::new(), &Vital::new(CancellationToken::new()))
}

fn session(user: i64) -> Arc<Outbox> {
    crate::testing::session(user, "pad", user)
}

fn read(backlogs: &Backlogs, session: &Arc<Outbox>) {
    let Sender { user, device, session: number, .. } = (*session.who).clone();
    let read = Backlog { user, device, session: number, limit: 256, after: Vec::new() };
    backlogs.read(session.clone(), read, Duration::ZERO);
}

/// Asks for so many users, and gives them in order.
fn ask(backlogs: &Backlogs, users: std::ops::RangeInclusive<i64>) -> Vec<Arc<Outbox>> {
    let sessions: Vec<_> = users.map(session).collect();
    sessions.iter().for_each(|session| read(backlogs, session));
    sessions
}

fn has_page(session: &Outbox) -> bool {
    session.take().items.iter().any(|item| matches!(item, Item::Page(Page::Read(..))))
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_calls_are_under_way_goes_out_as_one() {
    let worker = Arc::new(Worker::default());
    let backlogs = start(&worker);
    for user in 1..=CALLS as i64 {
        ask(&backlogs, user..=user);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let waiting = ask(&backlogs, 5..=7);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(worker.asked(), [vec![1], vec![2], vec![3], vec![4], vec![5, 6, 7]]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(waiting.iter().all(|session| has_page(session)));
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_read_ends_up_alone() {
    let worker = Arc::new(Worker { poison: Some(7), ..Worker::default() });
    let backlogs = start(&worker);
    let sessions = ask(&backlogs, 1..=16);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let without: Vec<i64> =
        sessions.iter().filter(|session| !has_page(session)).map(|session| session.who.user.0).collect();
    assert_eq!(without, [7]);
    let asked = worker.asked();
    assert!(asked.last().is_some_and(|users| *users == [7]) && asked.len() > 5, "{asked:?}");
    sessions[6].gone();
    let calls = worker.asked().len();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(worker.asked().len() <= calls + 1, "nobody asks for a session that is gone");
}

#[tokio::test(start_paused = true)]
async fn what_an_answer_had_no_room_for_is_asked_again_at_once() {
    let worker = Arc::new(Worker { room: Some(2), ..Worker::default() });
    let sessions = ask(&start(&worker), 1..=5);
    tokio::time::sleep(Duration::from_millis(3100)).await;
    assert_eq!(worker.asked(), [vec![1, 2, 3, 4, 5], vec![3, 4, 5], vec![5]]);
    assert!(sessions.iter().all(|session| has_page(session)));
}

#[tokio::test(start_paused = true)]
async fn reads_stay_together_while_nobody_is_there() {
    let worker = Arc::new(Worker { away: Mutex::new(60), ..Worker::default() });
    let backlogs = start(&worker);
    let sessions = ask(&backlogs, 1..=8);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(worker.asked(), [(1..=8).collect::<Vec<i64>>()]);
    assert!(sessions.iter().all(|session| has_page(session)));
}
