//! The worker's configuration, typed. `default.toml` beside this file says what each key means.

use serde::Deserialize;
use shared::{
    config::{Millis, Rule, Seconds, Secret, SecretUrl},
    nats,
    telemetry::LogConfig,
    trace::TraceConfig,
};

/// The annotated defaults.
pub const DEFAULT: &str = include_str!("default.toml");

/// What each value may be.
pub const RULES: &[Rule] = &[
    Rule::name("worker.name"),
    Rule::address("worker.metrics"),
    Rule::range("worker.threads", 1, 64),
    Rule::range("worker.committers", 1, 64),
    Rule::range("worker.chunk_frames", 1, 5000),
    Rule::range("worker.chunk_bytes", 65_536, 64 << 20),
    Rule::range("worker.balance_ms", 10, 60_000),
    Rule::range("worker.confirm_ms", 10, 60_000),
    Rule::range("worker.node_dead_ms", 10, 60_000),
    Rule::range("worker.drain_seconds", 1, 3600),
    Rule::any("worker.ready_file"),
    Rule::any("worker.published_on"),
    Rule::url("nats.url", &["nats", "tls"]),
    Rule::secret("nats.password"),
    Rule::any("nats.ca"),
    Rule::any("nats.certificate"),
    Rule::any("nats.key"),
    Rule::name("nats.prefix"),
    Rule::range("nats.lanes", 1, 1024),
    Rule::range("nats.stream_bytes", 1 << 20, 1 << 40),
    Rule::range("nats.ack_wait_seconds", 60, 86_400),
    Rule::url("postgres.url", &["postgres", "postgresql"]),
    Rule::secret("postgres.password"),
    Rule::any("postgres.ca"),
    Rule::any("postgres.certificate"),
    Rule::any("postgres.key"),
    Rule::text("postgres.schema", is_schema, "1 to 63 of a-z, 0-9 and _, not beginning with a digit"),
    Rule::range("postgres.pool", 1, 1000),
    Rule::range("postgres.connect_seconds", 1, 60),
    Rule::range("postgres.hung_seconds", 1, 60),
    Rule::url("redis.url", &["redis", "rediss", "unix"]),
    Rule::secret("redis.password"),
    Rule::any("redis.ca"),
    Rule::any("redis.certificate"),
    Rule::any("redis.key"),
    Rule::text("redis.prefix", is_key_prefix, "up to 40 of a-z, A-Z, 0-9, -, _ and :"),
    Rule::range("redis.timeout_ms", 10, 10_000),
    Rule::range("redis.offline_days", 1, 365),
    Rule::range("account.argon2_kib", 8, 1 << 20),
    Rule::range("account.argon2_passes", 1, 100),
    Rule::range("account.hashers", 1, 64),
    Rule::range("account.token_cache_seconds", 1, 86_400),
    Rule::range("account.devices", 1, 1000),
    Rule::range("account.device_days", 1, 3650),
    Rule::range("account.login_failures", 1, 1_000_000),
    Rule::range("account.login_window_seconds", 1, 86_400),
    Rule::range("account.phone_lookups", 1, 1_000_000),
    Rule::range("rpc.concurrency", 1, 100_000),
    Rule::range("group.members", 2, 100_000),
    Rule::range("group.cache_offline_below", 0, 100_000),
    Rule::range("trace.keep", 0, 16 << 20),
    Rule::collector("trace.otlp"),
    Rule::range("trace.sample", 1, 1_000_000_000),
    Rule::range("trace.export_ms", 100, 60_000),
    Rule::log_filter("log.filter"),
    Rule::one_of("log.format", &["text", "json"]),
];

/// Everything a worker can be told.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "sections; default.toml explains them")]
pub struct WorkerConfig {
    pub worker: Worker,
    pub nats: Nats,
    pub postgres: Postgres,
    pub redis: Redis,
    pub account: Account,
    pub rpc: Rpc,
    pub group: Group,
    pub trace: TraceConfig,
    pub log: LogConfig,
}

/// `[worker]`: lanes, chunks, nodes.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "default.toml explains each")]
pub struct Worker {
    pub name: String,
    pub metrics: String,
    pub threads: usize,
    pub committers: usize,
    pub chunk_frames: usize,
    pub chunk_bytes: usize,
    pub balance_ms: Millis,
    pub confirm_ms: Millis,
    pub node_dead_ms: Millis,
    pub drain_seconds: Seconds,
    pub ready_file: String,
}

/// `[nats]`: the broker.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "default.toml explains each")]
pub struct Nats {
    #[serde(flatten)]
    pub way: nats::Settings,
    pub prefix: String,
    pub lanes: u16,
    pub stream_bytes: i64,
    pub ack_wait_seconds: Seconds,
}

/// `[postgres]`: the truth.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "default.toml explains each")]
pub struct Postgres {
    pub url: SecretUrl,
    pub password: Secret,
    pub ca: String,
    pub certificate: String,
    pub key: String,
    pub schema: String,
    pub pool: u32,
    pub connect_seconds: Seconds,
    pub hung_seconds: Seconds,
}

/// `[redis]`: the directory.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "default.toml explains each")]
pub struct Redis {
    pub url: SecretUrl,
    pub password: Secret,
    pub ca: String,
    pub certificate: String,
    pub key: String,
    pub prefix: String,
    pub timeout_ms: Millis,
    pub offline_days: u64,
}

/// `[account]`: passwords, tokens, devices, limits.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "default.toml explains each")]
pub struct Account {
    pub argon2_kib: u32,
    pub argon2_passes: u32,
    pub hashers: usize,
    pub token_cache_seconds: Seconds,
    pub devices: i64,
    pub device_days: i32,
    pub login_failures: u64,
    pub login_window_seconds: Seconds,
    pub phone_lookups: u64,
}

/// `[rpc]`: the edges' calls.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "default.toml explains each")]
pub struct Rpc {
    pub concurrency: usize,
}

/// `[group]`: limits on groups.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "default.toml explains each")]
pub struct Group {
    pub members: i64,
    pub cache_offline_below: i64,
}

impl Default for WorkerConfig {
    /// The compiled-in defaults.
    fn default() -> Self {
        match shared::config::Layers::new(DEFAULT).resolve(RULES) {
            Ok(resolved) => resolved.config,
            Err(errors) => unreachable!("a test resolves the defaults: {errors}"),
        }
    }
}

fn is_schema(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn is_key_prefix(text: &str) -> bool {
    text.len() <= 40 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_:".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_every_key_has_a_rule() {
        assert_eq!(shared::config::without_rule(DEFAULT, RULES), Vec::<String>::new());
        let config = WorkerConfig::default();
        assert_eq!((config.nats.lanes, config.worker.committers), (8, 2));
        assert_eq!(config.account.token_cache_seconds.get().as_secs(), 600);
    }

    #[test]
    fn a_schema_is_a_plain_identifier() {
        assert!(is_schema("t_1") && is_schema("public"));
        for text in ["", "1a", "A", "a b", "a\"b", "a-b"] {
            assert!(!is_schema(text), "{text}");
        }
    }
}
