//! The connection to Redis: made again for ever, never waited for longer than `timeout_ms`.
//!
//! While there is none, calls fail at once; whoever calls goes on without Redis.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ErrorKind, FromRedisValue, InfoDict,
    IntoConnectionInfo, Pipeline, RedisError, TlsCertificates, aio::MultiplexedConnection,
};
use shared::{
    telemetry::Metric,
    tls::{self, TlsError, Trust},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::metric::metrics;

/// The longest pause between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(500);

/// Redis did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// There is no connection now.
    #[error("no connection to Redis")]
    Down,
    /// It did not answer in time; the connection was given up.
    #[error("Redis did not answer within {0:?}")]
    Hung(Duration),
    /// It failed, or what it said cannot be used.
    #[error("Redis failed: {0}")]
    Failed(#[from] RedisError),
}

/// One multiplexed connection, or none.
#[derive(Debug)]
pub struct Link {
    client: Client,
    timeout: Duration,
    state: Mutex<State>,
    lost: Notify,
}

/// One that connects as configured; with `rediss://` only to somebody who can be believed.
///
/// # Errors
/// The URL is not one, or a file for TLS cannot be used.
pub fn client(redis: &config::Redis) -> Result<Client, RedisError> {
    let mut info = redis.url.expose().into_connection_info()?;
    if !redis.password.expose().is_empty() {
        let settings = info.redis_settings().clone().set_password(redis.password.expose());
        info = info.set_redis_settings(settings);
    }
    if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Client::open(info);
    }
    let unusable = |error: TlsError| {
        RedisError::from((ErrorKind::InvalidClientConfig, "a file for TLS cannot be used", error.to_string()))
    };
    // Judged here, where a mistake is said with its file's name.
    tls::Client::with_identity(&Trust::of_file(&redis.ca), &redis.certificate, &redis.key)
        .map_err(unusable)?;
    let read = |file: &str| (!file.is_empty()).then(|| std::fs::read(file)).transpose();
    let (root_cert, certificate, key) = (read(&redis.ca)?, read(&redis.certificate)?, read(&redis.key)?);
    let client_tls =
        certificate.zip(key).map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
    Client::build_with_tls(info, TlsCertificates { client_tls, root_cert })
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// Counts connections, so that a late failure does not close the next one.
    count: u64,
}

#[derive(Clone)]
struct Open {
    connection: MultiplexedConnection,
    /// Which start of Redis is at the other end.
    start: Arc<str>,
    number: u64,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("open", &self.open.is_some()).field("count", &self.count).finish()
    }
}

impl Link {
    pub(super) fn new(redis: &config::Redis) -> Result<Self, RedisError> {
        let (client, timeout) = (client(redis)?, redis.timeout_ms.get());
        Ok(Self { client, timeout, state: Mutex::default(), lost: Notify::new() })
    }

    pub(super) fn is_up(&self) -> bool {
        self.lock().open.is_some()
    }

    /// Sends a pipeline in one go.
    ///
    /// # Errors
    /// [`Unreachable`], counted; the caller goes on without Redis.
    pub(super) async fn send<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, Unreachable> {
        self.send_to(pipeline).await.map(|(answer, _start)| answer)
    }

    /// As [`Self::send`]; also says which start of Redis answered.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(super) async fn send_to<T: FromRedisValue>(
        &self,
        pipeline: &Pipeline,
    ) -> Result<(T, Arc<str>), Unreachable> {
        let sent = self.try_send(pipeline).await;
        if sent.is_err() {
            Metric::WorkerDirectoryErrors.counter(&[]).increment(1);
        }
        sent
    }

    async fn try_send<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<(T, Arc<str>), Unreachable> {
        let open = self.lock().open.clone().ok_or(Unreachable::Down)?;
        let mut connection = open.connection.clone();
        let begun = Instant::now();
        let answer = tokio::time::timeout(self.timeout, pipeline.query_async(&mut connection)).await;
        metrics().directory_seconds.record(begun.elapsed());
        match answer {
            Ok(Ok(answer)) => Ok((answer, open.start)),
            Ok(Err(error)) => {
                if error.is_unrecoverable_error() || error.is_io_error() || error.is_timeout() {
                    self.lose(open.number);
                }
                Err(Unreachable::Failed(error))
            }
            Err(_) => {
                self.lose(open.number);
                Err(Unreachable::Hung(self.timeout))
            }
        }
    }

    /// Which start of Redis is connected: a restart has another, and whatever it may have restored is not believed.
    pub(super) fn start(&self) -> Option<Arc<str>> {
        self.lock().open.as_ref().map(|open| Arc::clone(&open.start))
    }

    /// Connects, and connects again whenever the connection is lost, until shutdown.
    pub(super) async fn keep(&self, shutdown: &CancellationToken) {
        let mut pause = Duration::from_millis(20);
        let mut said = false;
        while !shutdown.is_cancelled() {
            match self.connect().await {
                Ok((connection, start)) => {
                    tracing::info!(redis.run_id = &*start, "connected to Redis");
                    self.open(connection, start);
                    (pause, said) = (Duration::from_millis(20), false);
                    self.until_lost(shutdown).await;
                }
                Err(error) => {
                    if !said {
                        tracing::warn!(%error, "no connection to Redis; going on without it");
                        said = true;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE),
                        () = shutdown.cancelled() => return,
                    }
                }
            }
        }
    }

    async fn until_lost(&self, shutdown: &CancellationToken) {
        while self.is_up() {
            tokio::select! {
                () = self.lost.notified() => {}
                () = shutdown.cancelled() => return,
            }
        }
        tracing::warn!("the connection to Redis was lost; going on without it");
    }

    async fn connect(&self) -> Result<(MultiplexedConnection, Arc<str>), Unreachable> {
        let patience = self.timeout * 4;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(patience))
            .set_response_timeout(Some(patience));
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let mut connection =
            tokio::time::timeout(patience, connecting).await.map_err(|_| Unreachable::Hung(patience))??;
        let asking =
            async { redis::cmd("INFO").arg("server").query_async::<InfoDict>(&mut connection).await };
        let info =
            tokio::time::timeout(patience, asking).await.map_err(|_| Unreachable::Hung(patience))??;
        let start: String = info.get("run_id").unwrap_or_default();
        Ok((connection, start.chars().take(16).collect::<String>().into()))
    }

    fn open(&self, connection: MultiplexedConnection, start: Arc<str>) {
        let mut state = self.lock();
        state.count += 1;
        state.open = Some(Open { connection, start, number: state.count });
    }

    fn lose(&self, number: u64) {
        let mut state = self.lock();
        if state.open.as_ref().is_some_and(|open| open.number == number) {
            state.open = None;
            self.lost.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
