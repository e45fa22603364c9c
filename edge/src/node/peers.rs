//! Other nodes, for sessions that must leave this one. Looked for only then, by listening to heartbeats for a moment: a
//! node needs to know of no other while it runs.

use std::time::Duration;

use futures::StreamExt;
use shared::{
    ids::NodeId,
    rpc::{self, Heartbeat},
    subject::Subjects,
};

/// A node that takes sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address for clients.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// Sessions that it has.
    pub sessions: u64,
}

/// The nodes whose heartbeats are heard during one `interval` and a little more; the emptiest first.
pub async fn find(
    client: &async_nats::Client,
    subjects: &Subjects,
    own: &NodeId,
    interval: Duration,
) -> Vec<Peer> {
    let mut peers: Vec<(NodeId, Peer)> = Vec::new();
    let listening = async {
        let Ok(mut heartbeats) = client.subscribe(subjects.heartbeats()).await else { return };
        while let Some(message) = heartbeats.next().await {
            // What cannot be read is a worker's to complain about.
            let Ok(beat) = rpc::from_slice::<Heartbeat>(&message.payload) else { continue };
            peers.retain(|(node, _)| *node != beat.node);
            if beat.node != *own && !beat.draining {
                peers.push((
                    beat.node,
                    Peer { server: beat.server, port: beat.port, sessions: beat.sessions },
                ));
            }
        }
    };
    // Ends by the time-out: the subscription itself never does.
    tokio::time::timeout(interval + interval / 4, listening).await.ok();
    let mut peers: Vec<Peer> = peers.into_iter().map(|(_, peer)| peer).collect();
    peers.sort_by_key(|peer| peer.sessions);
    peers
}
