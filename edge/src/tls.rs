//! TLS on the two public ports: one certificate for both, read again when its files change.
//!
//! | module | holds |
//! |---|---|
//! | [`handshake`] | from an accepted connection to an encrypted one, or why not |
//! | [`reload`] | reading the files again |
//! | [`expiry`] | when a certificate ends |
//! | [`wire`] | a session's connection over TLS |
//! | [`http`] | an HTTP connection over TLS |

pub mod expiry;
pub mod handshake;
pub mod http;
pub mod reload;
pub mod wire;

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use shared::{
    telemetry::{self, Metric},
    tls::{self, TlsError},
};
use tokio::sync::{Notify, Semaphore};
use tokio_rustls::rustls::ServerConfig;

use crate::config;

/// Which of the two ports: their clients offer different protocols by ALPN, and neither takes the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// Frames.
    Tcp,
    /// The HTTP API.
    Http,
}

/// TLS of a node. Shared by `Arc`.
pub struct Tls {
    files: Files,
    serving: RwLock<Serving>,
    /// Handshakes under way. Capacity `tls.handshakes`; when all are taken a client waits, at most until its deadline.
    places: Semaphore,
    patience: Duration,
    every: Duration,
    /// Wakes the reload before its time.
    again: Notify,
}

#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What new connections get. Those that stand keep what they began with.
#[derive(Clone)]
struct Serving {
    tcp: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    ends: SystemTime,
}

impl Tls {
    /// By this configuration; `None` where it names no certificate.
    ///
    /// # Errors
    /// [`TlsError`]: the files cannot be used. At the start that is an end; later the old ones stay.
    pub fn new(config: &config::Tls) -> Result<Option<Arc<Self>>, TlsError> {
        match (config.certificate.is_empty(), config.key.is_empty()) {
            (true, true) => return Ok(None),
            (false, false) => {}
            _ => return Err(TlsError::Half),
        }
        let files = Files { certificate: (&config.certificate).into(), key: (&config.key).into() };
        let serving = files.load()?;
        serving.tell();
        Ok(Some(Arc::new(Self {
            files,
            serving: RwLock::new(serving),
            places: Semaphore::new(config.handshakes.min(Semaphore::MAX_PERMITS)),
            patience: config.handshake_seconds.get(),
            every: config.reload_seconds.get(),
            again: Notify::new(),
        })))
    }

    /// What a new connection gets.
    fn serving(&self, port: Port) -> Arc<ServerConfig> {
        let serving = self.serving.read().unwrap_or_else(PoisonError::into_inner);
        match port {
            Port::Tcp => serving.tcp.clone(),
            Port::Http => serving.http.clone(),
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Files {
    fn load(&self) -> Result<Serving, TlsError> {
        let chain = tls::certificates(&self.certificate)?;
        let ends = chain.first().and_then(|first| expiry::of(first)).ok_or_else(|| TlsError::NotPem {
            file: self.certificate.clone(),
            expected: "a certificate with a date at which it ends",
            found: "one without",
        })?;
        let config = |alpn| tls::server(&self.certificate, chain.clone(), tls::key(&self.key)?, alpn);
        Ok(Serving { tcp: config(tls::ALPN)?, http: config(b"http/1.1")?, ends })
    }
}

impl Serving {
    /// Says when it ends.
    fn tell(&self) {
        let at = self.ends.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        telemetry::set(Metric::EdgeTlsExpiry, &[], at.as_secs_f64());
        match self.ends.duration_since(SystemTime::now()) {
            Ok(left) => {
                tracing::info!(days = left.as_secs() / 86_400, "serving a TLS certificate that ends then")
            }
            // Served all the same: whether to believe it is the client's to say.
            Err(_) => tracing::error!("the TLS certificate has ended: clients will not believe it"),
        }
    }
}
