//! Deliveries that a call brings about: a replaced or revoked session, a receipt.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use shared::{
    delivery::{self, Delivery},
    ids::NodeId,
};
use tokio::sync::Semaphore;

use crate::{delivery::Deliveries, nodes::Nodes};

/// Confirmations awaited at a time. Full: a delivery is sent without waiting for its confirmation; whoever it was for
/// finds out by its backlog.
const AWAITED: usize = 1024;
/// One batch, bytes.
const BATCH: usize = 512 * 1024;

/// Sends deliveries to nodes, on the same road as those of the lanes.
#[derive(Debug, Clone)]
pub(crate) struct Tell {
    deliveries: Deliveries,
    nodes: Nodes,
    awaited: Arc<Semaphore>,
}

/// Deliveries, by node.
pub(crate) type ByNode = HashMap<NodeId, Vec<Delivery>>;

impl Tell {
    pub fn new(deliveries: Deliveries, nodes: Nodes) -> Self {
        Self { deliveries, nodes, awaited: Arc::new(Semaphore::new(AWAITED)) }
    }

    /// Every live node.
    pub fn everywhere(&self) -> Vec<NodeId> {
        self.nodes.live().into_iter().map(|node| node.node).collect()
    }

    /// Sends, and follows up on the confirmations in the background.
    pub async fn tell(&self, by_node: ByNode) {
        for (node, deliveries) in by_node {
            let sent = self.deliveries.send(&node, batches(&deliveries)).await;
            if let Ok(permit) = self.awaited.clone().try_acquire_owned() {
                let deliveries = self.deliveries.clone();
                tokio::spawn(async move {
                    deliveries.settle(sent).await;
                    drop(permit);
                });
            }
        }
    }
}

fn batches(deliveries: &[Delivery]) -> Vec<Bytes> {
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    for delivery in deliveries {
        delivery::encode(delivery, &mut batch);
        if batch.len() >= BATCH {
            batches.push(std::mem::take(&mut batch).into());
        }
    }
    if !batch.is_empty() {
        batches.push(batch.into());
    }
    batches
}
