//! Questions to the workers, over NATS request and reply, each with a deadline.
//!
//! | module | holds |
//! |---|---|
//! | [`ask`] | one request and its reply: NATS in earnest, a closure in tests |
//! | [`backlogs`] | `session.backlog`, gathered likewise |
//! | [`logins`] | `session.numbers` and `session.connect`, gathered while the last calls are under way |
//! | [`notes`] | `session.cursor` and `session.close`, coalesced, tried until a worker has them |
//! | [`turns`] | when the next call leaves with what has gathered |

pub mod ask;
pub mod backlogs;
pub mod logins;
pub mod notes;
mod turns;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use serde::{Serialize, de::DeserializeOwned};
use shared::{
    command::Code,
    rpc::{self, HttpCall, HttpReply},
    subject::Subjects,
    telemetry::{self, Metric},
};
use tokio::time::{Instant, sleep_until};

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
    attempt: Duration,
}

impl Calls {
    /// Calls over `ask`, with the deadlines of ordinary and of HTTP calls.
    pub fn new(ask: Arc<dyn Ask>, subjects: Subjects, timeout: Duration, http_timeout: Duration) -> Self {
        Self { ask, subjects, timeout, http_timeout, attempt: Duration::MAX }
    }

    /// A call that may be carried out twice and that nobody has answered for `attempt` is put to another worker, and
    /// again after ever longer waits: a worker that hangs keeps what it was handed.
    pub fn with_attempts(self, attempt: Duration) -> Self {
        Self { attempt, ..self }
    }

    /// An HTTP call (`account.login`) with the HTTP deadline.
    ///
    /// # Errors
    /// [`CallError`]; a call that a worker has answered with a failure of its own is an [`HttpReply`] all the same.
    pub async fn http(&self, call: &'static str, req: &HttpCall) -> Result<HttpReply, CallError> {
        let reply = self.patiently(call, None, rpc::to_vec(req), self.http_timeout, HTTP_PATIENCE).await?;
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

    /// As [`Calls::call`], of a worker that has just answered; of another one if that does not.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call_at<Req: Serialize, Rep: DeserializeOwned>(
        &self,
        worker: &str,
        call: &'static str,
        req: &Req,
        deadline: Duration,
    ) -> Result<Rep, CallError> {
        let at = Some(self.subjects.at(worker, call));
        read(call, &self.patiently(call, at, rpc::to_vec(req), deadline, deadline).await?)
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
        self.patiently(call, None, request, deadline, deadline).await
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

    /// Asks until there is an answer, first on the subject `at` if there is one. While no worker can be found that takes the call, again and again for `patience`;
    /// of a repeatable call once more after each attempt's time. Who was asked before is still listened to: a worker that
    /// is only slow gets to answer.
    async fn patiently(
        &self,
        call: &'static str,
        mut at: Option<String>,
        request: Vec<u8>,
        deadline: Duration,
        patience: Duration,
    ) -> Result<Reply, CallError> {
        let (began, request) = (Instant::now(), Bytes::from(request));
        let mut attempt = rpc::repeatable(call).then_some(self.attempt);
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
        let mut asked = FuturesUnordered::new();
        let mut due = Some(began);
        let result = loop {
            tokio::select! {
                biased;
                Some(result) = asked.next() => match result {
                    Err(error) if CallError::can_be_repeated(&error) => {
                        let pause = backoff.pause();
                        if began.elapsed() + pause < patience.min(deadline) {
                            due = Some(Instant::now() + pause);
                        } else if asked.is_empty() {
                            break Err(error);
                        }
                    }
                    result => break result,
                },
                () = sleep_until(due.unwrap_or(began)), if due.is_some() => {
                    let left = deadline.saturating_sub(began.elapsed());
                    let at = at.take().or_else(|| asked.is_empty().then(|| self.subjects.rpc(call)));
                    asked.push(self.attempt(call, at, request.clone(), left));
                    // Never at the deadline itself: what is not repeatable is asked once.
                    due = attempt.filter(|attempt| *attempt < left).map(|attempt| Instant::now() + attempt);
                    attempt = attempt.map(|attempt| attempt.saturating_mul(3) / 2);
                }
            }
        };
        telemetry::observe(Metric::EdgeRpcSeconds, &[("call", call)], began.elapsed().as_secs_f64());
        result
    }

    /// One request, on the subject `at`; without one, to the first worker that says it is there, since the one that was
    /// handed the call before may hang.
    async fn attempt(
        &self,
        call: &'static str,
        at: Option<String>,
        request: Bytes,
        left: Duration,
    ) -> Result<Reply, CallError> {
        let began = Instant::now();
        let subject = match at {
            Some(at) => at,
            None => {
                tracing::debug!(call, "no answer yet: another worker is asked");
                let found = self.ask.ask(self.subjects.who(), Bytes::new(), left).await;
                let found = found.ok().and_then(|reply| reply.worker);
                found.map_or_else(|| self.subjects.rpc(call), |worker| self.subjects.at(&worker, call))
            }
        };
        self.once(call, subject, request, left.saturating_sub(began.elapsed())).await
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
mod tests;
