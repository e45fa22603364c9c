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
}

#[derive(Debug, Default)]
struct Batches {
    full: Vec<Bytes>,
    open: Vec<u8>,
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
        if batches.open.len() > BATCH_BYTES && before > 0 {
            let last = batches.open.split_off(before);
            let full = std::mem::replace(&mut batches.open, last);
            batches.full.push(full.into());
        }
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
