//! One publish and its confirmation.

use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};

use crate::broker::Broker;

/// Takes batches: JetStream, or a fake in tests.
pub trait Sink: Send + Sync + 'static {
    /// Publishes and awaits the confirmation; the reason if there was none.
    fn publish<'a>(
        &'a self,
        subject: &'a str,
        id: &'a str,
        batch: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<(), String>>;
}

/// The broker's stream of accepted frames.
#[derive(Debug, Clone)]
pub struct Stream {
    broker: Broker,
    jetstream: jetstream::Context,
}

impl Stream {
    /// Publishes over this connection; a confirmation is awaited for `timeout`.
    pub fn new(broker: Broker, timeout: Duration) -> Self {
        let jetstream = jetstream::ContextBuilder::new()
            .timeout(timeout)
            .ack_timeout(timeout)
            .build(broker.client().clone());
        Self { broker, jetstream }
    }

    async fn confirmed(
        &self,
        subject: String,
        message: jetstream::message::PublishMessage,
    ) -> Result<(), String> {
        // The first await only sends, the second is the broker's confirmation.
        let sent = self.jetstream.send_publish(subject, message).await.map_err(|error| error.to_string())?;
        sent.await.map(drop).map_err(|error| error.to_string())
    }
}

impl Sink for Stream {
    fn publish<'a>(
        &'a self,
        subject: &'a str,
        id: &'a str,
        batch: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<(), String>> {
        async move {
            // Sending while NATS is away would pile up copies of this batch in the client's own queue.
            if tokio::time::timeout(timeout, self.broker.up()).await.is_err() {
                return Err("expected a connection to NATS, found none".into());
            }
            let before = *self.broker.link().borrow();
            let message = jetstream::message::PublishMessage::build().payload(batch).message_id(id);
            tokio::select! {
                result = self.confirmed(subject.to_owned(), message) => result,
                () = self.broker.lost_since(before) => Err("the connection to NATS was lost before the confirmation".into()),
            }
        }
        .boxed()
    }
}
