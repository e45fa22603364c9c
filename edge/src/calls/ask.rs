//! One request and its reply.

use std::time::Duration;

use async_nats::{client::RequestErrorKind, connection::State};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use shared::rpc;

/// Carries requests: the broker's client, or a fake in tests.
pub trait Ask: Send + Sync + 'static {
    /// Sends `request` and awaits its reply.
    fn ask(
        &self,
        subject: String,
        request: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Reply, AskError>>;
}

/// What came back.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// The reply, or the reason of a failure.
    pub payload: Bytes,
    /// The failure's code, from [`rpc::ERROR_HEADER`].
    pub error: Option<String>,
    /// Who replied, from [`rpc::WORKER_HEADER`].
    pub worker: Option<String>,
}

/// Nothing came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The subject has no subscriber.
    #[error("expected a subscriber, found none")]
    NobodyThere,
    /// There is no connection to send on.
    #[error("expected a connection to NATS, found none")]
    Away,
    /// The deadline has passed.
    #[error("expected a reply in time, found none")]
    TimedOut,
    /// The request could not be sent.
    #[error("{0}")]
    Broken(String),
}

impl Ask for async_nats::Client {
    fn ask(
        &self,
        subject: String,
        request: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Reply, AskError>> {
        async move {
            // Its client would keep the request and send it once NATS is back, when nobody waits for it any more.
            if self.connection_state() != State::Connected {
                return Err(AskError::Away);
            }
            let request = async_nats::Request::new().payload(request).timeout(Some(deadline));
            let message = self.send_request(subject, request).await.map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => AskError::NobodyThere,
                RequestErrorKind::TimedOut => AskError::TimedOut,
                _ => AskError::Broken(error.to_string()),
            })?;
            let header = |name: &str| {
                let headers = message.headers.as_ref()?;
                Some(headers.get(name)?.as_str().to_owned())
            };
            let (error, worker) = (header(rpc::ERROR_HEADER), header(rpc::WORKER_HEADER));
            Ok(Reply { payload: message.payload, error, worker })
        }
        .boxed()
    }
}
