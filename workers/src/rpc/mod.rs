//! The answers to the edges' calls.
//!
//! | module | holds |
//! |---|---|
//! | [`session`] | `session.numbers`, `.connect`, `.register`, `.close` |
//! | [`cursor`] | `session.cursor`: acknowledgements, read positions, receipts |
//! | [`backlog`] | `session.backlog`: what a device has not been sent |
//! | [`counter`] | taking calls in and answering them |
//! | [`http`] | the HTTP calls' common part: who calls, arguments, answers |
//! | [`people`], [`talks`], [`offline`] | the `api.*` calls; [`crate::account`] has the rest |
//! | [`tell`] | deliveries that a call brings about |

pub mod backlog;
pub mod counter;
pub mod cursor;
pub mod http;
pub mod offline;
pub mod people;
pub mod session;
pub mod talks;
pub mod tell;

use std::sync::Arc;

use async_nats::{Client, SubscribeError};
use serde::{Serialize, de::DeserializeOwned};
use shared::{
    command::{self, Code},
    rpc,
    subject::Subjects,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::counter::Counter;
use crate::{
    account::Hashers,
    config::WorkerConfig,
    delivery::Deliveries,
    directory::Directory,
    nodes::Nodes,
    store::{Pool, StoreError},
};

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
    /// This start of this worker, by which it can be called itself.
    pub name: String,
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

/// Answers calls until shutdown, then those that have already come: calls for any worker, and those for this one, which
/// an edge makes that has asked `who` is there. At most `[rpc] concurrency` at a time; more wait in the subscriptions,
/// then at the broker.
///
/// # Errors
/// When a subscription cannot be made.
pub async fn serve(
    nats: Client,
    subjects: Subjects,
    desk: Desk,
    shutdown: CancellationToken,
) -> Result<(), SubscribeError> {
    let hashers = Hashers::new(&desk.config.account);
    let tell = tell::Tell::new(desk.deliveries.clone(), desk.nodes.clone());
    let permits = Arc::new(Semaphore::new(desk.config.rpc.concurrency));
    // Two workers may have one name, and none may be taken for one that it was before.
    let random = getrandom::u32().unwrap_or_else(|_| std::process::id());
    let name = format!("{}-{random:08x}", desk.config.worker.name);
    let any = nats.queue_subscribe(subjects.rpc_all(), Subjects::WORKERS.into()).await?;
    let own = nats.subscribe(subjects.at_all(&name)).await?;
    let who = nats.subscribe(subjects.who()).await?;
    let calls = Arc::new(Calls { name, desk, hashers, tell });
    let counter = Counter { nats, subjects, calls, permits };
    tokio::join!(
        counter.serve(any, shutdown.clone()),
        counter.serve(own, shutdown.clone()),
        counter.serve(who, shutdown)
    );
    Ok(())
}

/// The call's name as the tables have it, so that a metric's label is one of few.
fn known(asked: &str) -> &'static str {
    let session = rpc::SESSION_CALLS.into_iter().find(|name| *name == asked);
    session.or_else(|| command::call(asked).map(|call| call.name)).unwrap_or("unknown")
}

/// A reply's payload.
async fn dispatch(calls: &Calls, name: &'static str, payload: &[u8]) -> Result<Vec<u8>, Fault> {
    match name {
        "session.numbers" => session::numbers(calls, read(payload)?).await.map(toml),
        "session.connect" => session::connect(calls, read(payload)?).await.map(toml),
        "session.register" => session::register(calls, read(payload)?).await.map(toml),
        "session.close" => session::close(calls, read(payload)?).await.map(toml),
        "session.seen" => session::seen(calls, read(payload)?).await.map(toml),
        "session.cursor" => cursor::cursor(calls, read(payload)?).await.map(toml),
        "session.backlog" => backlog::backlog(calls, read(payload)?).await,
        "unknown" => Err(Fault::refused(Code::Unknown, "expected a call of the table, found another name")),
        name => http::answer(calls, name, read(payload)?).await.map(toml),
    }
}

fn toml<T: Serialize>(value: T) -> Vec<u8> {
    rpc::to_vec(&value)
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
        for call in rpc::SESSION_CALLS {
            assert_eq!(known(call), call);
        }
        assert_eq!(known("session.steal"), "unknown");
    }
}
