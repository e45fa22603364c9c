//! Other nodes, for sessions that must leave this one. Looked for only then, by listening to heartbeats: a node needs to
//! know of no other while it runs.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::StreamExt;
use shared::{
    ids::NodeId,
    rpc::{self, Heartbeat},
    subject::Subjects,
};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

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

/// Who has been heard of. No I/O.
#[derive(Debug)]
struct Heard {
    own: NodeId,
    /// One that was silent for so long is no address to hand out.
    patience: Duration,
    nodes: BTreeMap<NodeId, (Instant, Peer)>,
}

impl Heard {
    fn beat(&mut self, beat: Heartbeat, now: Instant) {
        if beat.node == self.own {
            return;
        }
        if beat.draining || beat.gone {
            self.nodes.remove(&beat.node);
            return;
        }
        let Heartbeat { node, server, port, sessions, .. } = beat;
        self.nodes.insert(node, (now, Peer { server, port, sessions }));
    }

    fn peers(&mut self, now: Instant) -> Vec<Peer> {
        self.nodes.retain(|_, (heard, _)| now.saturating_duration_since(*heard) <= self.patience);
        self.nodes.values().map(|(_, peer)| peer.clone()).collect()
    }
}

/// Listens until `ended`, and keeps `found` at who is there: first after two times `interval`, in which every node has
/// beaten, also one that is late.
pub async fn watch(
    client: async_nats::Client,
    subjects: Subjects,
    own: NodeId,
    interval: Duration,
    found: watch::Sender<Option<Vec<Peer>>>,
    ended: CancellationToken,
) {
    let mut heartbeats = match client.subscribe(subjects.heartbeats()).await {
        Ok(heartbeats) => heartbeats,
        Err(error) => {
            tracing::warn!(%error, "other nodes cannot be listened for: sessions are sent away without an address");
            found.send_replace(Some(Vec::new()));
            return;
        }
    };
    let mut heard = Heard { own, patience: interval * 4, nodes: BTreeMap::new() };
    let first = sleep(interval * 2);
    tokio::pin!(first);
    let mut acquainted = false;
    loop {
        tokio::select! {
            // What has come is heard before the time for it counts as over.
            biased;
            () = ended.cancelled() => return,
            message = heartbeats.next() => {
                let Some(message) = message else { return };
                // What cannot be read, or speaks for another, is a worker's to complain about.
                let Ok(beat) = rpc::from_slice::<Heartbeat>(&message.payload) else { continue };
                if subjects.is_beat_of(message.subject.as_str(), &beat.node, &beat.speaks) {
                    heard.beat(beat, Instant::now());
                }
            }
            () = &mut first, if !acquainted => acquainted = true,
        }
        if acquainted {
            found.send_replace(Some(heard.peers(Instant::now())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(node: &str, change: impl FnOnce(&mut Heartbeat)) -> Heartbeat {
        let mut beat = Heartbeat { sessions: 3, ..Heartbeat::first(NodeId::new(node).unwrap(), node, 1987) };
        change(&mut beat);
        beat
    }

    #[test]
    fn only_nodes_that_live_and_take_sessions_are_handed_out() {
        let (own, patience) = (NodeId::new("e1-0").unwrap(), Duration::from_secs(2));
        let mut heard = Heard { own, patience, nodes: BTreeMap::new() };
        let now = Instant::now();
        for node in ["e1-0", "e2-0", "e3-0", "e4-0", "e5-0"] {
            heard.beat(beat(node, |_| ()), now);
        }
        heard.beat(beat("e3-0", |beat| beat.draining = true), now);
        heard.beat(beat("e4-0", |beat| beat.gone = true), now);
        let later = now + patience + Duration::from_millis(1);
        heard.beat(beat("e2-0", |beat| beat.sessions = 9), later);
        let left = Peer { server: "e2-0".to_owned(), port: 1987, sessions: 9 };
        assert_eq!(heard.peers(later), [left]);
    }
}
