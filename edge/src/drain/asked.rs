//! How a node's end is asked for, and what the rest of the node knows of it meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::node::peers::Peer;

/// How long a login waits to be told where to go: longer than it takes to hear every other node.
const PATIENCE: Duration = Duration::from_secs(5);

/// The one way into a node's drain: a signal and an operator's word both call [`Drain::begin`]. Clones share it.
#[derive(Debug, Clone)]
pub struct Drain {
    begun: CancellationToken,
    refusing: Arc<AtomicBool>,
    peers: watch::Sender<Option<Vec<Peer>>>,
    next: Arc<AtomicUsize>,
}

impl Drain {
    /// Not begun; it begins with [`Drain::begin`], or when `begun` is cancelled.
    pub fn new(begun: CancellationToken) -> Self {
        Self { begun, refusing: Arc::default(), peers: watch::Sender::new(None), next: Arc::default() }
    }

    /// Begins it, and says in the log who asked. Once begun it goes on to the process's end; asking again changes nothing.
    pub fn begin(&self, asked_by: &str) {
        if !self.begun.is_cancelled() {
            tracing::info!(asked_by, "this node drains: its clients are told to go elsewhere, then it ends");
        }
        self.begun.cancel();
    }

    /// Whether it has been asked for.
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Until it is asked for.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// From now on the node takes no new sessions. Called once it says that it is not ready.
    pub(super) fn refuse(&self) {
        self.refusing.store(true, Ordering::Release);
    }

    /// Whether it takes no new sessions.
    pub fn refuses(&self) -> bool {
        self.refusing.load(Ordering::Acquire)
    }

    /// Where the other nodes are written down, as they are heard of.
    pub(crate) fn heard(&self) -> watch::Sender<Option<Vec<Peer>>> {
        self.peers.clone()
    }

    /// The other nodes, once they have had the time to be heard of.
    pub(super) async fn peers(&self) -> Vec<Peer> {
        let mut peers = self.peers.subscribe();
        let known = tokio::time::timeout(PATIENCE, peers.wait_for(Option::is_some)).await;
        match known {
            Ok(Ok(peers)) => peers.clone().unwrap_or_default(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }

    /// Where a client that comes now can go, one after the other; `None` where there is no other node.
    pub async fn elsewhere(&self) -> Option<Peer> {
        let mut peers = self.peers().await;
        let at = self.next.fetch_add(1, Ordering::Relaxed) % peers.len().max(1);
        (at < peers.len()).then(|| peers.swap_remove(at))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn peer(port: u16) -> Peer {
        Peer { server: "h".to_owned(), port, sessions: 0 }
    }

    #[tokio::test]
    async fn those_who_come_are_sent_to_each_node_in_turn() {
        let drain = Drain::new(CancellationToken::new());
        assert!(drain.elsewhere().now_or_never().is_none(), "nobody has been listened for yet");
        drain.heard().send_replace(Some(vec![peer(1), peer(2)]));
        let mut ports = Vec::new();
        for _ in 0..4 {
            ports.push(drain.elsewhere().await.unwrap().port);
        }
        ports.sort_unstable();
        assert_eq!(ports, [1, 1, 2, 2]);
        drain.heard().send_replace(Some(Vec::new()));
        assert_eq!(drain.elsewhere().await, None);
    }

    #[tokio::test]
    async fn a_word_and_a_signal_begin_the_same() {
        let signal = CancellationToken::new();
        let drain = Drain::new(signal.clone());
        let asked = drain.clone();
        assert!(!drain.has_begun() && !drain.refuses());
        asked.begin("a test");
        drain.begun().await;
        assert!(signal.is_cancelled() && drain.has_begun() && !drain.refuses());
        asked.refuse();
        assert!(drain.refuses());
    }
}
