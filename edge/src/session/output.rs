//! What one step of a session wants done. The state machine fills it, the driver carries it out.

use bytes::Bytes;
use shared::{
    command::Code,
    frame::{self, Form},
    ids::MessageId,
    message::{Accepted, Refusal, write},
    rpc::{Cursors, Told},
};

use super::dialect::Dialect;
use crate::{metric::Metrics, trace::Step};

/// Everything to do, in this order: publish, pass on the notes, write the bytes, then tell what was written.
#[derive(Debug)]
pub struct Output {
    form: Form,
    dialect: Dialect,
    /// For the client, framed in its own form.
    pub bytes: Vec<u8>,
    /// For the publisher, in the order in which they were sent.
    pub accepted: Vec<Stamped>,
    /// Acknowledgements, for the workers.
    pub notes: Cursors,
    /// Receipts among the bytes: passed on once these are written.
    pub told: Vec<Told>,
    /// What happened, for the metrics.
    pub counts: Counts,
    /// What was done with stored frames, for the trace.
    pub trace: Step,
}

/// What happened in a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the metrics of the same names say it")]
pub struct Counts {
    pub written: u64,
    pub from_backlog: u64,
    pub noted: u64,
    pub duplicates: u64,
    pub acks: u64,
    pub reads: u64,
    pub unmatched: u64,
    /// Why it went from live into backlog mode, if it did.
    pub behind: Option<&'static str>,
}

impl Counts {
    /// Adds them to the metrics of the node.
    #[inline]
    pub fn add_to(&self, metrics: &Metrics) {
        for (counter, count) in [
            (&metrics.written, self.written),
            (&metrics.backlog_frames, self.from_backlog),
            (&metrics.noted, self.noted),
            (&metrics.duplicates, self.duplicates),
            (&metrics.acks, self.acks),
            (&metrics.reads, self.reads),
            (&metrics.acks_unmatched, self.unmatched),
        ] {
            if count > 0 {
                counter.increment(count);
            }
        }
        if let Some(why) = self.behind {
            metrics.behind(why);
        }
    }
}

/// A frame whose sender an authenticated session has stamped. Nothing else can be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Stamped(Accepted);

impl Stamped {
    /// Only a session that is logged in makes these.
    pub(super) fn new(frame: Accepted) -> Self {
        Self(frame)
    }

    /// For tests of what happens to such frames.
    #[cfg(test)]
    pub(crate) fn for_test(frame: Accepted) -> Self {
        Self(frame)
    }

    /// What is to be published.
    pub fn frame(&self) -> &Accepted {
        &self.0
    }
}

impl Output {
    /// An empty one, for a client that frames like this.
    pub fn new(form: Form) -> Self {
        Self {
            form,
            dialect: Dialect::Standard,
            bytes: Vec::new(),
            accepted: Vec::new(),
            notes: Cursors::default(),
            told: Vec::new(),
            counts: Counts::default(),
            trace: Step::default(),
        }
    }

    /// In this dialect.
    #[must_use]
    pub fn speaking(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// The dialect.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Frames from now on are written so.
    pub fn set_form(&mut self, form: Form) {
        self.form = form;
    }

    /// A frame that a worker wrote.
    pub fn frame(&mut self, body: &Bytes) {
        frame::write(self.form, &self.dialect.show(body), &mut self.bytes);
    }

    /// A frame written here.
    pub fn write(&mut self, body: impl FnOnce(&mut Vec<u8>)) {
        let mut frame = Vec::with_capacity(128);
        body(&mut frame);
        frame::write(self.form, &self.dialect.show(&frame), &mut self.bytes);
    }

    /// An empty frame.
    pub fn heartbeat(&mut self) {
        frame::write_heartbeat(self.form, &mut self.bytes);
    }

    /// `[[rr]] s = 1`.
    pub fn refuse(&mut self, refusal: &Refusal) {
        self.write(|out| write::refusal(refusal, out));
    }

    /// `[[rr]] s = 1` for a frame of which nothing could be read.
    pub fn refuse_frame(&mut self, code: Code, reason: impl Into<String>) {
        self.refuse(&Refusal::new(code, reason));
    }

    /// `[[a]] lvl = "queued"`.
    pub fn queued(&mut self, id: &MessageId) {
        self.write(|out| write::ack_queued(id, out));
    }
}
