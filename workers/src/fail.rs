//! Fail points: named steps of the pipeline at which a debug build ends itself, as a SIGKILL there would, so that tests
//! reach every place between two steps. Nothing of this is in a release build.
//!
//! The environment variable [`VARIABLE`] says where: `step:n` at the n-th time that step is reached, `poison:TEXT` in
//! the middle of the transaction of a chunk that holds a text with TEXT in it. `panic-step:n` ends only the task that
//! reaches the step, as a fault in the program would.

#[cfg(debug_assertions)]
use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use crate::pipeline::Item;

/// The environment variable.
pub const VARIABLE: &str = "IM_FAIL_POINT";

/// The steps of a chunk, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A batch of it has come from the broker.
    Fetched,
    /// It is put together.
    Pulled,
    /// Taken apart into frames.
    Decoded,
    /// Its rows are written, and not committed.
    Written,
    /// Committed, and nobody told.
    Committed,
    /// Its recipients are looked up, and nothing is sent.
    Routed,
    /// Sent to the nodes, and not confirmed.
    Sent,
    /// Confirmed by the nodes, and not acknowledged to the broker.
    Confirmed,
    /// Acknowledged.
    Acknowledged,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Fetched,
        Self::Pulled,
        Self::Decoded,
        Self::Written,
        Self::Committed,
        Self::Routed,
        Self::Sent,
        Self::Confirmed,
        Self::Acknowledged,
    ];

    /// As [`VARIABLE`] names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Pulled => "pulled",
            Self::Decoded => "decoded",
            Self::Written => "written",
            Self::Committed => "committed",
            Self::Routed => "routed",
            Self::Sent => "sent",
            Self::Confirmed => "confirmed",
            Self::Acknowledged => "acknowledged",
        }
    }
}

/// Ends the process, or the task, if this is the step, and the time, to do so.
#[cfg(debug_assertions)]
pub fn reached(step: Step) {
    static REACHED: AtomicU64 = AtomicU64::new(0);
    let Some((name, value)) = asked() else { return };
    let task = name.strip_prefix("panic-");
    if task.unwrap_or(name) == step.as_str()
        && value.parse() == Ok(REACHED.fetch_add(1, Ordering::Relaxed) + 1)
    {
        assert!(task.is_none(), "a fail point ends this task");
        end();
    }
}

/// Ends the process if one of these frames is the poison.
#[cfg(debug_assertions)]
pub fn swallowed(items: &[Item]) {
    use shared::message::Body;
    let Some(("poison", poison)) = asked() else { return };
    let is_poison = |item: &Item| matches!(&item.accepted.what, Body::Message(message) if message.content.contains(poison));
    if items.iter().any(is_poison) {
        end();
    }
}

/// Whether something is asked for between the writing of a chunk and its commit: it is not done in one statement then.
#[cfg(debug_assertions)]
pub fn between_writing_and_commit() -> bool {
    asked().is_some_and(|(name, _)| name == "poison" || name.ends_with(Step::Written.as_str()))
}

#[cfg(debug_assertions)]
fn asked() -> Option<(&'static str, &'static str)> {
    static ASKED: OnceLock<Option<String>> = OnceLock::new();
    ASKED.get_or_init(|| std::env::var(VARIABLE).ok()).as_deref()?.split_once(':')
}

#[cfg(debug_assertions)]
fn end() -> ! {
    tracing::warn!("a fail point ends this process");
    std::process::abort()
}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
#[inline]
pub fn reached(_: Step) {}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
#[inline]
pub fn swallowed(_: &[Item]) {}

/// No, in a release build.
#[cfg(not(debug_assertions))]
#[inline]
pub fn between_writing_and_commit() -> bool {
    false
}
