//! Questions to the workers, over NATS request and reply, each with a deadline.
//!
//! | module | holds |
//! |---|---|
//! | [`ask`] | one request and its reply: NATS in earnest, a closure in tests |
//! | [`logins`] | `session.connect`, gathered while the last calls are under way |
//! | [`notes`] | `session.cursor` and `session.close`, coalesced, tried until a worker has them |

pub mod ask;
pub mod logins;
pub mod notes;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use shared::{
    command::Code,
    rpc::{self, HttpCall, HttpReply},
    subject::Subjects,
    telemetry::{self, Metric},
};

use self::ask::{Ask, AskError, Reply};
use crate::backoff::Backoff;

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// Nobody listens: try again later.
    #[error("no worker answers the call {call}")]
    NoWorkers {
        /// Which call.
        call: &'static str,
    },
    /// Nobody answered within the deadline; the call may have been carried out.
    #[error("no answer to the call {call} within {after:?}")]
    TimedOut {
        /// Which call.
        call: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// A worker said no: with `unavailable` try again, with any other code give up.
    #[error("the call {call} was refused with {code}: {reason}")]
    Refused {
        /// Which call.
        call: &'static str,
        /// A [`Code`] as text.
        code: String,
        /// For people.
        reason: String,
    },
    /// The broker is away, so that nothing was sent: try again later.
    #[error("the call {call} was not sent: expected a connection to NATS, found none")]
    Away {
        /// Which call.
        call: &'static str,
    },
    /// The broker failed, or the answer cannot be read: try again later.
    #[error("the call {call} failed: {reason}")]
    Broken {
        /// Which call.
        call: &'static str,
        /// What was expected and what was found.
        reason: String,
    },
}

impl CallError {
    /// Whether the call has certainly not been carried out and may be by another worker, or a moment later.
    fn can_be_repeated(&self) -> bool {
        match self {
            Self::NoWorkers { .. } | Self::Away { .. } => true,
            Self::Refused { code, .. } => code == Code::Unavailable.as_str(),
            Self::TimedOut { .. } | Self::Broken { .. } => false,
        }
    }
}

/// How long an HTTP call waits for workers that are away: short, since its client can try again by itself.
const HTTP_PATIENCE: Duration = Duration::from_secs(1);

/// Makes calls. Cheap to clone.
#[derive(Clone)]
pub struct Calls {
    ask: Arc<dyn Ask>,
    subjects: Subjects,
    timeout: Duration,
    http_timeout: Duration,
}

impl Calls {
    /// Calls over `ask`, with the deadlines of ordinary and of HTTP calls.
    pub fn new(ask: Arc<dyn Ask>, subjects: Subjects, timeout: Duration, http_timeout: Duration) -> Self {
        Self { ask, subjects, timeout, http_timeout }
    }

    /// An HTTP call (`account.login`) with the HTTP deadline.
    ///
    /// # Errors
    /// [`CallError`]; a call that a worker has answered with a failure of its own is an [`HttpReply`] all the same.
    pub async fn http(&self, call: &'static str, req: &HttpCall) -> Result<HttpReply, CallError> {
        let reply = self.patiently(call, rpc::to_vec(req), self.http_timeout, HTTP_PATIENCE).await?;
        read(call, &reply)
    }

    /// The deadline of ordinary calls.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Any call whose request and reply are TOML.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call<Req: Serialize, Rep: DeserializeOwned>(
        &self,
        call: &'static str,
        req: &Req,
        deadline: Duration,
    ) -> Result<Rep, CallError> {
        read(call, &self.raw(call, rpc::to_vec(req), deadline).await?)
    }

    /// Any call, with the reply as it came. Tries again within the deadline while workers are away.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn raw(
        &self,
        call: &'static str,
        request: Vec<u8>,
        deadline: Duration,
    ) -> Result<Reply, CallError> {
        self.patiently(call, request, deadline, deadline).await
    }

    /// One request to any subject, asked once.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn once(
        &self,
        call: &'static str,
        subject: String,
        request: Bytes,
        deadline: Duration,
    ) -> Result<Reply, CallError> {
        let asked = tokio::time::timeout(deadline, self.ask.ask(subject, request, deadline)).await;
        let result = match asked {
            Ok(Ok(Reply { error: Some(code), payload, .. })) => {
                let reason = String::from_utf8_lossy(&payload).into_owned();
                Err(CallError::Refused { call, code, reason })
            }
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(AskError::NobodyThere)) => Err(CallError::NoWorkers { call }),
            Ok(Err(AskError::Away)) => Err(CallError::Away { call }),
            Ok(Err(AskError::Broken(reason))) => Err(CallError::Broken { call, reason }),
            Ok(Err(AskError::TimedOut)) | Err(_) => Err(CallError::TimedOut { call, after: deadline }),
        };
        let outcome = if result.is_ok() { "ok" } else { "error" };
        telemetry::count(Metric::EdgeRpcCalls, &[("call", call), ("result", outcome)], 1);
        result
    }

    async fn patiently(
        &self,
        call: &'static str,
        request: Vec<u8>,
        deadline: Duration,
        patience: Duration,
    ) -> Result<Reply, CallError> {
        let (began, request) = (Instant::now(), Bytes::from(request));
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
        loop {
            let left = deadline.saturating_sub(began.elapsed());
            let result = self.once(call, self.subjects.rpc(call), request.clone(), left).await;
            let pause = backoff.pause();
            let again = result.as_ref().is_err_and(CallError::can_be_repeated);
            if !again || began.elapsed() + pause >= patience.min(deadline) {
                telemetry::observe(Metric::EdgeRpcSeconds, &[("call", call)], began.elapsed().as_secs_f64());
                return result;
            }
            tokio::time::sleep(pause).await;
        }
    }
}

fn read<Rep: DeserializeOwned>(call: &'static str, reply: &Reply) -> Result<Rep, CallError> {
    // The reply may hold a token: only the parser's own words are passed on, not the line.
    rpc::from_slice(&reply.payload).map_err(|error| CallError::Broken {
        call,
        reason: format!("expected this call's reply, found: {}", error.message()),
    })
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
