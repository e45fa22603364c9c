//! This process's part of the trace: what became of each frame, how far its chunk got and when, and which nodes a chunk's
//! deliveries went to. See [`shared::trace`].

mod answer;
mod spans;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use shared::{
    ids::NodeId,
    trace::{Chunk, Key, Outcome, Row, Sent, Settled as How, Shelf, TraceConfig, now, when},
};

pub use self::spans::Spans;
use crate::{
    delivery::Settled,
    pipeline::{
        Item,
        decode::Dead,
        effect::{self, Effect},
    },
    store::lanes::Place,
};

/// The rings of one process. Cheap to clone; without rings it notes nothing.
#[derive(Debug, Clone, Default)]
pub struct Trace(Option<Arc<Shelves>>);

#[derive(Debug)]
struct Shelves {
    name: String,
    started: i64,
    keep: usize,
    rows: Shelf<Row>,
    /// Each under its own number.
    chunks: Shelf<Chunk>,
    sent: Shelf<Sent>,
    nodes: Mutex<Vec<NodeId>>,
}

/// Nodes whose names are known. When full all are forgotten, and records of before name the wrong ones; a node is one
/// start of one edge.
const NODES: usize = 10_000;

/// A chunk under way, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkNo(pub u64);

/// How far a chunk has come after its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in shared::trace::Chunk")]
pub enum Step {
    Routed,
    Sent,
    Confirmed,
    Acknowledged,
}

impl Trace {
    /// With rings of the configured size, or without any.
    pub fn new(name: &str, config: &TraceConfig) -> Self {
        let keep = config.keep;
        Self((keep > 0).then(|| {
            Arc::new(Shelves {
                name: name.to_owned(),
                started: now(),
                keep,
                rows: Shelf::new(keep),
                chunks: Shelf::new(keep),
                sent: Shelf::new(keep),
                nodes: Mutex::default(),
            })
        }))
    }

    /// A chunk is begun, or was at that moment.
    pub fn begin(&self, since: Instant) -> ChunkNo {
        let Some(shelves) = &self.0 else { return ChunkNo(0) };
        let pulled = when(since, now());
        let mut ring = shelves.chunks.ring();
        let chunk = ring.written();
        ring.push(Chunk { chunk, pulled, ..Chunk::default() });
        ChunkNo(chunk)
    }

    /// Frames of a chunk are committed, and came to this.
    pub fn committed(&self, chunk: ChunkNo, items: &[Item], places: &[Place], effects: &[Effect]) {
        if tracing::enabled!(tracing::Level::DEBUG) {
            for ((item, place), effect) in items.iter().zip(places).zip(effects) {
                log(chunk, item, *place, effect);
            }
        }
        let Some(shelves) = &self.0 else { return };
        let mut ring = shelves.rows.ring();
        for ((item, place), effect) in items.iter().zip(places).zip(effects) {
            let (from, stands) = (&item.accepted.from, stands(effect));
            ring.push(Row {
                key: Key::of(from.user, item.accepted.id().as_str()),
                user: from.user,
                session: from.session,
                lane: place.lane.0,
                stream_seq: place.stream_seq,
                frame: u32::try_from(place.frame).unwrap_or(0),
                chunk: chunk.0,
                outcome: outcome(effect.outcome),
                conv: stands.map(|(conv, _)| conv),
                seq: stands.map(|(_, seq)| seq),
            });
        }
        drop(ring);
        self.count(chunk, items.len());
    }

    /// Frames of a chunk are set aside.
    pub fn dead(&self, chunk: ChunkNo, dead: &[Dead]) {
        let Some(shelves) = self.0.as_ref().filter(|_| !dead.is_empty()) else { return };
        let mut ring = shelves.rows.ring();
        for one in dead {
            let Some(frame) = &one.accepted else { continue };
            ring.push(Row {
                key: Key::of(frame.from.user, frame.id().as_str()),
                user: frame.from.user,
                session: frame.from.session,
                lane: one.place.lane.0,
                stream_seq: one.place.stream_seq,
                frame: u32::try_from(one.place.frame).unwrap_or(0),
                chunk: chunk.0,
                outcome: Outcome::Dead,
                conv: None,
                seq: None,
            });
        }
        drop(ring);
        self.count(chunk, dead.len());
    }

    /// A chunk has come so far, now.
    pub fn step(&self, chunk: ChunkNo, step: Step) {
        let Some(shelves) = &self.0 else { return };
        let at = now();
        if let Some(chunk) = shelves.chunks.ring().get_mut(chunk.0) {
            *match step {
                Step::Routed => &mut chunk.routed,
                Step::Sent => &mut chunk.sent,
                Step::Confirmed => &mut chunk.confirmed,
                Step::Acknowledged => &mut chunk.acknowledged,
            } = at;
        }
    }

    /// What was done with a chunk's deliveries to a node.
    pub fn sent(&self, chunk: ChunkNo, node: &NodeId, settled: &Settled) {
        let Some(shelves) = &self.0 else { return };
        let how = match settled {
            Settled::Sent(..) => How::Sent,
            Settled::Skipped(..) => How::Skipped,
            Settled::Nothing => How::Dead,
        };
        let node = shelves.number(node);
        shelves.sent.ring().push(Sent { chunk: chunk.0, node, how, at: now() });
    }

    fn count(&self, chunk: ChunkNo, frames: usize) {
        let Some(shelves) = &self.0 else { return };
        let at = now();
        if let Some(chunk) = shelves.chunks.ring().get_mut(chunk.0) {
            chunk.committed = at;
            chunk.frames = chunk.frames.saturating_add(u32::try_from(frames).unwrap_or(u32::MAX));
        }
    }
}

impl Shelves {
    fn number(&self, node: &NodeId) -> u32 {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        // The newest come last, and are looked for first: there are few that live.
        let at = nodes.iter().rposition(|known| known == node).unwrap_or_else(|| {
            if nodes.len() >= NODES {
                nodes.clear();
            }
            nodes.push(node.clone());
            nodes.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }
}

fn outcome(outcome: effect::Outcome) -> Outcome {
    match outcome {
        effect::Outcome::Stored => Outcome::Stored,
        effect::Outcome::Duplicate => Outcome::Duplicate,
        effect::Outcome::Refused(code) => Outcome::Refused(code),
        effect::Outcome::Dead => Outcome::Dead,
    }
}

fn stands(effect: &Effect) -> Option<(shared::ids::Conversation, shared::ids::Seq)> {
    effect.answer.as_ref().and_then(|answer| answer.place)
}

/// One frame as a log line.
fn log(ChunkNo(chunk): ChunkNo, item: &Item, place: Place, effect: &Effect) {
    let (from, id) = (&item.accepted.from, item.accepted.id());
    let (lane, stream_seq, outcome) = (place.lane.0, place.stream_seq, outcome(effect.outcome));
    match stands(effect) {
        Some((conv, seq)) => tracing::debug!(
            user = from.user.0, device = %from.device, session = from.session.0, %id, %conv, seq = seq.0, lane,
            stream_seq, frame = place.frame, chunk, %outcome, "committed"
        ),
        None => tracing::debug!(
            user = from.user.0, device = %from.device, session = from.session.0, %id, lane, stream_seq,
            frame = place.frame, chunk, %outcome, "committed"
        ),
    }
}
