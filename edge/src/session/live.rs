//! A logged-in session: what it does with a client's frames, with deliveries and with its backlog. No I/O.
//!
//! It is in one of two modes. Live: deliveries are written as they come. Backlog, where it begins and to which a gap,
//! a full outbox, a resync or too many unacknowledged deliveries return it: deliveries are only noted, and it reads
//! from the workers until a read begun after the last note has brought all there is.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use shared::{
    command::Code,
    delivery::{Delivery, Push, ReceiptKey},
    ids::{Conversation, MessageId, Seq},
    message::{Accepted, Body, Entry, Refusal, Sender},
    rpc::{Backlog, Told},
    trace::{What, Why},
};

use super::{
    Output,
    output::Stamped,
    tracks::{Clock, Tracks, Verdict},
};

/// The most deliveries of one backlog read.
pub const PAGE: usize = 256;

/// How long to wait before reading again when a read brought nothing new and yet says that there is more.
pub const PAUSE: Duration = Duration::from_millis(200);

/// The most receipts remembered in backlog mode.
const RECEIPTS: usize = 4096;

/// The state machine. Only it makes [`Stamped`] frames.
#[derive(Debug)]
pub struct Live {
    who: Arc<Sender>,
    tracks: Tracks,
    mode: Mode,
    /// Deliveries that may wait for their acknowledgement; at so many, deliveries pause.
    limit: u32,
    /// Receipts written in this backlog mode: a read may bring them again before the workers know.
    #[expect(clippy::box_collection, reason = "rarely there; unboxed it is 40 bytes more of every session")]
    told: Option<Box<HashSet<ReceiptKey>>>,
}

#[derive(Debug, Clone, Copy)]
struct Mode {
    /// Reading from the workers, not writing live deliveries.
    backlog: bool,
    /// A read is under way.
    reading: bool,
    /// Something was noted since it began.
    noted: bool,
    /// Too many deliveries wait for their acknowledgement.
    paused: bool,
    /// The next read is to wait a moment.
    slow: bool,
    /// Why it is in backlog mode, or was when it last was.
    why: Why,
}

impl Live {
    /// One that has just logged in: in backlog mode.
    pub(super) fn new(who: Arc<Sender>, limit: usize) -> Self {
        let (backlog, why) = (true, Why::Login);
        let mode = Mode { backlog, reading: false, noted: false, paused: false, slow: false, why };
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        Self { who, tracks: Tracks::default(), mode, limit, told: None }
    }

    /// Tells how far cursor moves are, before anything else of a step.
    pub fn clock(&mut self, clock: Clock) {
        self.tracks.clock(clock);
    }

    /// Whether deliveries are written as they come.
    pub fn is_live(&self) -> bool {
        !self.mode.backlog
    }

    /// Deliveries without an acknowledgement.
    pub fn unacked(&self) -> usize {
        self.tracks.unacked()
    }

    /// Conversations remembered.
    pub fn conversations(&self) -> usize {
        self.tracks.len()
    }

    /// One entry of a client's frame, accepted at `ts` (Unix seconds).
    pub fn entry(&mut self, entry: Entry, ts: i64, nonce: Option<u64>, out: &mut Output) {
        let what = match entry {
            Entry::Message(message) => Body::Message(message),
            Entry::Request(request) => Body::Request(request),
            Entry::Login(login) => {
                let reason = "expected no second login on a connection, found one";
                return out.refuse(
                    &Refusal::new(Code::AlreadyLoggedIn, reason).for_id(&login.id).for_request(login.name),
                );
            }
            Entry::Ack(ack) => {
                *(if ack.read { &mut out.counts.reads } else { &mut out.counts.acks }) += 1;
                if !self.tracks.ack(&ack, &self.who, &mut out.notes) {
                    out.counts.unmatched += 1;
                }
                if self.mode.paused && self.unacked() < self.limit().div_ceil(2) {
                    self.mode.paused = false;
                }
                return;
            }
        };
        let from = Sender::clone(&self.who);
        out.accepted.push(Stamped::new(Accepted { from, ts, nonce, what }));
    }

    /// A live delivery.
    pub fn push(&mut self, push: &Push, out: &mut Output) {
        if !self.mode.backlog {
            match self.tracks.live(push) {
                Verdict::Write => return self.write(push, What::Written, out),
                Verdict::Have => {
                    out.trace.stop(&self.who, push, What::Had, Why::None);
                    return out.counts.duplicates += 1;
                }
                Verdict::Gap => self.behind("gap", out),
            }
        }
        if self.tracks.noted(push.conversation, push.seq) {
            self.mode.noted = true;
            out.counts.noted += 1;
            out.trace.stop(&self.who, push, What::Noted, self.mode.why);
        } else {
            out.trace.stop(&self.who, push, What::Had, Why::None);
            out.counts.duplicates += 1;
        }
    }

    /// The answer to a frame of this session, and where that was stored.
    pub fn answer(&mut self, place: Option<(Conversation, Seq)>, body: &Bytes, out: &mut Output) {
        out.frame(body);
        if let Some((conversation, seq)) = place {
            out.trace.answered(&self.who, conversation, seq);
            let verdict = self.tracks.own(conversation, seq, self.mode.backlog, &self.who, &mut out.notes);
            if verdict == Verdict::Gap {
                self.behind("own_gap", out);
            }
        }
    }

    /// A receipt for a message that this device sent.
    pub fn receipt(&mut self, key: &ReceiptKey, body: &Bytes, out: &mut Output) {
        if self.mode.backlog {
            let told = self.told.get_or_insert_default();
            if !told.insert(key.clone()) {
                return;
            }
            // A session can stay paused for long; forgetting only repeats receipts.
            if told.len() >= RECEIPTS {
                told.clear();
            }
        }
        out.frame(body);
        out.told.push(Told { user: self.who.user, device: self.who.device.clone(), receipt: key.clone() });
    }

    /// The broker holds a message whose sender wanted to know.
    pub fn queued(&mut self, id: &MessageId, out: &mut Output) {
        out.queued(id);
    }

    /// Something may have been missed, and why.
    pub fn behind(&mut self, why: &'static str, out: &mut Output) {
        if !self.mode.backlog {
            out.counts.behind = Some(why);
            self.mode.why = Why::of(why);
        }
        self.mode.backlog = true;
        self.mode.noted = true;
    }

    /// The read to make now, and after what pause; `None` while there is none to make. Ends with [`Live::page`].
    pub fn next_read(&mut self) -> Option<(Backlog, Duration)> {
        if !self.mode.backlog || self.mode.reading || self.mode.paused {
            return None;
        }
        let pause = if self.mode.slow { PAUSE } else { Duration::ZERO };
        self.mode = Mode { reading: true, noted: false, slow: false, ..self.mode };
        let room = self.limit().saturating_sub(self.unacked());
        let read = Backlog {
            user: self.who.user,
            device: self.who.device.clone(),
            session: self.who.session,
            limit: u32::try_from(room.clamp(1, PAGE)).unwrap_or(1),
            after: self.tracks.after(),
        };
        Some((read, pause))
    }

    /// What the read brought.
    pub fn page(&mut self, entries: &[Delivery], more: bool, out: &mut Output) {
        self.mode.reading = false;
        let mut news = false;
        for entry in entries {
            match entry {
                Delivery::Push(push) => match self.tracks.backlog(push) {
                    Verdict::Write => {
                        self.write(push, What::FromBacklog, out);
                        out.counts.from_backlog += 1;
                        news = true;
                    }
                    Verdict::Have | Verdict::Gap => out.counts.duplicates += 1,
                },
                Delivery::Receipt { key, body, .. } => {
                    let before = out.told.len();
                    self.receipt(key, body, out);
                    news |= out.told.len() > before;
                }
                // A backlog holds nothing else.
                Delivery::Answer { .. }
                | Delivery::Replaced { .. }
                | Delivery::Revoked { .. }
                | Delivery::Resync => {}
            }
        }
        // One read has seen one state of everything: what was stored since is on its way, and was noted or comes next.
        if !more && !self.mode.noted && !self.mode.paused {
            self.tracks.complete(&self.who, &mut out.notes);
            self.mode.backlog = false;
            self.told = None;
        }
        self.mode.slow = !news && more;
    }

    fn limit(&self) -> usize {
        self.limit as usize
    }

    fn write(&mut self, push: &Push, what: What, out: &mut Output) {
        out.frame(&push.body);
        out.trace.stop(&self.who, push, what, Why::None);
        out.counts.written += 1;
        if self.unacked() >= self.limit() {
            if !self.mode.backlog {
                out.counts.behind = Some("unacked");
                self.mode.why = Why::Unacked;
            }
            self.mode.paused = true;
            self.mode.backlog = true;
        }
    }
}

#[cfg(test)]
mod tests;
