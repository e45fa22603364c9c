//! What is asked of every process, and what each answers. TOML, as all that crosses the broker.

use serde::{Deserialize, Serialize};

use super::{Accepted, Chunk, Key, Queued, Row, Settled, Stop};
use crate::{
    ids::{Device, SessionNo, UserId},
    rpc::Place,
};

/// The most records of one kind in an answer: what is beyond is cut off, and said to be.
pub const MOST: usize = 500;

/// Which records are wanted. Everything empty: none, only how each process stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The newest rows of each worker, whoever sent them; at most [`MOST`].
    #[serde(default)]
    pub last: u32,
    /// Of messages with these keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Key>,
    /// Whose sessions are wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserId>,
    /// Of frames stored at these places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
}

/// What a process has. An edge has accepted frames, queued ones and stops; a worker has rows, chunks and nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named by their types")]
pub struct Answer {
    pub process: Process,
    /// How each ring stands.
    #[serde(default)]
    pub shelf: Vec<Shelved>,
    #[serde(default)]
    pub accepted: Vec<Accepted>,
    #[serde(default)]
    pub queued: Vec<Queued>,
    #[serde(default)]
    pub stop: Vec<Stop>,
    #[serde(default)]
    pub row: Vec<Row>,
    #[serde(default)]
    pub chunk: Vec<Chunk>,
    #[serde(default)]
    pub node: Vec<ToNode>,
    /// Sessions that are there now, of the users asked for.
    #[serde(default)]
    pub session: Vec<Standing>,
}

/// Which process answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// What it is.
    pub kind: Kind,
    /// An edge's node id, a worker's name.
    pub name: String,
    /// Its pid on its machine.
    pub pid: u32,
    /// When it began, microseconds since 1970.
    pub started: i64,
    /// Records that each of its rings keeps; 0: it keeps no trace.
    pub keep: usize,
    /// There was more than an answer holds.
    #[serde(default)]
    pub cut: bool,
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Holds client connections.
    Edge,
    /// Does the work.
    Worker,
}

/// How a ring stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelved {
    /// What it holds: `accepted`, `queued`, `stop`, `row`, `chunk`, `node`.
    pub what: String,
    /// Records ever written.
    pub written: u64,
    /// Records overwritten.
    pub overwritten: u64,
    /// The time of the oldest that is there; 0: none is.
    pub oldest: i64,
}

/// A chunk's deliveries to one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToNode {
    /// The chunk.
    pub chunk: u64,
    /// The node.
    pub node: String,
    /// What was done.
    pub how: Settled,
    /// When.
    pub at: i64,
}

/// A session that is there now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named by their types")]
pub struct Standing {
    pub user: UserId,
    pub device: Device,
    pub session: SessionNo,
}

impl Answer {
    /// One with nothing in it yet.
    pub fn of(process: Process) -> Self {
        Self {
            process,
            shelf: Vec::new(),
            accepted: Vec::new(),
            queued: Vec::new(),
            stop: Vec::new(),
            row: Vec::new(),
            chunk: Vec::new(),
            node: Vec::new(),
            session: Vec::new(),
        }
    }

    /// Appends a record unless there are [`MOST`] of its kind. False: there are, and no further one is wanted.
    pub fn add<T>(records: &mut Vec<T>, record: T, cut: &mut bool) -> bool {
        if records.len() < MOST {
            records.push(record);
            return true;
        }
        *cut = true;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{Conversation, Seq},
        rpc,
        trace::{Outcome, What, Why},
    };

    #[test]
    fn question_and_answer_cross_as_they_are() {
        let place = Place { conv: Conversation::direct(UserId(1), UserId(2)), seq: Seq(3) };
        let question =
            Question { last: 3, keys: vec![Key(u64::MAX)], users: vec![UserId(4)], places: vec![place] };
        assert_eq!(rpc::from_slice::<Question>(&rpc::to_vec(&question)).unwrap(), question);
        assert_eq!(rpc::from_slice::<Question>(b"").unwrap(), Question::default());

        let process = Process {
            kind: Kind::Edge,
            name: "e1-0".into(),
            pid: 7,
            started: 1_700_000_000_000_000,
            keep: 10,
            cut: true,
        };
        let (key, user, session) = (Key(5), UserId(1), SessionNo(9));
        let (conv, seq, at) = (place.conv, place.seq, 1);
        let (lane, stream_seq, frame) = (3, 70, 2);
        let mut answer = Answer::of(process);
        answer.shelf.push(Shelved { what: "row".into(), written: 9, overwritten: 2, oldest: 5 });
        answer.accepted.push(Accepted { key, user, session, lane, stream_seq, frame, opened: 1, at });
        answer.queued.push(Queued { conv, seq, users: 1, sessions: 2, at });
        let (what, why) = (What::Noted, Why::Login);
        answer.stop.push(Stop { key, user, session, conv, seq, what, why, at });
        let outcome = Outcome::Refused(crate::command::Code::Blocked);
        let row =
            Row { key, user, session, lane, stream_seq, frame, chunk: 8, outcome, conv: None, seq: None };
        answer.row.extend([row, Row { conv: Some(conv), seq: Some(seq), ..row }]);
        answer.chunk.push(Chunk { chunk: 8, ..Chunk::default() });
        answer.node.push(ToNode { chunk: 8, node: "e1-0".into(), how: Settled::Skipped, at });
        answer.session.push(Standing { user, device: Device::new("pad").unwrap(), session });
        assert_eq!(rpc::from_slice::<Answer>(&rpc::to_vec(&answer)).unwrap(), answer);
    }
}
