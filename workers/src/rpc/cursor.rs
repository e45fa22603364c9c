//! `session.cursor`: acknowledgements, read positions, and the receipts that senders are owed for them.

use std::collections::BTreeSet;

use shared::{
    delivery::{Delivery, ReceiptKey},
    ids::{NodeId, UserId},
    message::write,
    rpc::{Cursors, Done},
};

use super::{Calls, Fault, tell::ByNode};
use crate::{
    directory::Routes,
    store::cursors::{self, Receipt},
};

pub(super) async fn cursor(calls: &Calls, call: Cursors) -> Result<Done, Fault> {
    let delivered: Vec<ReceiptKey> = call.delivered.into_iter().filter(|key| !key.read).collect();
    // The cursors last: what they have passed is delivered to nobody again, and a receipt not written by then never is.
    // Receipts that were written are told only by the call that wrote them, so before anything else may fail.
    let new = cursors::settle(&calls.desk.pool, &delivered, &call.reads, &call.told).await?;
    send(calls, new).await;
    cursors::advance(&calls.desk.pool, &call.moves).await?;
    Ok(Done {})
}

/// To the devices that are online; the others get theirs at login.
async fn send(calls: &Calls, receipts: Vec<Receipt>) {
    if receipts.is_empty() {
        return;
    }
    let senders: BTreeSet<UserId> = receipts.iter().map(|receipt| receipt.user).collect();
    let senders: Vec<UserId> = senders.into_iter().collect();
    let routes = calls.desk.directory.routes(&senders).await;
    let mut by_node = ByNode::new();
    for receipt in receipts {
        for node in nodes(calls, &routes, &receipt) {
            by_node.entry(node).or_default().push(delivery(&receipt));
        }
    }
    calls.tell.tell(by_node).await;
}

fn nodes(calls: &Calls, routes: &Routes, receipt: &Receipt) -> Vec<NodeId> {
    match routes {
        Routes::Unknown => calls.tell.everywhere(),
        Routes::Known(routes) => {
            let routes = routes.get(&receipt.user).into_iter().flatten();
            routes.filter(|route| route.device == receipt.device).map(|route| route.node.clone()).collect()
        }
    }
}

/// A receipt as its sender's node gets it.
pub(super) fn delivery(receipt: &Receipt) -> Delivery {
    let key = &receipt.key;
    let mut body = Vec::new();
    write::receipt(&receipt.id, key.read, &key.conversation, key.seq, key.by, None, &mut body);
    Delivery::Receipt {
        user: receipt.user,
        device: receipt.device.clone(),
        key: key.clone(),
        body: body.into(),
    }
}
