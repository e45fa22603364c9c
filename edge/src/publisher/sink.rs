//! The broker's stream of accepted frames as one connection sees it, and one publish with its confirmation.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{self, context::GetStreamErrorKind};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use shared::{rpc::ACCEPTED_HEADER, telemetry::Moment};
use tokio::sync::Mutex;

use crate::broker::{Broker, Once};

/// Finds the stream: JetStream in earnest, a fake in tests.
pub trait Sink: Send + Sync + 'static {
    /// Looks which stream there is now; the reason if none was found. `timeout` is for every answer of the broker, also
    /// for confirmations that are awaited on the way found. One look-up at a time.
    fn find(&self, timeout: Duration) -> BoxFuture<'_, Result<Found, String>>;
}

/// A stream, and the way into it.
pub struct Found {
    /// When it was made: another time is another stream.
    pub created: i128,
    /// The last place in it that was given to a message.
    pub last_sequence: u64,
    /// The way.
    pub way: Arc<dyn Way>,
}

/// The way into the stream over the connection by which that was found. What goes this way never reaches what another
/// connection would find.
pub trait Way: Send + Sync + 'static {
    /// Publishes and awaits the confirmation: the place that the batch has been given, or the reason if there was none.
    /// A batch has an id, of which the broker takes only one, and says when its oldest frame was accepted.
    fn publish<'a>(
        &'a self,
        subject: &'a str,
        what: (&'a str, Moment),
        batch: Bytes,
    ) -> BoxFuture<'a, Result<u64, String>>;

    /// Whether the connection is known to be lost.
    fn is_lost(&self) -> bool;

    /// Until the connection is known to be lost.
    fn lost(&self) -> BoxFuture<'_, ()>;
}

/// The broker's stream of accepted frames.
#[derive(Debug)]
pub struct Stream {
    broker: Broker,
    name: String,
    /// What the last look-up went over, while that stands.
    connection: Mutex<Option<Connection>>,
}

#[derive(Debug, Clone)]
struct Connection {
    once: Once,
    jetstream: jetstream::Context,
}

impl Stream {
    /// The stream of this name, over connections of its own to where `broker` leads.
    pub fn new(broker: Broker, name: String) -> Self {
        Self { broker, name, connection: Mutex::default() }
    }

    async fn connect(&self, timeout: Duration) -> Result<Connection, String> {
        let once = self.broker.once().await.map_err(|error| format!("connecting to NATS: {error}"))?;
        let client = once.client().clone();
        let jetstream = jetstream::ContextBuilder::new().timeout(timeout).ack_timeout(timeout).build(client);
        Ok(Connection { once, jetstream })
    }
}

impl Sink for Stream {
    fn find(&self, timeout: Duration) -> BoxFuture<'_, Result<Found, String>> {
        async move {
            let mut held = self.connection.lock().await;
            let connection = match held.take().filter(|connection| !connection.once.is_lost()) {
                Some(connection) => connection,
                None => self.connect(timeout).await?,
            };
            let asked = tokio::time::timeout(timeout, connection.jetstream.get_stream(&self.name)).await;
            let stream = match asked {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    // An answer: the connection is as good as any other. Without one the next look-up makes its own.
                    if matches!(error.kind(), GetStreamErrorKind::JetStream(_)) {
                        *held = Some(connection);
                    }
                    return Err(format!("looking for the stream {}: {error}", self.name));
                }
                Err(_) => {
                    return Err(format!("looking for the stream {}: no answer in {timeout:?}", self.name));
                }
            };
            *held = Some(connection.clone());
            let info = stream.cached_info();
            let (created, last_sequence) = (info.created.unix_timestamp_nanos(), info.state.last_sequence);
            Ok(Found { created, last_sequence, way: Arc::new(connection) })
        }
        .boxed()
    }
}

impl Connection {
    async fn confirmed(
        &self,
        subject: String,
        message: jetstream::message::PublishMessage,
    ) -> Result<u64, String> {
        // The first await only sends, the second is the broker's confirmation.
        let sent = self.jetstream.send_publish(subject, message).await.map_err(|error| error.to_string())?;
        sent.await.map(|ack| ack.sequence).map_err(|error| error.to_string())
    }
}

impl Way for Connection {
    fn publish<'a>(
        &'a self,
        subject: &'a str,
        (id, accepted): (&'a str, Moment),
        batch: Bytes,
    ) -> BoxFuture<'a, Result<u64, String>> {
        async move {
            let message = jetstream::message::PublishMessage::build().payload(batch).message_id(id);
            let message = message.header(ACCEPTED_HEADER, accepted.to_string());
            tokio::select! {
                // What has been confirmed is confirmed, even if the connection is lost by now.
                biased;
                result = self.confirmed(subject.to_owned(), message) => result,
                () = self.once.lost() => Err("the connection to NATS was lost before the confirmation".into()),
            }
        }
        .boxed()
    }

    fn is_lost(&self) -> bool {
        self.once.is_lost()
    }

    fn lost(&self) -> BoxFuture<'_, ()> {
        self.once.lost().boxed()
    }
}
