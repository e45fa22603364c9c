//! Answers that their node has not confirmed, kept until it has confirmed a resync.
//!
//! What else a chunk sends is read again from PostgreSQL when a node resyncs. An answer is kept nowhere else, and a
//! client that misses one asks again only after ten seconds.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use shared::{ids::NodeId, telemetry::Metric};

use super::outgoing::BATCH_BYTES;
use crate::metric::metrics;

/// Answers kept for one node. Full: the oldest one goes, its client asks again.
const A_NODE: usize = 16_384;
/// Answers kept for all nodes, some 10 MB. Full: what comes is not kept.
pub(crate) const IN_ALL: usize = 65_536;
/// How long one is kept: a node does not return after a minute of silence.
const KEPT: Duration = Duration::from_secs(60);

/// The answers among what goes to one node, encoded, in their order.
#[derive(Debug, Default)]
pub struct Answers {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Answers {
    /// Adds one.
    pub fn add(&mut self, encoded: &[u8]) {
        self.bytes.extend_from_slice(encoded);
        self.ends.push(self.bytes.len());
    }
}

/// Kept answers of every node.
#[derive(Debug, Default)]
pub struct Kept {
    nodes: HashMap<NodeId, Waiting>,
    count: usize,
}

/// Kept answers of one node, the oldest first.
pub type Waiting = VecDeque<One>;

/// A kept answer.
#[derive(Debug)]
pub struct One {
    since: Instant,
    encoded: Bytes,
}

impl Kept {
    /// Keeps what a node may not have been told.
    pub fn keep(&mut self, node: &NodeId, answers: Answers, now: Instant) {
        let bytes = Bytes::from(answers.bytes);
        let mut from = 0;
        for end in answers.ends {
            self.add(node, One { since: now, encoded: bytes.slice(from..end) });
            from = end;
        }
    }

    /// Keeps what was taken, and not confirmed after all, again.
    pub fn put_back(&mut self, node: &NodeId, taken: Waiting) {
        let newer = self.take(node);
        taken.into_iter().chain(newer).for_each(|one| self.add(node, one));
    }

    /// Everything kept for a node.
    pub fn take(&mut self, node: &NodeId) -> Waiting {
        let taken = self.nodes.remove(node).unwrap_or_default();
        self.count -= taken.len();
        metrics().answers_kept.decrement(taken.len() as f64);
        taken
    }

    /// Forgets what has waited for too long.
    pub fn forget_old(&mut self, now: Instant) {
        let count = &mut self.count;
        self.nodes.retain(|_, waiting| {
            while waiting.front().is_some_and(|one| now.saturating_duration_since(one.since) >= KEPT) {
                waiting.pop_front();
                *count -= 1;
                metrics().answers_kept.decrement(1.0);
                dropped("node_gone");
            }
            !waiting.is_empty()
        });
    }

    fn add(&mut self, node: &NodeId, one: One) {
        let waiting = match self.nodes.get_mut(node) {
            Some(waiting) => waiting,
            None => self.nodes.entry(node.clone()).or_default(),
        };
        if waiting.len() >= A_NODE {
            waiting.pop_front();
            self.count -= 1;
            metrics().answers_kept.decrement(1.0);
            dropped("full");
        }
        if self.count >= IN_ALL {
            dropped("full");
            return;
        }
        waiting.push_back(one);
        self.count += 1;
        metrics().answers_kept.increment(1.0);
    }
}

/// As they travel.
pub fn batches(waiting: &Waiting) -> Vec<Bytes> {
    let (mut batches, mut open) = (Vec::new(), Vec::new());
    for one in waiting {
        if !open.is_empty() && open.len() + one.encoded.len() > BATCH_BYTES {
            batches.push(std::mem::take(&mut open).into());
        }
        open.extend_from_slice(&one.encoded);
    }
    if !open.is_empty() {
        batches.push(open.into());
    }
    batches
}

fn dropped(reason: &'static str) {
    Metric::WorkerAnswersDropped.counter(&[("reason", reason)]).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: usize) -> NodeId {
        NodeId::new(&format!("e{number}-1")).unwrap()
    }

    fn answers(numbers: std::ops::Range<usize>) -> Answers {
        let mut answers = Answers::default();
        numbers.for_each(|number| answers.add(format!("{number},").as_bytes()));
        answers
    }

    fn text(waiting: &Waiting) -> String {
        String::from_utf8(batches(waiting).concat()).unwrap()
    }

    #[test]
    fn what_is_kept_comes_in_its_order_and_once() {
        let (mut kept, now) = (Kept::default(), Instant::now());
        kept.keep(&node(1), answers(0..2), now);
        kept.keep(&node(2), answers(9..10), now);
        kept.keep(&node(1), answers(2..4), now);
        let taken = kept.take(&node(1));
        assert_eq!(text(&taken), "0,1,2,3,");
        assert_eq!(text(&kept.take(&node(1))), "");
        // Not confirmed: it stands before what was kept meanwhile.
        kept.keep(&node(1), answers(4..5), now);
        kept.put_back(&node(1), taken);
        assert_eq!(text(&kept.take(&node(1))), "0,1,2,3,4,");
        assert_eq!((kept.count, text(&kept.take(&node(2)))), (1, "9,".into()));
    }

    #[test]
    fn it_is_bounded_for_a_node_and_for_all() {
        let (mut kept, now) = (Kept::default(), Instant::now());
        kept.keep(&node(0), answers(0..A_NODE + 3), now);
        let taken = kept.take(&node(0));
        assert_eq!(taken.len(), A_NODE);
        assert!(text(&taken).starts_with("3,4,"), "the oldest go");
        for number in 0..10 {
            kept.keep(&node(number), answers(0..A_NODE), now);
        }
        assert_eq!(kept.count, IN_ALL);
        assert_eq!(kept.nodes.values().map(VecDeque::len).sum::<usize>(), IN_ALL);
    }

    #[test]
    fn it_is_forgotten_with_its_node() {
        let (mut kept, now) = (Kept::default(), Instant::now());
        kept.keep(&node(1), answers(0..2), now);
        kept.keep(&node(1), answers(2..3), now + KEPT / 2);
        kept.forget_old(now + KEPT);
        assert_eq!(text(&kept.take(&node(1))), "2,");
        kept.keep(&node(1), answers(0..2), now);
        kept.forget_old(now + KEPT);
        assert!(kept.nodes.is_empty() && kept.count == 0);
    }

    #[test]
    fn batches_stay_below_their_limit() {
        let (mut kept, now) = (Kept::default(), Instant::now());
        let mut long = Answers::default();
        (0..3).for_each(|_| long.add(&vec![b'x'; BATCH_BYTES / 2]));
        kept.keep(&node(1), long, now);
        let sizes: Vec<usize> = batches(&kept.take(&node(1))).iter().map(Bytes::len).collect();
        assert_eq!(sizes, [BATCH_BYTES, BATCH_BYTES / 2]);
    }
}
