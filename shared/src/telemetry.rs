//! Logs, metric names, and the server of /metrics, /livez and /readyz.

mod log;

pub use log::{LogConfig, LogFormat, init_log, is_filter};
