//! The edge's configuration, typed. `default.toml` beside this file says what each key means.

use serde::Deserialize;
use shared::{
    config::{Millis, Rule, Seconds},
    nats,
    telemetry::LogConfig,
    trace::TraceConfig,
};

/// The annotated defaults.
pub const DEFAULT: &str = include_str!("default.toml");

/// What each value may be.
pub const RULES: &[Rule] = &[
    Rule::name("edge.name"),
    Rule::address("edge.listen"),
    Rule::address("edge.http"),
    Rule::address("edge.metrics"),
    Rule::address_or_empty("edge.advertise"),
    Rule::address_or_empty("edge.compat_listen"),
    Rule::address_or_empty("edge.compat_advertise"),
    Rule::address_or_empty("edge.compat_http"),
    Rule::any("edge.compat_greeting"),
    Rule::text(
        "edge.trusted_proxies",
        is_proxies,
        "addresses and networks as 10.0.0.7, 172.16.0.0/12, separated by commas",
    ),
    Rule::text(
        "edge.origins",
        is_origins,
        "origins as https://chat.example.com, http://localhost:5173, separated by commas",
    ),
    Rule::any("edge.ready_file"),
    Rule::any("edge.published_on"),
    Rule::url("nats.url", &["nats", "tls"]),
    Rule::secret("nats.password"),
    Rule::any("nats.ca"),
    Rule::any("nats.certificate"),
    Rule::any("nats.key"),
    Rule::name("nats.prefix"),
    Rule::range("nats.lanes", 1, 1024),
    Rule::range("limits.frame_bytes", 1024, 1 << 20),
    Rule::range("limits.text_bytes", 1, 1 << 20),
    Rule::at_most("limits.text_bytes", "limits.frame_bytes"),
    Rule::range("limits.entries", 1, 10_000),
    Rule::range("limits.login_seconds", 1, 3600),
    Rule::range("limits.idle_seconds", 0, 86_400),
    Rule::range("limits.connections", 1, 1_000_000),
    Rule::range("limits.unacked", 1, 100_000),
    Rule::range("limits.outbox", 1, 100_000),
    Rule::range("limits.unpublished", 1, 100_000),
    Rule::range("limits.write_seconds", 1, 3600),
    Rule::range("limits.http_body_bytes", 1024, 16 << 20),
    Rule::any("tls.certificate"),
    Rule::any("tls.key"),
    Rule::range("tls.handshake_seconds", 1, 3600),
    Rule::range("tls.handshakes", 1, 100_000),
    Rule::range("tls.reload_seconds", 1, 86_400),
    Rule::range("publisher.batch_bytes", 1024, 900_000),
    Rule::range("publisher.queue_frames", 1, 1_000_000),
    Rule::range("publisher.rest_ms", 0, 1000),
    Rule::range("publisher.timeout_seconds", 1, 60),
    Rule::range("rpc.timeout_seconds", 1, 60),
    Rule::range("rpc.http_timeout_seconds", 1, 60),
    Rule::range("rpc.attempt_ms", 50, 60_000),
    Rule::range("node.heartbeat_ms", 10, 60_000),
    Rule::range("node.lease_ms", 10, 60_000),
    Rule::at_most("node.heartbeat_ms", "node.lease_ms"),
    Rule::range("node.cursor_ms", 10, 60_000),
    Rule::range("drain.notice_ms", 0, 600_000),
    Rule::range("drain.pace", 1, 1_000_000),
    Rule::range("drain.grace_ms", 0, 600_000),
    Rule::range("drain.deadline_seconds", 1, 3600),
    Rule::range("trace.keep", 0, 16 << 20),
    Rule::collector("trace.otlp"),
    Rule::range("trace.sample", 1, 1_000_000_000),
    Rule::range("trace.export_ms", 100, 60_000),
    Rule::log_filter("log.filter"),
    Rule::one_of("log.format", &["text", "json"]),
];

/// Everything an edge can be told.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "sections; default.toml explains them")]
pub struct EdgeConfig {
    pub edge: Edge,
    pub nats: Nats,
    pub tls: Tls,
    pub limits: Limits,
    pub publisher: Publisher,
    pub rpc: Rpc,
    pub node: Node,
    pub drain: Drain,
    pub trace: TraceConfig,
    pub log: LogConfig,
}

/// `[edge]`: name and addresses.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "default.toml explains each")]
pub struct Edge {
    pub name: String,
    pub listen: String,
    pub http: String,
    pub metrics: String,
    pub advertise: String,
    pub trusted_proxies: String,
    pub origins: String,
    pub compat_listen: String,
    pub compat_advertise: String,
    pub compat_http: String,
    pub compat_greeting: String,
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
}

/// `[tls]`: encrypting the public ports.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "default.toml explains each")]
pub struct Tls {
    pub certificate: String,
    pub key: String,
    pub handshake_seconds: Seconds,
    pub handshakes: usize,
    pub reload_seconds: Seconds,
}

/// `[limits]`: what a client may do.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "default.toml explains each")]
pub struct Limits {
    pub frame_bytes: usize,
    pub text_bytes: usize,
    pub entries: usize,
    pub login_seconds: Seconds,
    pub idle_seconds: Seconds,
    pub connections: usize,
    pub unacked: usize,
    pub outbox: usize,
    pub unpublished: usize,
    pub write_seconds: Seconds,
    pub http_body_bytes: usize,
}

impl Limits {
    /// The part that the parser enforces.
    pub fn frame(&self) -> shared::message::parse::Limits {
        shared::message::parse::Limits { text: self.text_bytes, entries: self.entries, ..Default::default() }
    }
}

/// `[publisher]`: batches to the broker.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "default.toml explains each")]
pub struct Publisher {
    pub batch_bytes: usize,
    pub queue_frames: usize,
    pub rest_ms: Millis,
    pub timeout_seconds: Seconds,
}

/// `[rpc]`: calls to workers.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "default.toml explains each")]
pub struct Rpc {
    pub timeout_seconds: Seconds,
    pub http_timeout_seconds: Seconds,
    pub attempt_ms: Millis,
}

/// `[node]`: liveness and acknowledgements.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "default.toml explains each")]
pub struct Node {
    pub heartbeat_ms: Millis,
    pub lease_ms: Millis,
    pub cursor_ms: Millis,
}

/// `[drain]`: the ordered end.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "default.toml explains each")]
pub struct Drain {
    pub notice_ms: Millis,
    pub pace: u32,
    pub grace_ms: Millis,
    pub deadline_seconds: Seconds,
}

fn is_proxies(text: &str) -> bool {
    crate::http::peer::Proxies::parse(text).is_some()
}

fn is_origins(text: &str) -> bool {
    crate::http::origin::Origins::parse(text).is_some()
}

impl Default for EdgeConfig {
    /// The compiled-in defaults.
    fn default() -> Self {
        match shared::config::Layers::new(DEFAULT).resolve(RULES) {
            Ok(resolved) => resolved.config,
            Err(errors) => unreachable!("a test resolves the defaults: {errors}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_every_key_has_a_rule() {
        assert_eq!(shared::config::without_rule(DEFAULT, RULES), Vec::<String>::new());
        let config = EdgeConfig::default();
        assert_eq!((config.nats.lanes, config.limits.frame_bytes), (8, 65_536));
        assert_eq!(config.limits.frame().text, 32_768);
    }
}
