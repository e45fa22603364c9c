//! What a chunk did for each of its frames: what is shown to whom, and the sender's answer.

use std::sync::Arc;

use bytes::Bytes;
use shared::{
    command::{Code, RequestName},
    delivery::Delivery,
    ids::{Conversation, MessageId, NodeId, Seq, SessionNo, UserId},
    message::{Accepted, Body, Refusal, write, write::Success},
};

/// A frame's effect.
#[derive(Debug, Clone)]
pub struct Effect {
    /// What it counts as.
    pub outcome: Outcome,
    /// What is shown; a contact request shows each side its own contact version.
    pub shows: Vec<Show>,
    /// The sender's answer.
    pub answer: Option<Answer>,
}

/// What a frame counts as: accepted = stored + duplicate + refused + dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// New, and committed.
    Stored,
    /// Stored before; answered as it was.
    Duplicate,
    /// Against a rule.
    Refused(Code),
    /// Set aside.
    Dead,
}

/// A stored frame for its recipients.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named by their types")]
pub struct Show {
    pub to: Arc<[UserId]>,
    pub conversation: Conversation,
    pub seq: Seq,
    pub from: UserId,
    pub id: MessageId,
    /// The session that sent it has an answer instead.
    pub skip: Option<SessionNo>,
    /// The sender wants to know when a device acknowledges it.
    pub receipt: bool,
    /// It was stored before, and is delivered once more.
    pub again: bool,
    pub body: Bytes,
}

/// An answer for the session that sent a frame.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named by their types")]
pub struct Answer {
    pub node: NodeId,
    pub user: UserId,
    pub session: SessionNo,
    pub place: Option<(Conversation, Seq)>,
    pub body: Bytes,
}

impl Answer {
    fn to(frame: &Accepted, place: Option<(Conversation, Seq)>, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut body = Vec::with_capacity(96);
        write(&mut body);
        let from = &frame.from;
        Self { node: from.node.clone(), user: from.user, session: from.session, place, body: body.into() }
    }

    /// As it travels.
    pub fn into_delivery(self) -> Delivery {
        Delivery::Answer { user: self.user, session: self.session, place: self.place, body: self.body }
    }
}

impl Effect {
    /// A message that stands at `seq`: `[[a]] lvl = "stored"`.
    pub fn text(
        frame: &Accepted,
        outcome: Outcome,
        place: (Conversation, Seq),
        ts: i64,
        shows: Vec<Show>,
    ) -> Self {
        let answer = Answer::to(frame, Some(place), |out| write::ack_stored(frame.id(), ts, place.1, out));
        Self { outcome, shows, answer: Some(answer) }
    }

    /// A request that succeeded: `[[rr]] s = 0`.
    pub fn request(
        frame: &Accepted,
        name: RequestName,
        outcome: Outcome,
        conversation: Option<Conversation>,
        success: &Success,
        shows: Vec<Show>,
    ) -> Self {
        let place = conversation.zip(success.seq);
        let answer = Answer::to(frame, place, |out| write::success(frame.id(), name, success, out));
        Self { outcome, shows, answer: Some(answer) }
    }

    /// A frame against a rule: `[[rr]] s = 1` with its id.
    pub fn refused(frame: &Accepted, outcome: Outcome, refusal: &Refusal) -> Self {
        let mut refusal = refusal.clone().for_id(frame.id());
        if let Body::Request(request) = &frame.what {
            refusal = refusal.for_request(request.what.name());
        }
        let answer = Answer::to(frame, None, |out| write::refusal(&refusal, out));
        Self { outcome, shows: Vec::new(), answer: Some(answer) }
    }
}
