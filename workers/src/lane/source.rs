//! The stream of accepted frames, and pulling one lane of it.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{
    self, Context,
    consumer::{AckPolicy, Consumer, DeliverPolicy, pull},
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream},
};
use futures::StreamExt;
use shared::{
    rpc::ACCEPTED_HEADER,
    subject::{Lane, Subjects},
    telemetry::{Metric, Moment},
};
use tokio::sync::mpsc;

use super::Pulled;
use crate::{
    config::Nats,
    fail::{self, Step},
};

/// Batches that a lane's consumer may have handed out unacknowledged: more than any outage of one edge gathers.
const UNACKED_BATCHES: i64 = 20_000;
/// Batches fetched ahead, a lane; a batch is 256 KiB at most.
const FETCH_AHEAD: usize = 32;
/// How often a lane's consumer is asked what it has, for the metrics alone.
const LOOK: Duration = Duration::from_secs(5);
/// Under which key of its metadata the stream keeps the number of lanes it was made for.
pub const METADATA_LANES: &str = "im-lanes";

/// What keeps a lane from being pulled.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// JetStream does not answer or refuses; try again.
    #[error("JetStream, while {doing}")]
    JetStream {
        /// What was under way.
        doing: &'static str,
        /// Its answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The stream was made for another number of lanes; changing it is a documented command, not a setting.
    #[error("the stream {stream} was made with {found} lanes, this worker is configured for {expected}")]
    Lanes {
        /// The stream.
        stream: String,
        /// What the stream says.
        found: String,
        /// What the configuration says.
        expected: u16,
    },
}

fn failed<E: std::error::Error + Send + Sync + 'static>(
    doing: &'static str,
) -> impl FnOnce(E) -> SourceError {
    move |error| SourceError::JetStream { doing, source: Box::new(error) }
}

/// Finds or makes the two streams: accepted frames (work queue, discard new at its limit) and frames set aside.
///
/// # Errors
/// [`SourceError`].
pub async fn streams(js: &Context, subjects: &Subjects, config: &Nats) -> Result<Stream, SourceError> {
    let accepted = Config {
        name: subjects.stream(),
        subjects: vec![subjects.inbound_all()],
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        max_bytes: config.stream_bytes,
        duplicate_window: Duration::from_secs(120),
        metadata: [(METADATA_LANES.to_owned(), config.lanes.to_string())].into(),
        ..Config::default()
    };
    let stream =
        js.get_or_create_stream(accepted).await.map_err(failed("making the stream of accepted frames"))?;
    match stream.cached_info().config.metadata.get(METADATA_LANES) {
        Some(found) if *found != config.lanes.to_string() => {
            return Err(SourceError::Lanes {
                stream: subjects.stream(),
                found: found.clone(),
                expected: config.lanes,
            });
        }
        _ => {}
    }
    let dead = Config {
        name: subjects.dead_stream(),
        subjects: vec![subjects.dead()],
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        max_bytes: 64 * 1024 * 1024,
        ..Config::default()
    };
    js.get_or_create_stream(dead).await.map_err(failed("making the stream of dead frames"))?;
    Ok(stream)
}

/// Which stream this is: another one counts its sequences from 1 again.
fn incarnation(stream: &Stream) -> String {
    stream.cached_info().created.unix_timestamp_nanos().to_string()
}

/// Pulls one lane into `into` until dropped or broken; recreates its consumer first, so that everything unacknowledged
/// comes again in order.
///
/// # Errors
/// [`SourceError`], also when another owner has recreated the consumer; the caller checks its lock before pulling again.
pub async fn pull(
    js: &Context,
    subjects: &Subjects,
    config: &Nats,
    (lane, taking): (Lane, u64),
    into: mpsc::Sender<Pulled>,
) -> Result<(), SourceError> {
    // Made anew if it is gone with JetStream's directory.
    let stream = streams(js, subjects, config).await?;
    let incarnation: Arc<str> = incarnation(&stream).into();
    let ack_wait = config.ack_wait_seconds.get();
    let name = subjects.consumer(lane);
    if let Err(error) = stream.delete_consumer(&name).await {
        // Absent is what a first start finds; anything else shows when it is created.
        tracing::debug!(%error, %name, "no consumer was deleted");
    }
    let consumer = stream
        .create_consumer_strict(pull::Config {
            durable_name: Some(name),
            filter_subject: subjects.lane_filter(lane),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait,
            max_deliver: -1,
            max_ack_pending: UNACKED_BATCHES,
            ..pull::Config::default()
        })
        .await
        .map_err(failed("creating a lane's consumer"))?;
    let looking = look(&consumer, lane);
    let pulling = hand_on(&consumer, incarnation, (lane, taking), into);
    tokio::select! {
        done = pulling => done,
        () = looking => Ok(()),
    }
}

/// Tells again and again what the lane's consumer has, for as long as it is polled.
async fn look(consumer: &Consumer<pull::Config>, lane: Lane) {
    let lane = lane.0.to_string();
    let waiting = Metric::WorkerLaneWaiting.gauge(&[("lane", &lane)]);
    let unacked = Metric::WorkerLaneUnacked.gauge(&[("lane", &lane)]);
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match consumer.get_info().await {
            Ok(info) => {
                waiting.set(info.num_pending as f64);
                unacked.set(info.num_ack_pending as f64);
            }
            Err(error) => tracing::debug!(%error, lane, "what the lane's consumer has is not known"),
        }
    }
}

/// Hands on what comes.
async fn hand_on(
    consumer: &Consumer<pull::Config>,
    incarnation: Arc<str>,
    (lane, taking): (Lane, u64),
    into: mpsc::Sender<Pulled>,
) -> Result<(), SourceError> {
    let mut messages = consumer
        .stream()
        .max_messages_per_batch(FETCH_AHEAD)
        .heartbeat(Duration::from_secs(2))
        .expires(Duration::from_secs(30))
        .messages()
        .await
        .map_err(failed("pulling a lane"))?;
    while let Some(message) = messages.next().await {
        let message = message.map_err(failed("pulling a lane"))?;
        let (stream_seq, published) = match message.info() {
            Ok(info) => (info.stream_sequence, info.published),
            Err(error) => {
                tracing::error!(%error, "a message from JetStream without its place in the stream");
                continue;
            }
        };
        let accepted = message.headers.as_ref().and_then(|headers| headers.get(ACCEPTED_HEADER));
        let accepted = accepted.and_then(|at| at.as_str().parse().ok());
        let accepted = accepted
            .unwrap_or_else(|| Moment::from_unix_seconds(published.unix_timestamp_nanos() as f64 / 1e9));
        fail::reached(Step::Fetched);
        let (message, acker) = message.split();
        if into
            .send(Pulled {
                lane,
                taking,
                stream: incarnation.clone(),
                stream_seq,
                accepted,
                payload: message.payload,
                acker,
            })
            .await
            .is_err()
        {
            break;
        }
    }
    Ok(())
}

/// The JetStream context of a client, with time for a server that is busy.
pub fn context(client: async_nats::Client) -> Context {
    let mut js = jetstream::new(client);
    js.set_timeout(Duration::from_secs(5));
    js
}
