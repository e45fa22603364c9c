//! Messages' roads as OpenTelemetry spans, for a collector that takes OTLP over HTTP. Off unless an endpoint is configured.
//!
//! Nothing is measured for it and nothing crosses the broker: a task reads the records that the rings have got since it
//! last looked, and makes spans of those of sampled messages. All spans of a message have one trace id, which follows from
//! its sender and id; so every process finds it without being told, and `simple-im trace` prints it.
//!
//! Bounds: a look takes up to [`LOOK`] records of each ring; an export has up to [`BATCH`] spans, and the collector has the
//! time of `OTEL_EXPORTER_OTLP_TIMEOUT` (10 s) for it. What it does not take is not sent again; records that were
//! overwritten before they were looked at make no spans. Both are counted (`im_process_spans_total`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks},
};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Key, OtlpConfig, Shelf, TraceConfig, ring::Read};
use crate::{
    client::http,
    telemetry::{self, Metric},
    tls::{self, TlsError, Trust},
};

/// Spans of one export.
pub const BATCH: usize = 2048;
/// Records of each ring at a look.
pub const LOOK: u64 = 8192;

/// What a process has to tell, in pieces.
pub trait Source: Send + 'static {
    /// Adds the spans of records written since the last call, up to [`LOOK`] of each ring; gives back how many records were
    /// overwritten before they were looked at.
    fn spans(&mut self, sampled: &Sampled, into: &mut Vec<Span>) -> u64;
}

/// Which messages have spans: one in so many, chosen by their keys, so that every process chooses the same.
#[derive(Debug, Clone, Copy)]
pub struct Sampled(u64);

impl Sampled {
    /// One in `every`, 1 or more.
    pub fn one_in(every: u32) -> Self {
        Self(u64::from(every.max(1)))
    }

    /// Whether this one has. [`Key::NONE`] has not.
    pub fn has(&self, key: Key) -> bool {
        key != Key::NONE && key.0.is_multiple_of(self.0)
    }
}

/// What happened to a message in one process.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The message.
    pub key: Key,
    /// Its own id: one of these constructors' so that others can name it as their parent.
    pub id: SpanNo,
    /// The span in which it happened.
    pub parent: Option<SpanNo>,
    /// What: `accept`, `commit`.
    pub name: &'static str,
    /// Its side of the broker.
    pub kind: Side,
    /// From, microseconds since 1970.
    pub from: i64,
    /// To, microseconds since 1970; not before `from`.
    pub to: i64,
    /// Named as in log lines, each behind `im.`.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it came to nothing.
    pub error: Option<String>,
}

/// Which side of the broker a span is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It gives to the broker.
    Producer,
    /// It takes from the broker.
    Consumer,
    /// Neither.
    Within,
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A span's id, which follows from what is known on both sides of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanNo(u64);

impl SpanNo {
    /// A frame taken by the broker: its batch's place in the stream, and its own in the batch.
    pub fn accepted(key: Key, stream_seq: u64, frame: u32) -> Self {
        Self::of(key, 1, stream_seq, u64::from(frame))
    }

    /// The same frame, worked on.
    pub fn worked(key: Key, stream_seq: u64, frame: u32) -> Self {
        Self::of(key, 2, stream_seq, u64::from(frame))
    }

    /// The message, stored: there is one such span.
    pub fn stored(key: Key) -> Self {
        Self::of(key, 3, 0, 0)
    }

    /// The chunk's deliveries, after the message was stored.
    pub fn delivered(key: Key) -> Self {
        Self::of(key, 4, 0, 0)
    }

    /// What a session did with the message, and when.
    pub fn stopped(key: Key, session: i64, at: i64) -> Self {
        Self::of(key, 5, session as u64, at as u64)
    }

    fn of(key: Key, what: u64, one: u64, other: u64) -> Self {
        let mut bits = key.0;
        for word in [what, one, other] {
            bits = (bits ^ word).wrapping_mul(super::MIX);
            bits ^= bits >> 29;
        }
        // 0 is no id.
        Self(bits.max(1))
    }
}

impl Key {
    /// The trace of its message, 32 hex digits: the same in every process.
    pub fn trace_id(self) -> String {
        trace_id(self).to_string()
    }
}

fn trace_id(key: Key) -> TraceId {
    let low = key.0.wrapping_mul(super::MIX);
    TraceId::from(u128::from(key.0) << 64 | u128::from(low ^ (low >> 32)))
}

/// Exports what the source has, every so often, until `shutdown` and once more then. Returns at once where no endpoint is
/// configured. `part` is `edge` or `worker`, `instance` the process's name.
pub async fn run(
    config: TraceConfig,
    (part, instance): (&'static str, String),
    mut source: impl Source,
    shutdown: CancellationToken,
) {
    let TraceConfig { keep, export: config } = config;
    if config.is_on() && keep == 0 {
        tracing::error!("no spans are exported: expected [trace] keep above 0 beside [trace] otlp, found 0");
    }
    let exporter = match exporter(&config, part, &instance) {
        Ok(Some(exporter)) => exporter,
        Ok(None) => return shutdown.cancelled().await,
        Err(error) => {
            tracing::error!(%error, "no spans are exported");
            return shutdown.cancelled().await;
        }
    };
    tracing::info!(endpoint = config.otlp, one_in = config.sample, "spans are exported");
    let (sampled, scope) =
        (Sampled::one_in(config.sample), InstrumentationScope::builder("simple-im").build());
    let mut ticks = tokio::time::interval(config.export_ms.get());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut spans, mut failing) = (Vec::new(), false);
    loop {
        let ended = tokio::select! {
            () = shutdown.cancelled() => true,
            _ = ticks.tick() => false,
        };
        loop {
            let overwritten = source.spans(&sampled, &mut spans);
            counted("overwritten", overwritten);
            if spans.is_empty() {
                break;
            }
            for batch in spans.chunks(BATCH) {
                let data = batch.iter().map(|span| data(span, &scope)).collect();
                match exporter.export(data).await {
                    Ok(()) => counted("exported", batch.len() as u64),
                    Err(error) => {
                        counted("failed", batch.len() as u64);
                        if !std::mem::replace(&mut failing, true) {
                            tracing::warn!(%error, endpoint = config.otlp, "the collector does not take spans");
                        }
                        continue;
                    }
                }
                if std::mem::take(&mut failing) {
                    tracing::info!(endpoint = config.otlp, "the collector takes spans again");
                }
            }
            spans.clear();
        }
        if ended {
            return;
        }
    }
}

/// Reads on in a ring: what was written since `at`, which then says how far; how many were overwritten before.
pub fn since<T: Copy>(shelf: &Shelf<T>, at: &mut u64, each: impl FnMut(&T) -> bool) -> u64 {
    let Read { next, overwritten } = shelf.read(*at, LOOK, each);
    *at = next;
    overwritten
}

fn counted(result: &'static str, spans: u64) {
    if spans > 0 {
        telemetry::count(Metric::ProcessSpans, &[("result", result)], spans);
    }
}

/// No spans can be exported.
#[derive(Debug, thiserror::Error)]
enum NoExporter {
    #[error("{0}")]
    Tls(#[from] TlsError),
    #[error("{0}")]
    Client(#[from] reqwest::Error),
    #[error("{0}")]
    Built(#[from] ExporterBuildError),
}

fn exporter(
    config: &OtlpConfig,
    part: &'static str,
    instance: &str,
) -> Result<Option<SpanExporter>, NoExporter> {
    if config.otlp.is_empty() {
        return Ok(None);
    }
    // Like every HTTP client it begins where the provider of cryptography is; so the library's usual time is to be set here.
    let trusted =
        config.otlp.starts_with("https://").then(|| tls::Client::new(&Trust::System)).transpose()?;
    let client = http::builder(trusted.as_ref()).timeout(patience()).build()?;
    let builder = SpanExporter::builder().with_http().with_http_client(client);
    let mut exporter = builder.with_endpoint(&config.otlp).build()?;
    let resource =
        Resource::builder_empty().with_service_name(format!("simple-im-{part}")).with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance.to_owned()),
        ]);
    exporter.set_resource(&resource.build());
    Ok(Some(exporter))
}

/// How long the collector may take for an export.
fn patience() -> Duration {
    let given = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]
        .iter()
        .find_map(|name| std::env::var(name).ok()?.parse().ok());
    given.map_or(Duration::from_secs(10), Duration::from_millis)
}

fn data(span: &Span, scope: &InstrumentationScope) -> SpanData {
    let id = |SpanNo(id)| SpanId::from(id);
    let (trace, state) = (trace_id(span.key), TraceState::default());
    SpanData {
        span_context: SpanContext::new(trace, id(span.id), TraceFlags::SAMPLED, false, state),
        parent_span_id: span.parent.map_or(SpanId::INVALID, id),
        parent_span_is_remote: span.parent.is_some(),
        span_kind: match span.kind {
            Side::Producer => SpanKind::Producer,
            Side::Consumer => SpanKind::Consumer,
            Side::Within => SpanKind::Internal,
        },
        name: span.name.into(),
        start_time: clock(span.from),
        end_time: clock(span.to),
        attributes: span.attributes.iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: span.error.clone().map_or(Status::Unset, Status::error),
        instrumentation_scope: scope.clone(),
    }
}

fn attribute((name, value): &(&'static str, Value)) -> KeyValue {
    let name = format!("im.{name}");
    match value {
        Value::Number(number) => KeyValue::new(name, *number),
        Value::Text(text) => KeyValue::new(name, text.clone()),
    }
}

fn clock(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;

    #[test]
    fn every_process_chooses_the_same_one_in_so_many() {
        let keys = |n: i64| (0..10_000).map(move |id| Key::of(UserId(n), &format!("m{id}")));
        let sampled = Sampled::one_in(10);
        let count = keys(7).filter(|key| sampled.has(*key)).count();
        assert!((800..1200).contains(&count), "{count}");
        assert!(keys(7).all(|key| Sampled::one_in(1).has(key)) && !Sampled::one_in(1).has(Key::NONE));
    }

    #[test]
    fn spans_of_a_message_have_ids_of_their_own_and_one_trace() {
        let key = Key::of(UserId(7), "m1");
        let ids = [
            SpanNo::accepted(key, 1, 0),
            SpanNo::accepted(key, 1, 1),
            SpanNo::worked(key, 1, 0),
            SpanNo::stored(key),
            SpanNo::delivered(key),
            SpanNo::stopped(key, 1, 2),
            SpanNo::stopped(key, 2, 1),
        ];
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id), "{at}");
        }
        assert_eq!(key.trace_id().len(), 32);
        assert_ne!(key.trace_id(), Key::of(UserId(8), "m1").trace_id());
    }
}
