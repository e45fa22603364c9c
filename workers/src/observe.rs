//! Asks each store a small question now and then: whether it answers, how long it takes, and what it says of itself. For
//! the metrics alone; nothing is ever decided by the answers.
//!
//! Every worker asks, so that a store that only some of them reach is seen as that.

use std::time::{Duration, Instant};

use async_nats::jetstream::{Context, stream::Info};
use metrics::{Gauge, Histogram};
use shared::{
    subject::Subjects,
    telemetry::{Metric, Moment},
};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{directory::Directory, store};

/// Between two questions to a store.
const EVERY: Duration = Duration::from_secs(5);
/// How long a store has for its answer.
const LIMIT: Duration = Duration::from_secs(2);

/// The ways to the stores.
#[derive(Debug, Clone)]
pub struct Observer {
    /// JetStream.
    pub js: Context,
    /// Names on the broker.
    pub subjects: Subjects,
    /// PostgreSQL.
    pub pool: store::Pool,
    /// Redis.
    pub directory: Directory,
}

/// What became of one store's questions.
struct Asked {
    store: &'static str,
    up: Gauge,
    seconds: Histogram,
    limit: Duration,
}

impl Observer {
    /// Asks until `shutdown`. The stores are asked beside each other: one that hangs hides no other.
    pub async fn run(self, shutdown: CancellationToken) {
        let nats = repeat("nats", || self.nats());
        let postgres = repeat("postgres", || self.postgres());
        let redis = repeat("redis", || self.redis());
        let all = async { tokio::join!(nats, postgres, redis) };
        shutdown.run_until_cancelled(all).await;
    }

    async fn nats(&self) -> Result<(), String> {
        for (stream, name) in [("accepted", self.subjects.stream()), ("dead", self.subjects.dead_stream())] {
            let found = self.js.get_stream(&name).await.map_err(|error| format!("stream {name}: {error}"))?;
            tell_stream(stream, found.cached_info());
        }
        Ok(())
    }

    async fn postgres(&self) -> Result<(), String> {
        let figures = store::figures(&self.pool).await.map_err(|error| error.to_string())?;
        let gauge = |metric: Metric, value: i64| metric.gauge(&[]).set(value as f64);
        gauge(Metric::WorkerPostgresConnections, figures.connections);
        gauge(Metric::WorkerPostgresConnectionsLimit, figures.max_connections);
        gauge(Metric::WorkerPostgresBytes, figures.database_bytes);
        for (result, count) in [("commit", figures.commits), ("rollback", figures.rollbacks)] {
            let counter = Metric::WorkerPostgresTransactions.counter(&[("result", result)]);
            counter.absolute(count.unsigned_abs());
        }
        Metric::WorkerPostgresDeadlocks.counter(&[]).absolute(figures.deadlocks.unsigned_abs());
        Ok(())
    }

    async fn redis(&self) -> Result<(), String> {
        let figures = self.directory.figures().await.map_err(|error| error.to_string())?;
        let gauge = |metric: Metric, value: u64| metric.gauge(&[]).set(value as f64);
        gauge(Metric::WorkerRedisBytes, figures.bytes);
        gauge(Metric::WorkerRedisLimit, figures.limit_bytes);
        gauge(Metric::WorkerRedisClients, figures.clients);
        Metric::WorkerRedisEvicted.counter(&[]).absolute(figures.evicted);
        Ok(())
    }
}

fn tell_stream(stream: &'static str, info: &Info) {
    let oldest = match info.state.messages {
        0 => 0.0,
        _ => {
            let since = info.state.first_timestamp.unix_timestamp_nanos() as f64 / 1e9;
            Moment::from_unix_seconds(since).elapsed()
        }
    };
    for (metric, value) in [
        (Metric::WorkerStreamMessages, info.state.messages as f64),
        (Metric::WorkerStreamBytes, info.state.bytes as f64),
        (Metric::WorkerStreamLimit, info.config.max_bytes.max(0) as f64),
        (Metric::WorkerStreamOldest, oldest),
    ] {
        metric.gauge(&[("stream", stream)]).set(value);
    }
}

async fn repeat<Asking: Future<Output = Result<(), String>>>(store: &'static str, ask: impl Fn() -> Asking) {
    let labels = [("store", store)];
    let (up, seconds) = (Metric::WorkerStoreUp.gauge(&labels), Metric::WorkerProbeSeconds.histogram(&labels));
    let asked = Asked { store, up, seconds, limit: LIMIT };
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut well = true;
    loop {
        ticks.tick().await;
        well = asked.once(ask(), well).await;
    }
}

impl Asked {
    /// Whether the store has answered. `well`: it had the time before.
    async fn once(&self, asking: impl Future<Output = Result<(), String>>, well: bool) -> bool {
        let begun = Instant::now();
        let answer = tokio::time::timeout(self.limit, asking).await;
        self.seconds.record(begun.elapsed());
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {:?}", self.limit)));
        self.up.set(f64::from(u8::from(answer.is_ok())));
        match answer {
            Ok(()) => true,
            Err(reason) => {
                // Once at the start of an outage.
                if well {
                    tracing::warn!(store = self.store, reason, "a store does not answer a small question");
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::Ordering};

    use super::*;

    #[tokio::test]
    async fn a_store_that_fails_or_hangs_is_down_until_it_answers() {
        let value = Arc::new(metrics::atomics::AtomicU64::new(0));
        let up = || f64::from_bits(value.load(Ordering::Relaxed));
        let (up_gauge, seconds) = (Gauge::from_arc(value.clone()), Histogram::noop());
        let asked = Asked { store: "x", up: up_gauge, seconds, limit: Duration::from_millis(20) };
        assert!(asked.once(async { Ok(()) }, true).await);
        assert_eq!(up(), 1.0);
        assert!(!asked.once(async { Err("refused".to_owned()) }, true).await);
        assert_eq!(up(), 0.0);
        assert!(asked.once(async { Ok(()) }, false).await);
        assert!(!asked.once(std::future::pending(), true).await);
        assert_eq!(up(), 0.0);
    }
}
