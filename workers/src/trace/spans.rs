//! This process's spans: frames worked on, and the deliveries of what was stored.

use shared::trace::{
    Chunk, Outcome, Row,
    export::{Sampled, Side, Source, Span, SpanNo, since},
    now,
};

use super::Trace;

/// So long, microseconds, a chunk that is not finished keeps those after it waiting; then it is told as far as it came.
const UNFINISHED: i64 = 5_000_000;

/// How far the rings have been read.
#[derive(Debug)]
pub struct Spans {
    trace: Trace,
    rows: u64,
}

impl Spans {
    /// From the beginning.
    pub fn new(trace: Trace) -> Self {
        Self { trace, rows: 0 }
    }
}

impl Source for Spans {
    fn spans(&mut self, sampled: &Sampled, into: &mut Vec<Span>) -> u64 {
        let Some(shelves) = &self.trace.0 else { return 0 };
        let late = now() - UNFINISHED;
        since(&shelves.rows, &mut self.rows, |row| {
            // Before the rows are locked nobody holds the chunks, and nobody who holds the chunks wants the rows.
            let chunk = shelves.chunks.ring().get(row.chunk).copied();
            let Some(chunk) = chunk else { return true };
            if chunk.acknowledged == 0 && chunk.pulled > late {
                return false;
            }
            if sampled.has(row.key) {
                tell(row, &chunk, &shelves.name, into);
            }
            true
        })
    }
}

fn tell(row: &Row, chunk: &Chunk, worker: &str, into: &mut Vec<Span>) {
    let Row { key, user, session, lane, stream_seq, frame, outcome, conv, seq, .. } = *row;
    let stored = outcome == Outcome::Stored;
    let mut attributes = vec![
        ("worker", worker.into()),
        ("user", user.0.into()),
        ("session", session.0.into()),
        ("lane", i64::from(lane).into()),
        ("stream_seq", number(stream_seq)),
        ("frame", i64::from(frame).into()),
        ("chunk", number(chunk.chunk)),
        ("frames", i64::from(chunk.frames).into()),
        ("outcome", outcome.to_string().into()),
    ];
    attributes.extend(conv.map(|conv| ("conv", conv.to_string().into())));
    attributes.extend(seq.map(|seq| ("seq", seq.0.into())));
    let error = matches!(outcome, Outcome::Refused(_) | Outcome::Dead).then(|| outcome.to_string());
    let id = if stored { SpanNo::stored(key) } else { SpanNo::worked(key, stream_seq, frame) };
    into.push(Span {
        key,
        id,
        parent: Some(SpanNo::accepted(key, stream_seq, frame)),
        name: if stored { "commit" } else { "work" },
        kind: Side::Consumer,
        from: chunk.pulled,
        to: chunk.committed.max(chunk.pulled),
        attributes,
        error,
    });
    if stored {
        let confirmed = if chunk.confirmed == 0 { chunk.sent } else { chunk.confirmed };
        into.push(Span {
            key,
            id: SpanNo::delivered(key),
            parent: Some(id),
            name: "deliver",
            kind: Side::Producer,
            from: chunk.committed,
            to: confirmed.max(chunk.committed),
            attributes: vec![("worker", worker.into()), ("chunk", number(chunk.chunk))],
            error: (chunk.confirmed == 0).then(|| "not confirmed by every node".to_owned()),
        });
    }
}

fn number(bits: u64) -> shared::trace::export::Value {
    i64::try_from(bits).unwrap_or(i64::MAX).into()
}
