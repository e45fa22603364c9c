//! The answers to the edges' calls.
//!
//! | module | holds |
//! |---|---|
//! | [`session`] | `session.connect`, `.register`, `.close` |
//! | [`cursor`] | `session.cursor`: acknowledgements, read positions, receipts |
//! | [`backlog`] | `session.backlog`: what a device has not been sent |
//! | [`http`] | the HTTP calls' common part: who calls, arguments, answers |
//! | [`people`], [`talks`], [`offline`] | the `api.*` calls; [`crate::account`] has the rest |
//! | [`tell`] | deliveries that a call brings about |

pub mod backlog;
pub mod cursor;
pub mod http;
pub mod offline;
pub mod people;
pub mod session;
pub mod talks;
pub mod tell;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration, time::Instant};

use async_nats::{Client, HeaderMap, Message, SubscribeError};
use futures::{FutureExt, StreamExt};
use serde::{Serialize, de::DeserializeOwned};
use shared::{
    command::{self, Code},
    rpc::{self, ERROR_HEADER, MORE_HEADER},
    subject::Subjects,
    telemetry::Metric,
};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    account::Hashers,
    config::WorkerConfig,
    delivery::Deliveries,
    directory::Directory,
    nodes::Nodes,
    store::{Pool, StoreError},
};

/// Nobody waits longer for an answer than this.
const DEADLINE: Duration = Duration::from_secs(10);

/// Bodies in one answer, bytes: what the broker carries in one message, with room for the rest.
pub(crate) const ANSWER_BYTES: usize = 512 * 1024;

/// What answers are made from.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named by their types")]
pub struct Desk {
    pub pool: Pool,
    pub directory: Directory,
    pub deliveries: Deliveries,
    pub nodes: Nodes,
    pub config: Arc<WorkerConfig>,
}

/// Everything that a call may use.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    pub desk: Desk,
    pub hashers: Hashers,
    pub tell: tell::Tell,
}

/// Why a call has no answer of its own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The caller's fault, or a rule's.
    #[error("{code}: {reason}")]
    Refused {
        code: Code,
        reason: String,
        /// Seconds.
        retry_after: Option<u64>,
    },
    /// PostgreSQL failed; the edge tries again, here or with another worker.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something else is down for now.
    #[error("{0}")]
    Unavailable(String),
}

impl Fault {
    pub fn refused(code: Code, reason: impl Into<String>) -> Self {
        Self::Refused { code, reason: reason.into(), retry_after: None }
    }

    /// As it stands in a reply's header.
    fn code(&self) -> Code {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Store(_) | Self::Unavailable(_) => Code::Unavailable,
        }
    }
}

/// A reply's payload, and whether there is more to ask for.
pub(crate) struct Answer {
    pub payload: Vec<u8>,
    pub more: bool,
}

impl Answer {
    fn of<T: Serialize>(value: &T) -> Self {
        Self { payload: rpc::to_vec(value), more: false }
    }
}

/// Answers calls until shutdown, then those that have already come. At most `[rpc] concurrency` at a time; more wait in
/// the subscription, then at the broker.
///
/// # Errors
/// When the subscription cannot be made.
pub async fn serve(
    nats: Client,
    subjects: Subjects,
    desk: Desk,
    shutdown: CancellationToken,
) -> Result<(), SubscribeError> {
    let hashers = Hashers::new(&desk.config.account);
    let tell = tell::Tell::new(desk.deliveries.clone(), desk.nodes.clone());
    let permits = Arc::new(Semaphore::new(desk.config.rpc.concurrency));
    let calls = Arc::new(Calls { desk, hashers, tell });
    let mut incoming = nats.queue_subscribe(subjects.rpc_all(), Subjects::WORKERS.into()).await?;
    let mut running = JoinSet::new();
    let mut draining = false;
    loop {
        while running.try_join_next().is_some() {}
        let Ok(permit) = permits.clone().acquire_owned().await else { break };
        let message = tokio::select! {
            message = incoming.next() => message,
            () = shutdown.cancelled(), if !draining => {
                draining = true;
                if let Err(error) = incoming.drain().await {
                    tracing::warn!(%error, "calls that had already come may go unanswered");
                }
                continue;
            }
        };
        let Some(message) = message else { break };
        let (nats, subjects, calls) = (nats.clone(), subjects.clone(), calls.clone());
        running.spawn(async move {
            answer(&nats, &subjects, &calls, message).await;
            drop(permit);
        });
    }
    while running.join_next().await.is_some() {}
    Ok(())
}

async fn answer(nats: &Client, subjects: &Subjects, calls: &Calls, message: Message) {
    let Some(reply) = message.reply else { return };
    let asked = subjects.rpc_call(&message.subject).unwrap_or_default();
    let begun = Instant::now();
    let name = known(asked);
    let working = AssertUnwindSafe(dispatch(calls, name, &message.payload)).catch_unwind();
    let done = match tokio::time::timeout(DEADLINE, working).await {
        Ok(Ok(done)) => done,
        Ok(Err(_panic)) => {
            tracing::error!(call = name, "a call panicked; its caller is told to try again");
            Err(Fault::Unavailable("the call failed in the worker".to_owned()))
        }
        Err(_) => Err(Fault::Unavailable(format!("the call took longer than {DEADLINE:?}"))),
    };
    Metric::WorkerRpcSeconds.histogram(&[("call", name)]).record(begun.elapsed());
    let ok = !matches!(done, Err(Fault::Store(_) | Fault::Unavailable(_)));
    Metric::WorkerRpcCalls
        .counter(&[("call", name), ("result", if ok { "ok" } else { "error" })])
        .increment(1);
    let mut headers = HeaderMap::new();
    let payload = match done {
        Ok(answer) => {
            if answer.more {
                headers.insert(MORE_HEADER, "1");
            }
            answer.payload
        }
        Err(fault) => {
            log(name, &fault);
            headers.insert(ERROR_HEADER, fault.code().as_str());
            fault.to_string().into_bytes()
        }
    };
    if let Err(error) = nats.publish_with_headers(reply, headers, payload.into()).await {
        tracing::warn!(call = name, %error, "an answer was not sent");
    }
}

fn log(call: &str, fault: &Fault) {
    match fault {
        Fault::Store(error) if !error.retry() => {
            Metric::WorkerStoreErrors.counter(&[]).increment(1);
            tracing::error!(call, error = error as &dyn std::error::Error, "a call failed");
        }
        Fault::Store(error) => {
            Metric::WorkerStoreErrors.counter(&[]).increment(1);
            tracing::warn!(call, %error, "a call failed; it is tried again");
        }
        Fault::Unavailable(reason) => tracing::warn!(call, reason, "a call failed; it is tried again"),
        Fault::Refused { .. } => tracing::debug!(call, %fault, "a call was refused"),
    }
}

/// The call's name as the tables have it, so that a metric's label is one of few.
fn known(asked: &str) -> &'static str {
    const SESSION: [&str; 5] =
        ["session.connect", "session.register", "session.close", "session.cursor", "session.backlog"];
    let session = SESSION.into_iter().find(|name| *name == asked);
    session.or_else(|| command::call(asked).map(|call| call.name)).unwrap_or("unknown")
}

async fn dispatch(calls: &Calls, name: &'static str, payload: &[u8]) -> Result<Answer, Fault> {
    match name {
        "session.connect" => session::connect(calls, read(payload)?).await.map(|done| Answer::of(&done)),
        "session.register" => session::register(calls, read(payload)?).await.map(|done| Answer::of(&done)),
        "session.close" => session::close(calls, read(payload)?).await.map(|done| Answer::of(&done)),
        "session.cursor" => cursor::cursor(calls, read(payload)?).await.map(|done| Answer::of(&done)),
        "session.backlog" => backlog::backlog(calls, read(payload)?).await,
        "unknown" => Err(Fault::refused(Code::Unknown, "expected a call of the table, found another name")),
        name => http::answer(calls, name, read(payload)?).await.map(|done| Answer::of(&done)),
    }
}

fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Fault> {
    // The payload may hold a password: only the parser's own words are passed on, not the line.
    rpc::from_slice(payload).map_err(|error| Fault::refused(Code::Malformed, error.message().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_of_the_table_is_known_and_nothing_else() {
        for call in command::CALLS {
            assert_eq!(known(call.name), call.name);
        }
        assert_eq!(known("session.backlog"), "session.backlog");
        assert_eq!(known("session.steal"), "unknown");
    }
}
