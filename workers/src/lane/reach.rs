//! How far the batches of a chunk reach in each lane, and which of them are new to it. No I/O.

use std::collections::BTreeMap;

use shared::subject::Lane;

/// The lanes of a chunk.
#[derive(Debug, Default)]
pub(super) struct Reach {
    lanes: BTreeMap<Lane, Span>,
}

#[derive(Debug)]
struct Span {
    first: u64,
    newest: u64,
}

impl Reach {
    /// Notes a batch, in the order in which they came, of a lane that is committed up to `committed`. Whether it is
    /// fresh: neither committed before nor in this chunk already, so that its frames are to be counted. What was
    /// unacknowledged for long may come a second time, after newer ones.
    pub fn note(&mut self, lane: Lane, stream_seq: u64, committed: u64) -> bool {
        let span = self.lanes.entry(lane).or_insert(Span { first: stream_seq, newest: committed });
        let fresh = stream_seq > span.newest;
        span.newest = stream_seq.max(span.newest);
        fresh
    }

    /// Each lane with the batch that came first: by it a chunk that crashes is known again.
    pub fn first(&self) -> impl Iterator<Item = (Lane, u64)> {
        self.lanes.iter().map(|(lane, span)| (*lane, span.first))
    }

    /// Each lane with the newest stream sequence that is committed once this chunk is.
    pub fn newest(&self) -> impl Iterator<Item = (Lane, u64)> {
        self.lanes.iter().map(|(lane, span)| (*lane, span.newest))
    }
}

#[cfg(test)]
mod model;
