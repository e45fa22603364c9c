//! The only place where a broker subject, stream or consumer name is written or parsed, and the lane hash.
//!
//! | subject | from, to | carries |
//! |---|---|---|
//! | `im.in.<lane>.<kind>` | edge to JetStream to the lane's worker | accepted frames, counted, back to back; kind is `m`, `gm`, `r`, or `x` for a mixed batch |
//! | `im.node.<name>.<start>` | worker to one edge, the node `<name>-<start>`, with a reply | deliveries ([`crate::delivery`]); the reply is the confirmation |
//! | `im.hb.<name>.<start>` | edge to every worker, with a reply, and to edges that drain | heartbeat ([`crate::rpc::Heartbeat`]) |
//! | `im.rpc.session.<call>` | edge to any worker, with a reply | numbers, connect, register, backlog, cursor, close |
//! | `im.rpc.account.<call>` | edge to any worker, with a reply | HTTP calls that carry a password |
//! | `im.rpc.api.<call>` | edge to any worker, with a reply | every other HTTP call |
//! | `im.ctl.<name>.<start>`, `im.ctl.all` | operators to one edge, or every edge, with a reply | [`crate::control::Control`] |
//! | `im.who` | edge to every worker, with a reply | nothing; the first to reply is one that does not hang |
//! | `im.at.<worker>.<call>` | edge to that worker, with a reply | a call of `im.rpc` that another worker has not answered |
//! | `im.lanes` | worker to every worker | nothing: lanes have been let go, or one more shares them |
//! | `im.trace` | `simple-im trace` to every process, with a reply | which records of the trace are wanted ([`crate::trace`]) |
//! | `im.dead` | worker to JetStream | frames set aside, with the reason |
//!
//! `im` is the configured prefix; a test has its own. Who may say and hear what: [`permissions`].
//!
//! Up to contract 2 a node was one token: `im.node.<node>`, `im.hb.<node>`. Such processes log in nowhere, so what is said
//! and heard for their sake ([`Subjects::node_before`], [`Subjects::heartbeat_before`]) is so only at a broker without
//! users.

pub mod permissions;

use crate::{
    contract::{NODE_TOKENS, Speaks},
    ids::{Conversation, NodeId, UserId},
};

/// Writes every name under one prefix.
#[derive(Debug, Clone)]
pub struct Subjects {
    prefix: String,
}

impl Subjects {
    /// `prefix` is one or more subject tokens of letters, digits, `-` and `_` (`im`, `im_t7`).
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The prefix itself.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where an edge publishes a batch of one kind to a lane.
    pub fn inbound(&self, lane: Lane, kind: BatchKind) -> String {
        format!("{}.in.{}.{}", self.prefix, lane.0, kind.as_str())
    }

    /// Everything of one lane: its consumer's filter.
    pub fn lane_filter(&self, lane: Lane) -> String {
        format!("{}.in.{}.>", self.prefix, lane.0)
    }

    /// Everything of every lane: the stream's subjects.
    pub fn inbound_all(&self) -> String {
        format!("{}.in.>", self.prefix)
    }

    /// A node's own subject.
    pub fn node(&self, node: &NodeId) -> String {
        format!("{}.node.{}", self.prefix, tokens(node))
    }

    /// The same as contract 2 knows it.
    pub fn node_before(&self, node: &NodeId) -> String {
        format!("{}.node.{node}", self.prefix)
    }

    /// Where a node that speaks this hears its deliveries.
    pub fn node_of(&self, node: &NodeId, speaks: &Speaks) -> String {
        if speaks.contract < NODE_TOKENS { self.node_before(node) } else { self.node(node) }
    }

    /// A node's heartbeat.
    pub fn heartbeat(&self, node: &NodeId) -> String {
        format!("{}.hb.{}", self.prefix, tokens(node))
    }

    /// The same as contract 2 knows it.
    pub fn heartbeat_before(&self, node: &NodeId) -> String {
        format!("{}.hb.{node}", self.prefix)
    }

    /// Every node's heartbeat, in either form: one that speaks both sends both, and [`Self::is_beat_of`] holds for one.
    pub fn heartbeats(&self) -> String {
        format!("{}.hb.>", self.prefix)
    }

    /// Whether this is the subject of the heartbeats that count, of a node that speaks this.
    pub fn is_beat_of(&self, subject: &str, node: &NodeId, speaks: &Speaks) -> bool {
        let before = speaks.contract < NODE_TOKENS;
        subject == if before { self.heartbeat_before(node) } else { self.heartbeat(node) }
    }

    /// Whether it is the form for processes of before, by a node that sends the other too.
    pub fn is_spare_beat_of(&self, subject: &str, node: &NodeId, speaks: &Speaks) -> bool {
        speaks.contract >= NODE_TOKENS && subject == self.heartbeat_before(node)
    }

    /// Where operators tell one node what to do.
    pub fn control(&self, node: &NodeId) -> String {
        format!("{}.ctl.{}", self.prefix, tokens(node))
    }

    /// Where they tell every node. No node's is one token.
    pub fn control_all(&self) -> String {
        format!("{}.ctl.all", self.prefix)
    }

    /// One call, by its path under `rpc` (`session.connect`).
    pub fn rpc(&self, call: &str) -> String {
        format!("{}.rpc.{call}", self.prefix)
    }

    /// Every call, for the workers' queue group.
    pub fn rpc_all(&self) -> String {
        format!("{}.rpc.>", self.prefix)
    }

    /// The call's path under `rpc`, from a subject.
    pub fn rpc_call<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&self.prefix)?.strip_prefix(".rpc.")
    }

    /// Where every worker answers with its name.
    pub fn who(&self) -> String {
        format!("{}.who", self.prefix)
    }

    /// One call, for one worker.
    pub fn at(&self, worker: &str, call: &str) -> String {
        format!("{}.at.{worker}.{call}", self.prefix)
    }

    /// Every call for one worker.
    pub fn at_all(&self, worker: &str) -> String {
        self.at(worker, ">")
    }

    /// The call's path, from the subject of a call for one worker.
    pub fn at_call<'a>(&self, subject: &'a str) -> Option<&'a str> {
        Some(subject.strip_prefix(&self.prefix)?.strip_prefix(".at.")?.split_once('.')?.1)
    }

    /// Where workers say that lanes are to be looked at now.
    pub fn lanes(&self) -> String {
        format!("{}.lanes", self.prefix)
    }

    /// Where every process answers what it has traced.
    pub fn trace(&self) -> String {
        format!("{}.trace", self.prefix)
    }

    /// Frames set aside.
    pub fn dead(&self) -> String {
        format!("{}.dead", self.prefix)
    }

    /// The queue group in which workers share the calls.
    pub const WORKERS: &'static str = "workers";

    /// The stream of accepted frames.
    pub fn stream(&self) -> String {
        format!("{}_IN", self.prefix.replace('.', "_").to_uppercase())
    }

    /// The stream of frames set aside.
    pub fn dead_stream(&self) -> String {
        format!("{}_DEAD", self.prefix.replace('.', "_").to_uppercase())
    }

    /// A lane's durable consumer.
    pub fn consumer(&self, lane: Lane) -> String {
        format!("lane-{}", lane.0)
    }
}

/// `e1.5f3a9c02` for the node `e1-5f3a9c02`: its name is a token of its own, so that the broker's permissions can tell one
/// edge from another.
fn tokens(node: &NodeId) -> String {
    match node.as_str().rsplit_once('-') {
        Some((name, start)) => format!("{name}.{start}"),
        None => format!("{node}.0"),
    }
}

/// What a published batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchKind {
    /// Messages to a user.
    Message,
    /// Messages to a group.
    GroupMessage,
    /// Requests.
    Request,
    /// More than one of these.
    Mixed,
}

impl BatchKind {
    /// The last token of the subject.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "m",
            Self::GroupMessage => "gm",
            Self::Request => "r",
            Self::Mixed => "x",
        }
    }

    /// The kind of a batch that holds both.
    pub fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Mixed }
    }
}

/// One ordered road through the broker. A conversation is always in the same lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(pub u16);

impl Lane {
    /// The lane of a conversation. Never change this on a stream that holds frames: order would break.
    pub fn of(conversation: &Conversation, lanes: u16) -> Self {
        let (a, b) = match *conversation {
            Conversation::Direct(low, high) => (low.0, high.0),
            Conversation::Group(group) => (0, group.0),
        };
        // SplitMix64's finalizer over both ids: even for sequential ids, cheap, and the same everywhere.
        let mut x = (a as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (b as u64);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        Self((x % u64::from(lanes.max(1))) as u16)
    }

    /// Where a user creates groups: the lane of its talk with itself.
    pub fn of_creator(user: UserId, lanes: u16) -> Self {
        Self::of(&Conversation::direct(user, user), lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::GroupId;

    #[test]
    fn conversations_spread_evenly_over_lanes() {
        let mut direct = [0u32; 8];
        let mut groups = [0u32; 8];
        for n in 1..=8_000 {
            direct[usize::from(Lane::of(&Conversation::direct(UserId(2 * n), UserId(2 * n + 1)), 8).0)] += 1;
            groups[usize::from(Lane::of(&Conversation::Group(GroupId(n)), 8).0)] += 1;
        }
        for lane in direct.into_iter().chain(groups) {
            assert!((850..1_150).contains(&lane), "{direct:?} {groups:?}");
        }
    }

    #[test]
    fn a_node_s_name_is_a_token_of_its_own() {
        let (subjects, node) = (Subjects::new("im"), NodeId::new("e-1-5f3a9c02").unwrap());
        assert_eq!(subjects.node(&node), "im.node.e-1.5f3a9c02");
        assert_eq!(subjects.heartbeat(&node), "im.hb.e-1.5f3a9c02");
        assert_eq!(subjects.control(&node), "im.ctl.e-1.5f3a9c02");
    }

    #[test]
    fn processes_of_before_are_spoken_to_as_they_know_it_and_a_beat_counts_once() {
        let (subjects, node) = (Subjects::new("im"), NodeId::new("e1-0a").unwrap());
        let (before, now) = (Speaks { contract: 2, ..Speaks::this() }, Speaks::this());
        assert_eq!(subjects.node_of(&node, &before), "im.node.e1-0a");
        assert_eq!(subjects.node_of(&node, &now), "im.node.e1.0a");
        for (subject, speaks, counts) in [
            ("im.hb.e1-0a", &before, true),
            ("im.hb.e1.0a", &before, false),
            ("im.hb.e1-0a", &now, false),
            ("im.hb.e1.0a", &now, true),
            ("im.hb.e2.0a", &now, false),
        ] {
            assert_eq!(subjects.is_beat_of(subject, &node, speaks), counts, "{subject} {speaks:?}");
        }
        assert!(subjects.is_spare_beat_of("im.hb.e1-0a", &node, &now));
        assert!(!subjects.is_spare_beat_of("im.hb.e2-0a", &node, &now));
        assert!(!subjects.is_spare_beat_of("im.hb.e1-0a", &node, &before));
    }

    #[test]
    fn a_call_is_read_back_from_its_subject() {
        let subjects = Subjects::new("im_t1");
        assert_eq!(subjects.rpc_call(&subjects.rpc("session.connect")), Some("session.connect"));
        assert_eq!(subjects.rpc_call("im_t2.rpc.session.connect"), None);
        assert_eq!(subjects.at_call(&subjects.at("w1-7", "session.connect")), Some("session.connect"));
        assert_eq!(subjects.at_call(&subjects.rpc("session.connect")), None);
    }
}
