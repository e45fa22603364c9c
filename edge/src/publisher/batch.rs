//! The queue of one lane, as batches of counted frames. No I/O.

use std::{collections::VecDeque, sync::Arc};

use shared::{
    frame::{self, Form},
    ids::MessageId,
    message::{Accepted, Body, WantedAck, accepted},
    subject::BatchKind,
    telemetry::Moment,
};

use crate::{outbox::Outbox, trace::Marks};

/// Frames in order, already cut into batches: the last one grows, the first one is published.
#[derive(Debug)]
pub struct Queue {
    batches: VecDeque<Batch>,
    frames: usize,
    batch_bytes: usize,
    most_frames: usize,
    scratch: Vec<u8>,
    traced: bool,
}

/// What goes out as one broker message.
#[derive(Debug)]
pub struct Batch {
    /// Counted frames back to back.
    pub bytes: Vec<u8>,
    /// When the first of them was accepted.
    pub accepted: Moment,
    /// What kind they are.
    pub kind: BatchKind,
    /// Whom to tell when the broker holds them.
    pub senders: Vec<Tell>,
    /// Its frames, for the trace.
    pub marks: Marks,
}

/// Consecutive frames of one session in a batch.
#[derive(Debug)]
pub struct Tell {
    /// The session.
    pub session: Arc<Outbox>,
    /// How many frames.
    pub frames: u32,
    /// Messages whose sender wants to know that the broker holds them.
    pub queued: Vec<MessageId>,
}

impl Queue {
    /// An empty one: batches of at most `batch_bytes` (a longer frame goes alone), at most `most_frames` in all.
    pub fn new(batch_bytes: usize, most_frames: usize) -> Self {
        let (batches, scratch) = (VecDeque::new(), Vec::new());
        Self { batches, frames: 0, batch_bytes, most_frames, scratch, traced: true }
    }

    /// Whether its batches say which frames they hold, for the trace; they do unless told otherwise.
    pub fn traced(self, traced: bool) -> Self {
        Self { traced, ..self }
    }

    /// Frames in the queue.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Appends a frame and counts it with its session, which [`Outbox::published`] undoes. False: the queue is full and
    /// the frame is not in it.
    pub fn push(&mut self, frame: &Accepted, session: &Arc<Outbox>) -> bool {
        // Frames are small; the second bound keeps a lane of long ones from holding hundreds of megabytes.
        if self.frames >= self.most_frames || self.batches.len() > BATCHES {
            return false;
        }
        self.scratch.clear();
        accepted::encode(frame, &mut self.scratch);
        let kind = frame.batch_kind();
        let fits = self
            .batches
            .back()
            .is_some_and(|last| last.bytes.len() + self.scratch.len() + COUNT <= self.batch_bytes);
        if !fits {
            let accepted = Moment::now();
            let marks = if self.traced { Marks::begin() } else { Marks::default() };
            self.batches.push_back(Batch { bytes: Vec::new(), accepted, kind, senders: Vec::new(), marks });
        }
        let Some(last) = self.batches.back_mut() else { return false };
        last.kind = last.kind.and(kind);
        frame::write(Form::Counted, &self.scratch, &mut last.bytes);
        last.tell(frame, session);
        if self.traced {
            last.marks.note(frame);
        }
        // Here, where nobody can have published it yet: its confirmation must find it counted.
        session.publishing();
        self.frames += 1;
        true
    }

    /// Takes the oldest batch, to be published until the broker holds it.
    pub fn pop(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.frames -= batch.frames();
        Some(batch)
    }
}

/// The most batches in a queue.
const BATCHES: usize = 16;
/// A count line is never longer.
const COUNT: usize = 12;

impl Batch {
    /// Frames in it.
    pub fn frames(&self) -> usize {
        self.senders.iter().map(|sender| sender.frames as usize).sum()
    }

    fn tell(&mut self, frame: &Accepted, session: &Arc<Outbox>) {
        let queued = match &frame.what {
            Body::Message(message) if message.ack == WantedAck::Queued => Some(message.id.clone()),
            _ => None,
        };
        match self.senders.last_mut() {
            Some(last) if Arc::ptr_eq(&last.session, session) => {
                last.frames += 1;
                last.queued.extend(queued);
            }
            _ => self.senders.push(Tell {
                session: session.clone(),
                frames: 1,
                queued: queued.into_iter().collect(),
            }),
        }
    }
}
