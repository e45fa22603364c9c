//! What is written into the rings: integers alone, so that a record is copied in a moment. Times are microseconds since
//! 1970, taken once for all records of a batch, a chunk or a step.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Key;
use crate::{
    command::Code,
    ids::{Conversation, InvalidId, Seq, SessionNo, UserId},
};

/// An edge: a frame that the broker holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// The sender and its id.
    pub key: Key,
    /// The sender.
    pub user: UserId,
    /// The session it was sent on.
    pub session: SessionNo,
    /// Its lane.
    pub lane: u16,
    /// Its batch's place in the stream.
    pub stream_seq: u64,
    /// Its own place in the batch, from 0.
    pub frame: u32,
    /// When its batch was begun: it was accepted between this and `at`.
    pub opened: i64,
    /// When the broker had confirmed the batch.
    pub at: i64,
}

/// An edge: a stored frame that a worker has sent here, put before sessions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named by their types")]
pub struct Queued {
    pub conv: Conversation,
    pub seq: Seq,
    /// For so many users of this node.
    pub users: u32,
    /// So many sessions of theirs were found here.
    pub sessions: u32,
    /// When its batch was begun to be handed out.
    pub at: i64,
}

/// An edge: what a session did with a stored frame.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named by their types")]
pub struct Stop {
    /// [`Key::NONE`] unless spans are exported.
    pub key: Key,
    pub user: UserId,
    pub session: SessionNo,
    pub conv: Conversation,
    pub seq: Seq,
    pub what: What,
    /// Of [`What::Noted`] and [`What::Dropped`].
    pub why: Why,
    pub at: i64,
}

/// A worker: a frame of a chunk that is committed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The sender and its id.
    pub key: Key,
    /// The sender.
    pub user: UserId,
    /// The session it was sent on.
    pub session: SessionNo,
    /// Its lane.
    pub lane: u16,
    /// Its batch's place in the stream.
    pub stream_seq: u64,
    /// Its own place in the batch, from 0.
    pub frame: u32,
    /// The chunk, by its number in this process.
    pub chunk: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Its conversation, where it is stored in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conv: Option<Conversation>,
    /// Its place there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
}

/// A worker: a chunk. A time is 0 until that is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// Its number in this process, from 0.
    pub chunk: u64,
    /// Frames in it.
    pub frames: u32,
    /// When it was begun.
    pub pulled: i64,
    /// When PostgreSQL had committed it.
    pub committed: i64,
    /// When the recipients' nodes were known.
    pub routed: i64,
    /// When everything had been sent to the nodes.
    pub sent: i64,
    /// When every node had confirmed, or was given up.
    pub confirmed: i64,
    /// When JetStream had been told that it is done.
    pub acknowledged: i64,
}

/// A worker: a chunk's deliveries to one node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sent {
    /// The chunk.
    pub chunk: u64,
    /// The node, by its number in this process.
    pub node: u32,
    /// What was done.
    pub how: Settled,
    /// When.
    pub at: i64,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident: $what:literal { $($(#[$line:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$line])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// As it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Reads what [`Self::as_str`] wrote.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// What a session did with a stored frame.
    What: "what" {
        /// Written as it came.
        Written = "written",
        /// Written from a backlog read.
        FromBacklog = "from_backlog",
        /// Not written: the session reads its backlog, where it will find it.
        Noted = "noted",
        /// Not written: the session had written it before, or has sent it itself.
        Had = "had",
        /// Not queued: the session's outbox was full.
        Dropped = "dropped",
        /// The answer to its sender, written.
        Answered = "answered",
        /// Everything up to here is acknowledged by this session's client.
        Acknowledged = "acknowledged",
    }
}

words! {
    /// Why a session reads its backlog.
    Why: "why" {
        /// For no reason.
        None = "",
        /// It has just logged in.
        Login = "login",
        /// Something before a delivery was missing.
        Gap = "gap",
        /// Something before a frame of its own was missing.
        OwnGap = "own_gap",
        /// Its outbox was full.
        Overflow = "overflow",
        /// Too many of its deliveries wait for their acknowledgement.
        Unacked = "unacked",
        /// A worker has asked for it: the node had not confirmed something.
        Asked = "asked",
        /// A batch of deliveries could not be read.
        Unreadable = "unreadable",
        /// The node lost the broker.
        Disconnected = "disconnected",
        /// The node did not keep up with the broker.
        SlowConsumer = "slow_consumer",
        /// The node heard of no worker for too long.
        Lease = "lease",
        /// Its route had to be registered again.
        Registered = "registered",
        /// Another.
        Other = "other",
    }
}

words! {
    /// What a worker did with a chunk's deliveries to a node.
    Settled: "how" {
        /// Sent; the node is to confirm.
        Sent = "sent",
        /// Not sent: the node is being repaired, and then its sessions read their backlogs.
        Skipped = "skipped",
        /// Not sent: the node is dead.
        Dead = "dead",
    }
}

impl Why {
    /// The reason as the metrics name it.
    pub fn of(reason: &str) -> Self {
        Self::parse(reason).unwrap_or(Self::Other)
    }
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Outcome {
    /// New, and committed.
    Stored,
    /// Stored before.
    Duplicate,
    /// Against a rule.
    Refused(Code),
    /// Set aside.
    Dead,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored => f.write_str("stored"),
            Self::Duplicate => f.write_str("duplicate"),
            Self::Refused(code) => write!(f, "refused:{}", code.as_str()),
            Self::Dead => f.write_str("dead"),
        }
    }
}

impl FromStr for Outcome {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let outcome = match text {
            "stored" => Some(Self::Stored),
            "duplicate" => Some(Self::Duplicate),
            "dead" => Some(Self::Dead),
            _ => text.strip_prefix("refused:").and_then(Code::parse).map(Self::Refused),
        };
        outcome.ok_or_else(|| InvalidId {
            what: "outcome",
            expected: "stored, duplicate, dead or refused:<code>",
            found: text.chars().take(32).collect(),
        })
    }
}

impl TryFrom<String> for Outcome {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Outcome> for String {
    fn from(outcome: Outcome) -> String {
        outcome.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_and_words_read_back_what_they_write() {
        for outcome in [Outcome::Stored, Outcome::Duplicate, Outcome::Dead, Outcome::Refused(Code::Blocked)] {
            assert_eq!(outcome.to_string().parse(), Ok(outcome));
        }
        assert!("refused:nothing".parse::<Outcome>().is_err());
        assert_eq!((Why::of("own_gap"), Why::of("the moon")), (Why::OwnGap, Why::Other));
        assert_eq!(What::parse(What::FromBacklog.as_str()), Some(What::FromBacklog));
    }

    #[test]
    fn a_record_is_small() {
        let sizes = [
            size_of::<Accepted>(),
            size_of::<Queued>(),
            size_of::<Stop>(),
            size_of::<Row>(),
            size_of::<Chunk>(),
            size_of::<Sent>(),
        ];
        // ops/docs/OPERATIONS.md counts on it.
        assert!(sizes.iter().all(|size| *size <= 96), "{sizes:?}");
    }
}
