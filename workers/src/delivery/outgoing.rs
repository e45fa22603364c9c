//! Gathers what a chunk has for each node into batches.

use std::collections::HashMap;

use bytes::Bytes;
use shared::{delivery, delivery::Delivery, ids::NodeId, telemetry::Moment};

use super::answers::Answers;

/// The longest batch to a node, bytes; below NATS's default payload limit of 1 MiB.
pub(super) const BATCH_BYTES: usize = 512 * 1024;

/// What goes to each node, in the order it was put in.
#[derive(Debug, Default)]
pub struct Outgoing {
    nodes: HashMap<NodeId, Gathering>,
    size: Size,
}

#[derive(Debug, Default)]
struct Gathering {
    full: Vec<Bytes>,
    open: Vec<u8>,
    answers: Answers,
}

/// What goes to one node.
#[derive(Debug, Default)]
pub struct Batches {
    /// In their order.
    pub batches: Vec<Bytes>,
    /// The answers in them once more, should they have to be kept.
    pub answers: Answers,
    /// When the oldest frame was accepted of which they came.
    pub accepted: Option<Moment>,
}

impl From<Vec<Bytes>> for Batches {
    /// Batches without an answer.
    fn from(batches: Vec<Bytes>) -> Self {
        Self { batches, ..Self::default() }
    }
}

/// What was put in, for the counters.
#[derive(Debug, Default, Clone, Copy)]
pub struct Size {
    /// Deliveries.
    pub frames: u64,
    /// Bytes of all batches.
    pub bytes: u64,
}

impl Outgoing {
    /// Adds one delivery for a node.
    pub fn put(&mut self, node: &NodeId, delivery: &Delivery) {
        let to = match self.nodes.get_mut(node) {
            Some(to) => to,
            None => self.nodes.entry(node.clone()).or_default(),
        };
        let before = to.open.len();
        delivery::encode(delivery, &mut to.open);
        if matches!(delivery, Delivery::Answer { .. }) {
            to.answers.add(&to.open[before..]);
        }
        self.size.frames += 1;
        self.size.bytes += (to.open.len() - before) as u64;
        if to.open.len() > BATCH_BYTES && before > 0 {
            let last = to.open.split_off(before);
            let full = std::mem::replace(&mut to.open, last);
            to.full.push(full.into());
        }
    }

    /// How much has been put in.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The batches of each node.
    pub fn into_nodes(self) -> impl Iterator<Item = (NodeId, Batches)> {
        self.nodes.into_iter().map(|(node, Gathering { mut full, open, answers })| {
            if !open.is_empty() {
                full.push(open.into());
            }
            (node, Batches { batches: full, answers, accepted: None })
        })
    }
}
