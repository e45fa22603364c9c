//! Questions to the workers, over NATS request and reply, each with a deadline.

use std::{sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use shared::{
    rpc::{self, HttpCall, HttpReply},
    subject::Subjects,
};

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
        /// A [`shared::command::Code`] as text.
        code: String,
        /// For people.
        reason: String,
    },
    /// The broker is away, or the answer cannot be read: try again later.
    #[error("the call {call} failed: {reason}")]
    Broken {
        /// Which call.
        call: &'static str,
        /// What was expected and what was found.
        reason: String,
    },
}

/// Makes calls. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Calls {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: async_nats::Client,
    subjects: Subjects,
    timeout: Duration,
    http_timeout: Duration,
}

impl Calls {
    /// Calls over `client`, with the deadlines of ordinary and of HTTP calls.
    pub fn new(
        client: async_nats::Client,
        subjects: Subjects,
        timeout: Duration,
        http_timeout: Duration,
    ) -> Self {
        Self { inner: Arc::new(Inner { client, subjects, timeout, http_timeout }) }
    }

    /// An HTTP call (`account.login`) with the HTTP deadline.
    ///
    /// # Errors
    /// [`CallError`]; a call that a worker has answered with a failure of its own is an [`HttpReply`] all the same.
    pub async fn http(&self, call: &'static str, req: &HttpCall) -> Result<HttpReply, CallError> {
        self.call(call, req, self.inner.http_timeout).await
    }

    /// The deadline of ordinary calls.
    pub fn timeout(&self) -> Duration {
        self.inner.timeout
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
        let message = self.raw(call, rpc::to_vec(req), deadline).await?;
        rpc::from_slice(&message.payload).map_err(|error| CallError::Broken {
            call,
            reason: format!("expected this call's reply, found: {error}"),
        })
    }

    /// Any call, with the reply as it came.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn raw(
        &self,
        call: &'static str,
        request: Vec<u8>,
        deadline: Duration,
    ) -> Result<async_nats::Message, CallError> {
        self.ask(call, self.inner.subjects.rpc(call), request, deadline).await
    }

    /// A request to any subject, read as a call's reply.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn ask(
        &self,
        call: &'static str,
        subject: String,
        request: Vec<u8>,
        deadline: Duration,
    ) -> Result<async_nats::Message, CallError> {
        use async_nats::client::RequestErrorKind;
        let asked = self.inner.client.send_request(
            subject,
            async_nats::Request::new().payload(request.into()).timeout(Some(deadline)),
        );
        let message = match tokio::time::timeout(deadline, asked).await {
            Ok(Ok(message)) => message,
            Ok(Err(error)) => {
                return Err(match error.kind() {
                    RequestErrorKind::NoResponders => CallError::NoWorkers { call },
                    RequestErrorKind::TimedOut => CallError::TimedOut { call, after: deadline },
                    _ => CallError::Broken { call, reason: error.to_string() },
                });
            }
            Err(_) => return Err(CallError::TimedOut { call, after: deadline }),
        };
        match message.headers.as_ref().and_then(|headers| headers.get(rpc::ERROR_HEADER)) {
            None => Ok(message),
            Some(code) => Err(CallError::Refused {
                call,
                code: code.as_str().to_owned(),
                reason: String::from_utf8_lossy(&message.payload).into_owned(),
            }),
        }
    }
}
