//! One message's road, merged from what the processes remember and what PostgreSQL knows. No I/O.

mod device;

use serde::Serialize;
use shared::{
    ids::UserId,
    subject::Lane,
    trace::{Accepted, Answer, Chunk, Key, Kind, Outcome, Row, wire::ToNode},
};

pub use self::device::{DeviceRoad, State};
use super::{
    facts::{Details, Message, USERS},
    gaps,
};

/// A message, or what is known of one that was not stored.
#[derive(Debug, Serialize)]
pub struct Road {
    /// The sender.
    pub user: UserId,
    /// Its id, where it is known.
    pub id: Option<String>,
    /// The trace in which a collector of spans has it, where any are exported.
    pub trace_id: Option<String>,
    /// As PostgreSQL has it.
    pub stored: Option<Message>,
    /// Each time that it came: once, and again with each retry.
    pub sending: Vec<Sending>,
    /// Devices of those it was for.
    pub device: Vec<DeviceRoad>,
    /// What else there is to say.
    pub remarks: Vec<String>,
}

/// One time that a frame came.
#[derive(Debug, Serialize)]
pub struct Sending {
    /// At the edge that took it.
    pub accepted: Option<Took>,
    /// In the worker that worked on it.
    pub worked: Option<Worked>,
    /// Why one of the two may be missing.
    pub missing: Vec<String>,
}

/// An edge took a frame.
#[derive(Debug, Serialize)]
pub struct Took {
    /// Which.
    pub node: String,
    /// The record itself.
    #[serde(flatten)]
    pub record: Accepted,
}

/// A worker worked on a frame.
#[derive(Debug, Serialize)]
pub struct Worked {
    /// Which.
    pub worker: String,
    /// The record itself.
    #[serde(flatten)]
    pub row: Row,
    /// How far its chunk got; `None`: forgotten.
    pub steps: Option<Chunk>,
    /// Where its chunk's deliveries went.
    pub nodes: Vec<ToNode>,
}

impl Road {
    /// One of which nothing is known, and why that may be.
    pub fn unknown(user: UserId, id: &str, answers: &[Answer]) -> Self {
        let mut remarks = vec![
            "nothing is known of it: it is not stored, and in no trace. Its client never sent it, an edge refused it at \
             once, it waits at an edge that the broker takes nothing from, or it vanished with one (it was never acked)"
                .to_owned(),
        ];
        remarks.extend(gaps::why(answers, Kind::Edge, "accepted", None));
        remarks.extend(gaps::why(answers, Kind::Worker, "row", None));
        let (trace_id, id) = (Some(Key::of(user, id).trace_id()), Some(id.to_owned()));
        Self { user, id, trace_id, stored: None, sending: Vec::new(), device: Vec::new(), remarks }
    }

    /// Whether anything is known of it.
    pub fn is_known(&self) -> bool {
        self.stored.is_some() || !self.sending.is_empty()
    }
}

/// Every message with what belongs to it; what is not stored comes last, a road for each key.
pub fn merge(
    answers: &[Answer],
    stored: Vec<(Message, Details)>,
    lanes: &[(u16, u64)],
    lane_count: u16,
) -> Vec<Road> {
    let mut sendings = sendings(answers);
    let mut roads = Vec::new();
    for (message, details) in stored {
        let key = Key::of(message.user, &message.id);
        let here = |sending: &(Key, Sending)| {
            let row = sending.1.worked.as_ref().map(|worked| &worked.row);
            let lane = Lane::of(&message.conv, lane_count).0;
            sending.0 == key
                && match row {
                    Some(row) => row.conv == Some(message.conv) && row.seq == Some(message.seq),
                    // Of what a worker has forgotten the lane alone is known.
                    None => sending.1.accepted.as_ref().is_some_and(|took| took.record.lane == lane),
                }
        };
        let (mine, rest): (Vec<_>, Vec<_>) = sendings.into_iter().partition(here);
        sendings = rest;
        roads.push(road(answers, message, &details, mine, lanes));
    }
    while let Some((key, first)) = sendings.pop() {
        let (mut mine, rest): (Vec<_>, Vec<_>) = sendings.into_iter().partition(|(other, _)| *other == key);
        sendings = rest;
        mine.push((key, first));
        roads.push(not_stored(answers, mine, lanes));
    }
    roads
}

fn road(
    answers: &[Answer],
    message: Message,
    details: &Details,
    sendings: Vec<(Key, Sending)>,
    lanes: &[(u16, u64)],
) -> Road {
    // To the second; what was done was done within it or later.
    let at = message.ts * 1_000_000 + 999_999;
    let mut sending: Vec<Sending> = sendings.into_iter().map(|(_, sending)| sending).collect();
    sort(&mut sending);
    if sending.is_empty() {
        sending.push(Sending { accepted: None, worked: None, missing: Vec::new() });
    }
    for one in &mut sending {
        one.explain(answers, Some(at), lanes);
    }
    let device = device::all(answers, &message, details, at);
    let mut remarks = Vec::new();
    if details.more {
        remarks.push(format!(
            "the conversation has more than {USERS} members: devices of the first {USERS} are shown"
        ));
    }
    let trace_id = Some(Key::of(message.user, &message.id).trace_id());
    let id = Some(message.id.clone());
    Road { user: message.user, id, trace_id, stored: Some(message), sending, device, remarks }
}

fn not_stored(answers: &[Answer], sendings: Vec<(Key, Sending)>, lanes: &[(u16, u64)]) -> Road {
    let trace_id = sendings.first().map(|(key, _)| key.trace_id());
    let mut sending: Vec<Sending> = sendings.into_iter().map(|(_, sending)| sending).collect();
    sort(&mut sending);
    let at = sending.iter().filter_map(Sending::at).min();
    for one in &mut sending {
        one.explain(answers, at, lanes);
    }
    let user = sending.iter().find_map(Sending::user).unwrap_or(UserId(0));
    let stored = |outcome| matches!(outcome, Outcome::Stored | Outcome::Duplicate);
    let gone = sending.iter().filter_map(|one| one.worked.as_ref()).any(|worked| stored(worked.row.outcome));
    let remarks = match gone {
        true => vec![
            "it was stored, as a request without a message of its own, or it is removed since".to_owned(),
        ],
        false => Vec::new(),
    };
    Road { user, id: None, trace_id, stored: None, sending, device: Vec::new(), remarks }
}

/// What edges and workers have of each time that a frame came, brought together by its place in the stream.
fn sendings(answers: &[Answer]) -> Vec<(Key, Sending)> {
    let mut all: Vec<(Key, Sending)> = Vec::new();
    for answer in answers {
        for record in &answer.accepted {
            let took = Took { node: answer.process.name.clone(), record: *record };
            all.push((record.key, Sending { accepted: Some(took), worked: None, missing: Vec::new() }));
        }
    }
    for answer in answers {
        for row in &answer.row {
            let steps = answer.chunk.iter().find(|chunk| chunk.chunk == row.chunk).copied();
            let nodes = answer.node.iter().filter(|node| node.chunk == row.chunk).cloned().collect();
            let worked = Worked { worker: answer.process.name.clone(), row: *row, steps, nodes };
            let same = |sending: &&mut (Key, Sending)| {
                let place = (row.key, row.session, row.lane, row.stream_seq, row.frame);
                sending.1.worked.is_none()
                    && sending.1.accepted.as_ref().is_some_and(|took| {
                        let took = &took.record;
                        (took.key, took.session, took.lane, took.stream_seq, took.frame) == place
                    })
            };
            match all.iter_mut().find(same) {
                Some((_, sending)) => sending.worked = Some(worked),
                None => {
                    all.push((row.key, Sending { accepted: None, worked: Some(worked), missing: Vec::new() }))
                }
            }
        }
    }
    all
}

fn sort(sendings: &mut [Sending]) {
    sendings.sort_by_key(|sending| sending.at().unwrap_or(0));
}

impl Sending {
    fn at(&self) -> Option<i64> {
        let took = self.accepted.as_ref().map(|took| took.record.opened);
        took.or_else(|| self.worked.as_ref().and_then(|worked| worked.steps).map(|steps| steps.pulled))
    }

    fn user(&self) -> Option<UserId> {
        let took = self.accepted.as_ref().map(|took| took.record.user);
        took.or_else(|| self.worked.as_ref().map(|worked| worked.row.user))
    }

    /// Says why a half of it is missing.
    fn explain(&mut self, answers: &[Answer], at: Option<i64>, lanes: &[(u16, u64)]) {
        let at = self.at().or(at);
        if self.accepted.is_none() {
            let reasons = gaps::why(answers, Kind::Edge, "accepted", at);
            self.missing.extend(reasons.into_iter().map(|reason| format!("its edge: {reason}")));
        }
        if self.worked.is_some() {
            return;
        }
        if let Some(took) = &self.accepted {
            let committed =
                lanes.iter().find(|(lane, _)| *lane == took.record.lane).map_or(0, |(_, upto)| *upto);
            let (lane, place) = (took.record.lane, took.record.stream_seq);
            if committed < place {
                self.missing.push(format!(
                    "no worker has committed it: lane {lane} is committed up to {committed}, this is {place}; it waits in \
                     the stream (does a worker own the lane?)"
                ));
                return;
            }
            self.missing.push(format!("lane {lane} is committed up to {committed}, and so this is done"));
        }
        let reasons = gaps::why(answers, Kind::Worker, "row", at);
        self.missing.extend(reasons.into_iter().map(|reason| format!("its worker: {reason}")));
    }
}

#[cfg(test)]
mod tests;
