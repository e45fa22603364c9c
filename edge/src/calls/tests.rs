//! Calls against workers that hang, are slow, or say no.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use futures::{FutureExt, future::BoxFuture};

use super::*;

/// What a worker does with a request.
#[derive(Debug, Clone)]
enum Does {
    /// It has hung.
    Nothing,
    /// It answers after this time, with its own words.
    Answers(Duration, &'static str),
    /// It cannot now.
    Refuses,
    /// There is none.
    Nobody,
}

/// Workers that do one thing a request, in order, and hang after that. Whoever asks who is there hears of `w2-1`.
#[derive(Debug)]
struct Workers {
    begun: Instant,
    does: Mutex<VecDeque<Does>>,
    /// The subjects of the requests.
    subjects: Mutex<Vec<String>>,
    /// When each request came, milliseconds.
    asked: Mutex<Vec<u128>>,
}

impl Workers {
    fn that(does: impl IntoIterator<Item = Does>) -> Arc<Self> {
        let does = Mutex::new(does.into_iter().collect());
        Arc::new(Self { begun: Instant::now(), does, subjects: Mutex::default(), asked: Mutex::default() })
    }

    fn calls(self: &Arc<Self>) -> Calls {
        let second = Duration::from_secs(1);
        Calls::new(self.clone(), Subjects::new("im"), second * 5, second * 10).with_attempts(second)
    }

    fn asked(&self) -> Vec<u128> {
        lock(&self.asked).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ask for Workers {
    fn ask(&self, subject: String, _: Bytes, deadline: Duration) -> BoxFuture<'_, Result<Reply, AskError>> {
        if subject == "im.who" {
            let here = Reply { worker: Some("w2-1".to_owned()), ..Reply::default() };
            return async move { Ok(here) }.boxed();
        }
        lock(&self.subjects).push(subject);
        lock(&self.asked).push(self.begun.elapsed().as_millis());
        let does = lock(&self.does).pop_front().unwrap_or(Does::Nothing);
        async move {
            match does {
                Does::Nothing => {
                    tokio::time::sleep(deadline).await;
                    Err(AskError::TimedOut)
                }
                Does::Answers(after, what) => {
                    tokio::time::sleep(after).await;
                    Ok(Reply { payload: Bytes::from_static(what.as_bytes()), ..Reply::default() })
                }
                Does::Refuses => Ok(Reply { error: Some("unavailable".to_owned()), ..Reply::default() }),
                Does::Nobody => Err(AskError::NobodyThere),
            }
        }
        .boxed()
    }
}

async fn raw(calls: &Calls, call: &'static str) -> Result<String, CallError> {
    let reply = calls.raw(call, Vec::new(), calls.timeout()).await?;
    Ok(String::from_utf8(reply.payload.to_vec()).unwrap())
}

const SOON: Duration = Duration::from_millis(3);

#[tokio::test(start_paused = true)]
async fn a_call_that_a_hung_worker_has_is_put_to_one_that_is_there() {
    let workers = Workers::that([Does::Nothing, Does::Nothing, Does::Answers(SOON, "here")]);
    assert_eq!(raw(&workers.calls(), "session.connect").await.unwrap(), "here");
    assert_eq!(workers.asked(), [0, 1000, 2500]);
    assert_eq!(workers.begun.elapsed().as_millis(), 2503);
    let own = "im.at.w2-1.session.connect";
    assert_eq!(*lock(&workers.subjects), ["im.rpc.session.connect", own, own]);
}

#[tokio::test(start_paused = true)]
async fn attempts_grow_and_end_with_the_deadline() {
    let workers = Workers::that([]);
    let error = raw(&workers.calls(), "session.backlog").await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut { .. }), "{error}");
    assert_eq!(workers.asked(), [0, 1000, 2500, 4750]);
    assert_eq!(workers.begun.elapsed().as_millis(), 5000);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_done_twice_is_asked_once() {
    for call in ["account.login", "api.logout", "api.offline", "api.offline_clear", "account.register"] {
        let workers = Workers::that([]);
        let error = raw(&workers.calls(), call).await.unwrap_err();
        assert!(matches!(error, CallError::TimedOut { .. }), "{call}: {error}");
        assert_eq!(workers.asked(), [0], "{call}");
    }
    for call in ["session.numbers", "session.cursor", "session.close", "session.register", "api.history"] {
        let workers = Workers::that([]);
        raw(&workers.calls(), call).await.unwrap_err();
        assert_eq!(workers.asked().len(), 4, "{call}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_only_slow_is_heard() {
    let workers = Workers::that([Does::Answers(Duration::from_millis(1200), "slow"), Does::Nothing]);
    assert_eq!(raw(&workers.calls(), "session.backlog").await.unwrap(), "slow");
    assert_eq!(workers.asked(), [0, 1000]);
    assert_eq!(workers.begun.elapsed().as_millis(), 1200);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_has_just_answered_is_asked_first_and_any_other_after_it() {
    for (does, second) in
        [(Does::Nobody, "im.rpc.session.connect"), (Does::Nothing, "im.at.w2-1.session.connect")]
    {
        let workers = Workers::that([does, Does::Answers(SOON, "")]);
        let calls = workers.calls();
        let done = calls.call_at::<_, rpc::Done>("w1-1", "session.connect", &rpc::Done {}, calls.timeout());
        done.await.unwrap();
        assert_eq!(*lock(&workers.subjects), ["im.at.w1-1.session.connect", second]);
    }
}

/// A refusal while another request is open: the one is tried again, the other still listened to.
#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_end_what_another_worker_may_answer() {
    let slow = Does::Answers(Duration::from_millis(1010), "slow");
    for second in [Does::Refuses, Does::Nobody] {
        let workers = Workers::that([slow.clone(), second]);
        assert_eq!(raw(&workers.calls(), "session.close").await.unwrap(), "slow");
        let workers = Workers::that([Does::Nothing, Does::Refuses, Does::Answers(SOON, "another")]);
        assert_eq!(raw(&workers.calls(), "session.close").await.unwrap(), "another");
        assert!(workers.begun.elapsed() < Duration::from_millis(1100), "{:?}", workers.asked());
    }
}

#[tokio::test(start_paused = true)]
async fn without_workers_a_call_is_tried_until_its_deadline() {
    let workers = Workers::that(std::iter::repeat_n(Does::Nobody, 1000));
    let error = raw(&workers.calls(), "session.numbers").await.unwrap_err();
    assert!(matches!(error, CallError::NoWorkers { .. }), "{error}");
    assert!(workers.asked().len() > 10 && workers.begun.elapsed() <= Duration::from_secs(5));
}

/// What fails may be logged, and a reply to a login holds a token.
#[test]
fn an_unreadable_reply_is_not_repeated() {
    let cut = "status = 200\n[[body.response]]\nuser = { token = \"s3cret\"";
    for payload in [cut, "[body]\ntoken = \"s3cret\"", "s3cret"] {
        let reply = Reply { payload: Bytes::from(payload), ..Reply::default() };
        let error = read::<HttpReply>("account.login", &reply).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
    }
}
