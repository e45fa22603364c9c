//! Requests whose sending is ordered and whose replies are awaited later.
//!
//! The broker client's own `request` sends when its future is first polled; deliveries must be sent in the order of the
//! chunks, so sending and awaiting are two steps here, over one inbox a process.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, HeaderMap, PublishError, StatusCode, SubscribeError};
use bytes::Bytes;
use futures::StreamExt;
use shared::{
    rpc::{ACCEPTED_HEADER, BATCH_HEADER},
    telemetry::Moment,
};
use tokio::sync::oneshot;

/// Why there is no confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unconfirmed {
    /// Nobody listens on the subject.
    #[error("nobody listens there")]
    Absent,
    /// No reply within the time-out.
    #[error("no reply in time")]
    Late,
}

impl Unconfirmed {
    /// As a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "unreachable",
            Self::Late => "timeout",
        }
    }
}

/// The waiting replies of one process. Bounded by the chunks under way times the nodes.
#[derive(Debug, Clone)]
pub struct Confirmations {
    client: Client,
    inbox: Arc<str>,
    /// This start of this process, to the nodes.
    sender: Arc<str>,
    waiting: Arc<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: AtomicU64,
    replies: Mutex<HashMap<u64, oneshot::Sender<bool>>>,
}

impl Waiting {
    fn take(&self, number: u64) -> Option<oneshot::Sender<bool>> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner).remove(&number)
    }
}

/// A reply to come. Dropping it forgets it.
#[derive(Debug)]
pub struct Reply {
    number: u64,
    received: oneshot::Receiver<bool>,
    waiting: Arc<Waiting>,
}

impl Reply {
    /// Waits for the confirmation.
    ///
    /// # Errors
    /// [`Unconfirmed`].
    pub async fn within(mut self, timeout: Duration) -> Result<(), Unconfirmed> {
        match tokio::time::timeout(timeout, &mut self.received).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Unconfirmed::Absent),
            Ok(Err(_)) | Err(_) => Err(Unconfirmed::Late),
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        drop(self.waiting.take(self.number));
    }
}

impl Confirmations {
    /// Opens the inbox. Its task ends with the client.
    ///
    /// # Errors
    /// When the broker client is closed.
    pub async fn open(client: Client) -> Result<Self, SubscribeError> {
        let inbox: Arc<str> = client.new_inbox().into();
        let sender = inbox.rsplit('.').next().unwrap_or(&inbox).into();
        let mut replies = client.subscribe(format!("{inbox}.*")).await?;
        let waiting = Arc::<Waiting>::default();
        let (prefix, table) = (format!("{inbox}."), waiting.clone());
        tokio::spawn(async move {
            while let Some(message) = replies.next().await {
                let number =
                    message.subject.strip_prefix(prefix.as_str()).and_then(|number| number.parse().ok());
                if let Some(reply) = number.and_then(|number| table.take(number)) {
                    let confirmed = message.status != Some(StatusCode::NO_RESPONDERS);
                    if reply.send(confirmed).is_err() {
                        tracing::trace!("a confirmation came after its waiter had gone");
                    }
                }
            }
        });
        Ok(Self { client, inbox, sender, waiting })
    }

    /// Sends, in the order of the calls. `place`: the how-manieth of this process to that subject, and when the oldest
    /// frame was accepted of which it came.
    ///
    /// # Errors
    /// When the broker client is closed or the payload is over its limit.
    pub async fn request(
        &self,
        subject: &str,
        (place, accepted): (u64, Option<Moment>),
        payload: Bytes,
    ) -> Result<Reply, PublishError> {
        let mut headers = HeaderMap::new();
        headers.insert(BATCH_HEADER, format!("{} {place}", self.sender));
        if let Some(accepted) = accepted {
            headers.insert(ACCEPTED_HEADER, accepted.to_string());
        }
        let number = self.waiting.next.fetch_add(1, Ordering::Relaxed);
        let (send, received) = oneshot::channel();
        self.waiting.replies.lock().unwrap_or_else(PoisonError::into_inner).insert(number, send);
        let reply = Reply { number, received, waiting: self.waiting.clone() };
        self.client
            .publish_with_reply_and_headers(
                subject.to_owned(),
                format!("{}.{number}", self.inbox),
                headers,
                payload,
            )
            .await?;
        Ok(reply)
    }
}
