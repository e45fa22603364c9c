//! Lanes: who owns which, pulling them from JetStream, and acknowledging what is done.
//!
//! A lane has one owner at a time: the [`committer`] whose PostgreSQL session holds its advisory lock. The same session
//! inserts, so that losing the lock is losing the ability to write. Taking a lane recreates its consumer ([`source`]):
//! what was unacknowledged comes again, at once and in order.

mod chunk;
pub mod committer;
pub mod common;
pub mod finish;
pub mod ownership;
pub mod probation;
mod reach;
pub mod source;
pub mod turn;

use shared::subject::Lane;

/// One batch as an edge published it, with what is needed to acknowledge it.
pub struct Pulled {
    /// Its lane.
    pub lane: Lane,
    /// Which taking of the lane pulled it: what an earlier one left in the queue is not processed.
    pub taking: u64,
    /// Which stream: another one counts its sequences from 1 again.
    pub stream: std::sync::Arc<str>,
    /// Its place in the stream.
    pub stream_seq: u64,
    /// When its oldest frame was accepted; where its edge does not say, when the broker took it.
    pub accepted: shared::telemetry::Moment,
    /// Counted frames, back to back.
    pub payload: bytes::Bytes,
    /// Acknowledges it.
    pub acker: async_nats::jetstream::message::Acker,
}
