//! What every session of a node shares.

use std::sync::Arc;

use shared::{ids::NodeId, message::parse, subject::Subjects};

use crate::{
    calls::{Calls, ask::Ask, backlogs::Backlogs, logins::Logins, notes::Notes},
    config::{EdgeConfig, Limits},
    drain::Drain,
    metric::Metrics,
    node::epoch::Epochs,
    publisher::{Publisher, Settings, sink::Sink},
    registry::Registry,
    trace::Trace,
    vital::Vital,
};

/// One node. Sessions hold it by `Arc`.
#[derive(Debug)]
pub struct Context {
    /// This start of this node.
    pub node: NodeId,
    /// What a client may do.
    pub limits: Limits,
    /// The part of it that the parser enforces.
    pub parse: parse::Limits,
    /// Its sessions.
    pub registry: Arc<Registry>,
    /// The way to the broker's stream.
    pub publisher: Publisher,
    /// Questions to the workers.
    pub calls: Calls,
    /// Logins among them.
    pub logins: Logins,
    /// What sessions have to tell.
    pub notes: Notes,
    /// Under which directory epoch sessions stand there.
    pub epochs: Epochs,
    /// Its numbers.
    pub metrics: Metrics,
    /// Backlog reads among them.
    pub backlogs: Backlogs,
    /// Its end, and how to ask for it.
    pub drain: Drain,
    /// What it remembers of messages that went by.
    pub trace: Trace,
}

/// Where accepted frames and questions to the workers go: the broker in earnest.
pub type Ways = (Arc<dyn Sink>, Arc<dyn Ask>);

impl Context {
    /// One by this configuration, whose clients are told to come to `server` and `port`. Its tasks begin.
    pub fn new(
        config: &EdgeConfig,
        (sink, ask): Ways,
        subjects: &Subjects,
        node: &NodeId,
        (server, port): (&str, u16),
        vital: &Vital,
    ) -> Self {
        let (metrics, registry) = (Metrics::new(), Arc::new(Registry::default()));
        let trace = Trace::new(&config.trace);
        let settings = Settings {
            lanes: config.nats.lanes,
            batch_bytes: config.publisher.batch_bytes,
            queue_frames: config.publisher.queue_frames,
            rest: config.publisher.rest_ms.get(),
            timeout: config.publisher.timeout_seconds.get(),
            unpublished: config.limits.unpublished,
        };
        let (timeout, http) = (config.rpc.timeout_seconds.get(), config.rpc.http_timeout_seconds.get());
        let calls =
            Calls::new(ask, subjects.clone(), timeout, http).with_attempts(config.rpc.attempt_ms.get());
        Self {
            node: node.clone(),
            limits: config.limits.clone(),
            parse: config.limits.frame(),
            publisher: Publisher::start(
                sink,
                registry.clone(),
                subjects,
                node,
                settings,
                (&metrics, &trace),
                vital,
            ),
            trace,
            registry,
            backlogs: Backlogs::start(calls.clone(), &metrics, vital),
            logins: Logins::start(calls.clone(), node.clone(), server.to_owned(), port, vital),
            calls,
            notes: Notes::new(metrics.clone()),
            epochs: Epochs::default(),
            metrics,
            drain: Drain::new(vital.shutdown()),
        }
    }

    /// Whether it takes no new sessions.
    pub fn is_draining(&self) -> bool {
        self.drain.refuses()
    }

    /// Every session is to read its backlog.
    pub fn resync(&self, why: &'static str) {
        let mut sessions = 0_u64;
        self.registry.for_all(|session| {
            session.behind(why);
            sessions += 1;
        });
        tracing::info!(why, sessions, "every session reads its backlog");
    }
}
