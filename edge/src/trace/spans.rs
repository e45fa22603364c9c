//! This node's spans: frames that the broker took, and what sessions did with stored ones.

use shared::trace::{
    Accepted, Stop, What, Why,
    export::{Sampled, Side, Source, Span, SpanNo, since},
};

use super::Trace;

/// How far the rings have been read.
#[derive(Debug)]
pub struct Spans {
    trace: Trace,
    node: String,
    accepted: u64,
    stops: u64,
}

impl Spans {
    /// From the beginning. `node` is the name that the spans carry.
    pub fn new(trace: Trace, node: String) -> Self {
        Self { trace, node, accepted: 0, stops: 0 }
    }
}

impl Source for Spans {
    fn spans(&mut self, sampled: &Sampled, into: &mut Vec<Span>) -> u64 {
        let Some(shelves) = &self.trace.0 else { return 0 };
        let node = &self.node;
        let taken = since(&shelves.accepted, &mut self.accepted, |record| {
            if sampled.has(record.key) {
                into.push(accept(record, node));
            }
            true
        });
        let stopped = since(&shelves.stops, &mut self.stops, |record| {
            if sampled.has(record.key) {
                into.push(stop(record, node));
            }
            true
        });
        taken + stopped
    }
}

fn accept(record: &Accepted, node: &str) -> Span {
    let Accepted { key, user, session, lane, stream_seq, frame, opened, at } = *record;
    Span {
        key,
        id: SpanNo::accepted(key, stream_seq, frame),
        parent: None,
        name: "accept",
        kind: Side::Producer,
        from: opened,
        to: at,
        attributes: vec![
            ("node", node.into()),
            ("user", user.0.into()),
            ("session", session.0.into()),
            ("lane", i64::from(lane).into()),
            ("stream_seq", i64::try_from(stream_seq).unwrap_or(i64::MAX).into()),
            ("frame", i64::from(frame).into()),
        ],
        error: None,
    }
}

/// A moment: when it was put before the session stands in another record.
fn stop(record: &Stop, node: &str) -> Span {
    let Stop { key, user, session, conv, seq, what, why, at } = *record;
    let mut attributes = vec![
        ("node", node.into()),
        ("user", user.0.into()),
        ("session", session.0.into()),
        ("conv", conv.to_string().into()),
        ("seq", seq.0.into()),
    ];
    if why != Why::None {
        attributes.push(("why", why.as_str().into()));
    }
    let error = (what == What::Dropped).then(|| "the session's outbox was full".to_owned());
    Span {
        key,
        id: SpanNo::stopped(key, session.0, at),
        parent: Some(SpanNo::delivered(key)),
        name: what.as_str(),
        kind: Side::Consumer,
        from: at,
        to: at,
        attributes,
        error,
    }
}
