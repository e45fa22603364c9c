//! Gathers what a chunk has for each node into batches.

use std::collections::HashMap;

use bytes::Bytes;
use shared::{delivery, delivery::Delivery, ids::NodeId};

/// The longest batch to a node, bytes; below NATS's default payload limit of 1 MiB.
const BATCH_BYTES: usize = 512 * 1024;

/// What goes to each node, in the order it was put in.
#[derive(Debug, Default)]
pub struct Outgoing {
    nodes: HashMap<NodeId, Batches>,
    size: Size,
}

#[derive(Debug, Default)]
struct Batches {
    full: Vec<Bytes>,
    open: Vec<u8>,
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
        let batches = match self.nodes.get_mut(node) {
            Some(batches) => batches,
            None => self.nodes.entry(node.clone()).or_default(),
        };
        let before = batches.open.len();
        delivery::encode(delivery, &mut batches.open);
        self.size.frames += 1;
        self.size.bytes += (batches.open.len() - before) as u64;
        if batches.open.len() > BATCH_BYTES && before > 0 {
            let last = batches.open.split_off(before);
            let full = std::mem::replace(&mut batches.open, last);
            batches.full.push(full.into());
        }
    }

    /// How much has been put in.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The batches of each node.
    pub fn into_nodes(self) -> impl Iterator<Item = (NodeId, Vec<Bytes>)> {
        self.nodes.into_iter().map(|(node, mut batches)| {
            if !batches.open.is_empty() {
                batches.full.push(batches.open.into());
            }
            (node, batches.full)
        })
    }
}
