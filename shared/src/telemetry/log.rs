//! Logging: one subscriber a process, text or JSON, on stderr.

use serde::Deserialize;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// `[log]` of every server's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LogConfig {
    /// Directives, as `info,edge=debug`.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("expected log directives such as info,edge=debug, found {found:?}")]
    Filter {
        /// What stood there.
        found: String,
        /// Why not.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// A subscriber stands already.
    #[error("logging was begun twice in this process")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Begins logging to stderr. Once a process.
///
/// # Errors
/// [`LogError`], which no configuration that passed its rules brings about.
pub fn init_log(config: &LogConfig) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|source| LogError::Filter { found: config.filter.clone(), source })?;
    let registry = tracing_subscriber::registry().with(filter);
    let done = match config.format {
        LogFormat::Text => {
            registry.with(fmt::layer().with_ansi(false).with_writer(std::io::stderr)).try_init()
        }
        LogFormat::Json => {
            registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()
        }
    };
    done.map_err(LogError::Twice)
}

/// Whether these are log directives.
pub fn is_filter(text: &str) -> bool {
    !text.is_empty() && EnvFilter::try_new(text).is_ok()
}
