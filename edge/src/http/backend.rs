//! Who answers a call, and what becomes of a failure.

use std::sync::Arc;

use axum::http::StatusCode;
use futures::{FutureExt, future::BoxFuture};
use shared::{
    command::Code,
    rpc::{HttpCall, HttpReply},
};

use crate::{calls::CallError, context::Context, publisher::pressure::RETRY_AFTER};

/// Answers HTTP calls: the workers in earnest, a closure in tests.
pub trait Backend: Send + Sync + 'static {
    /// Has `call` (a name of the call table) answered.
    fn call<'a>(&'a self, call: &'static str, asked: HttpCall) -> BoxFuture<'a, Result<HttpReply, Failure>>;
}

/// The workers, unless the broker has more than it can take: then nobody is let in, nor given work to do.
impl Backend for Arc<Context> {
    fn call<'a>(&'a self, call: &'static str, asked: HttpCall) -> BoxFuture<'a, Result<HttpReply, Failure>> {
        async move {
            if self.publisher.is_held_up() {
                let reason = "expected the broker to take frames, found it full or away; try again";
                return Err(Failure { retry_after: Some(RETRY_AFTER), ..Failure::unavailable(reason) });
            }
            self.calls.http(call, &asked).await.map_err(Failure::from)
        }
        .boxed()
    }
}

/// A call that ends without a worker's own answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{status} {code}: {reason}")]
pub struct Failure {
    /// The HTTP status.
    pub status: StatusCode,
    /// For programs.
    pub code: Code,
    /// For people: what was expected, what was found. Never a value that could be a secret.
    pub reason: String,
    /// Seconds to wait before the next try, where one makes sense.
    pub retry_after: Option<u64>,
}

impl Failure {
    /// With the status that belongs to the code.
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(code.http()).unwrap_or(StatusCode::BAD_REQUEST);
        Self { status, code, reason: reason.into(), retry_after: None }
    }

    /// Something this needs is away: 503, and to be tried again in a second.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self { retry_after: Some(1), ..Self::new(Code::Unavailable, reason) }
    }

    /// An argument that is missing, unknown, doubled or out of range: 400.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::new(Code::Invalid, reason)
    }

    /// Bytes that cannot be read as what they claim to be: 400.
    pub fn malformed(reason: impl Into<String>) -> Self {
        Self::new(Code::Malformed, reason)
    }

    /// With another status than the code's own.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let failure = match &error {
            CallError::NoWorkers { .. } => {
                Self::unavailable("expected a worker to answer, found none; try again")
            }
            CallError::TimedOut { after, .. } => Self::unavailable(format!(
                "expected an answer within {} s, found none; the call may have been carried out",
                after.as_secs_f64()
            )),
            CallError::Away { .. } | CallError::Broken { .. } => {
                Self::unavailable("expected the broker to carry the call, found it failing; try again")
            }
            CallError::Refused { code, reason, .. } => match Code::parse(code) {
                Some(Code::Unavailable) | None => Self::unavailable(reason.clone()),
                Some(Code::RateLimited) => {
                    Self { retry_after: Some(1), ..Self::new(Code::RateLimited, reason.clone()) }
                }
                Some(code) => Self::new(code, reason.clone()),
            },
        };
        if failure.code == Code::Unavailable {
            tracing::warn!(%error, "an HTTP call has no answer");
        }
        failure
    }
}
