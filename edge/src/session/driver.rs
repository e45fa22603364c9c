//! A logged-in session at work: moves bytes between its socket, its state machine and the rest of the node.
//!
//! While nothing happens it holds no buffer: it waits until there is something to read or somebody wakes it.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{self, Poll, ready},
};

use shared::{
    frame::{Decoder, Form},
    message::{Entry, Sender, write},
    rpc::{Registration, Told},
    trace::seconds,
};
use tokio::time::Sleep;

use super::{
    Output, Stamped,
    end::End,
    frames::{self, Next},
    live::Live,
    login::Begun,
    wire::{self, Wire},
};
use crate::{
    context::Context,
    metric::{Mark, Marked},
    outbox::{Close, Item, Outbox, Page},
    registry,
    trace::Step,
};

/// One session. However it ends, it leaves the registry and its route is given up.
///
/// This is what an idle session costs, in one piece with its task: what is rarely there is boxed.
#[derive(Debug)]
pub struct Session<W: Wire> {
    wire: W,
    decoder: Decoder,
    live: Live,
    context: Arc<Context>,
    /// In the registry, until it leaves.
    place: registry::Entry,
    ahead: Option<Box<Ahead>>,
    /// While there is any, nothing else is done.
    unwritten: Option<Box<Unwritten>>,
    idle: Option<Pin<Box<Sleep>>>,
    ended: Option<End>,
    /// Not read, because its frames wait for the broker.
    paused: bool,
    /// Everything is done, until there is something to read or somebody wakes it.
    waiting: bool,
}

/// What came and waits.
#[derive(Debug, Default)]
struct Ahead {
    /// What stood in the login's frame after it.
    rest: Vec<Entry>,
    /// Frames for which their lane had no room yet; while there are any, nothing is read.
    parked: VecDeque<Stamped>,
}

/// What one step left to be written.
#[derive(Debug)]
struct Unwritten {
    bytes: Vec<u8>,
    from: usize,
    told: Vec<Told>,
    /// Measured once it is written.
    mark: Option<Mark>,
    /// By then the client has to have taken some.
    stall: Pin<Box<Sleep>>,
    trace: Step,
}

impl<W: Wire> Session<W> {
    /// One that has just logged in.
    pub fn new(wire: W, decoder: Decoder, begun: Begun, context: Arc<Context>) -> Self {
        let Begun { live, place, rest } = begun;
        context.metrics.sessions.increment(1.0);
        context.metrics.backlog_sessions.increment(1.0);
        context.metrics.behind("login");
        let idle = context.limits.idle_seconds.unless_zero().map(|idle| Box::pin(tokio::time::sleep(idle)));
        let ahead = (!rest.is_empty()).then(|| Box::new(Ahead { rest, ..Ahead::default() }));
        Self {
            wire,
            decoder,
            live,
            context,
            place,
            ahead,
            unwritten: None,
            idle,
            ended: None,
            paused: false,
            waiting: false,
        }
    }

    /// The node it is on.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Its connection, to be ended.
    pub fn wire(&mut self) -> &mut W {
        &mut self.wire
    }

    /// Leaves the registry, and has its route given up. Once; a session that is dropped without does it then. Gives what
    /// [`crate::calls::notes::Notes::passed_on`] waits for.
    pub fn leave(&mut self) -> Option<u64> {
        if !self.place.leave() {
            return None;
        }
        let metrics = &self.context.metrics;
        metrics.sessions.decrement(1.0);
        metrics.backlog_sessions.decrement(f64::from(u8::from(!self.live.is_live())));
        metrics.paused_sessions.decrement(f64::from(u8::from(self.paused)));
        metrics.vanished.increment(self.ahead.as_ref().map_or(0, |ahead| ahead.parked.len() as u64));
        let Sender { user, device, session, .. } = &*self.outbox().who;
        let ended = Registration { user: *user, device: device.clone(), session: *session };
        Some(self.context.notes.closed(ended))
    }

    /// Serves until it ends.
    pub async fn serve(&mut self) -> End {
        poll_fn(|task| self.poll_serve(task)).await
    }

    /// The same, polled: a future of its own would stay with every idle session.
    pub fn poll_serve(&mut self, task: &mut task::Context<'_>) -> Poll<End> {
        loop {
            // What gathers while the client does not keep up comes after it, and before the next wait.
            if self.unwritten.is_some()
                && let Err(end) = ready!(self.poll_write(task))
            {
                return Poll::Ready(end);
            }
            if self.waiting {
                ready!(self.poll_wait(task));
                self.waiting = false;
            }
            if let Err(end) = self.step() {
                return Poll::Ready(end);
            }
            if self.unwritten.is_some() {
                continue;
            }
            if let Some(end) = self.over() {
                return Poll::Ready(end);
            }
            self.pause();
            self.waiting = true;
        }
    }

    /// Handles all that is there and writes as much as goes without waiting.
    fn step(&mut self) -> Result<(), End> {
        let mut out = Output::new(self.decoder.form().unwrap_or(Form::Text)).speaking(self.wire.dialect());
        out.trace = self.context.trace.step();
        let was_live = self.live.is_live();
        self.live.clock(self.context.notes.clock());
        let mark = self.deliveries(&mut out);
        self.catch_up(&mut out);
        self.frames(&mut out);
        if let Some((read, pause)) = self.live.next_read() {
            self.context.backlogs.read(self.outbox().clone(), read, pause);
        }
        self.report(&mut out, was_live);
        if out.bytes.is_empty() {
            self.context.trace.stepped(self.outbox(), &mut out.trace);
            return Ok(());
        }
        let from = wire::write_now(&mut self.wire, &out.bytes)?;
        if from < out.bytes.len() {
            let stall = Box::pin(tokio::time::sleep(self.context.limits.write_seconds.get()));
            let Output { bytes, told, trace, .. } = out;
            self.unwritten = Some(Box::new(Unwritten { bytes, from, told, mark, stall, trace }));
            return Ok(());
        }
        self.context.trace.stepped(self.outbox(), &mut out.trace);
        self.told(out.told, mark);
        Ok(())
    }

    /// What the rest of the node has for this session. Gives what is measured of it, if it is written now.
    fn deliveries(&mut self, out: &mut Output) -> Option<Mark> {
        let taken = self.outbox().take();
        let mut close = taken.close;
        // Before the items: one that was dropped among them must not be passed over by a later one that was not.
        if let Some(why) = taken.behind {
            self.live.behind(why, out);
        }
        for item in taken.items {
            match item {
                Item::Push(push) => self.live.push(&push, out),
                Item::Answer { place, body } => self.live.answer(place, &body, out),
                Item::Receipt(receipt) => self.live.receipt(&receipt.0, &receipt.1, out),
                Item::Notice(body) => out.frame(&body),
                Item::Queued(id) => self.live.queued(&id, out),
                Item::Page(Page::Read(entries, more)) => self.live.page(&entries, more, out),
                Item::Page(Page::Over(why)) => close = close.or(Some(why)),
            }
        }
        if let Some(close) = close
            && self.ended.is_none()
        {
            if close == Close::Replaced {
                out.write(write::replaced);
            }
            self.ended = Some(End::Closed(close));
        }
        // One that was only noted is written when the backlog has brought it.
        taken.mark.map(|mark| *mark).filter(|mark| mark.what == Marked::Answer || self.live.is_live())
    }

    /// Client frames, as long as the broker keeps up.
    fn frames(&mut self, out: &mut Output) {
        while self.may_take() {
            match frames::next(&mut self.decoder, out, &self.context) {
                Next::Entries(entries) => self.entries(entries, out),
                Next::Nothing => return,
                Next::Broken => self.ended = Some(End::BadStream),
            }
        }
    }

    fn entries(&mut self, entries: Vec<Entry>, out: &mut Output) {
        if entries.is_empty() {
            return;
        }
        let ts = seconds();
        for entry in entries {
            let nonce = out.dialect().repeats().then(|| self.nonce());
            self.live.entry(entry, ts, nonce, out);
        }
        for frame in out.accepted.drain(..) {
            self.context.metrics.accepted(frame.frame().batch_kind());
            if self.is_parked() || !self.context.publisher.take(&frame, self.place.session()) {
                self.ahead.get_or_insert_default().parked.push_back(frame);
            }
        }
    }

    /// What came earlier.
    fn catch_up(&mut self, out: &mut Output) {
        let Some(ahead) = &mut self.ahead else { return };
        while let Some(frame) = ahead.parked.front()
            && self.context.publisher.take(frame, self.place.session())
        {
            ahead.parked.pop_front();
        }
        let rest = std::mem::take(&mut ahead.rest);
        if ahead.parked.is_empty() {
            self.ahead = None;
        }
        self.entries(rest, out);
    }

    /// Makes a frame another one than all before it: of this session by the count, of others by its number.
    fn nonce(&self) -> u64 {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed) & 0xff_ffff;
        (self.outbox().who.session.0.unsigned_abs() << 24 | count) & i64::MAX.unsigned_abs()
    }

    fn is_parked(&self) -> bool {
        self.ahead.as_ref().is_some_and(|ahead| !ahead.parked.is_empty())
    }

    fn outbox(&self) -> &Arc<Outbox> {
        self.place.session()
    }

    /// Whether another client frame may be taken.
    fn may_take(&self) -> bool {
        let ours = self.ended.is_some_and(End::is_ours);
        !ours && self.ahead.is_none() && self.outbox().may_be_read(self.context.limits.unpublished)
    }

    /// Whether all is done: the node ended the session, or the client did and all that it sent has been taken.
    fn over(&self) -> Option<End> {
        let end = self.ended?;
        if end.is_ours() {
            // What was accepted is published before a drained session ends.
            let waits = end == End::Closed(Close::Drain) && self.is_parked();
            return (!waits).then_some(end);
        }
        self.may_take().then(|| end.with(&self.decoder))
    }

    fn report(&self, out: &mut Output, was_live: bool) {
        let metrics = &self.context.metrics;
        out.counts.add_to(metrics);
        match (was_live, self.live.is_live()) {
            (true, false) => metrics.backlog_sessions.increment(1.0),
            (false, true) => metrics.backlog_sessions.decrement(1.0),
            _ => {}
        }
        let notes = std::mem::take(&mut out.notes);
        let moves = notes.moves.len() + notes.own.len();
        out.trace.acknowledged(&notes.moves);
        if !(moves == 0 && notes.reads.is_empty() && notes.delivered.is_empty()) {
            self.context.notes.cursors(notes);
        }
    }

    /// What became known with the bytes' being written.
    fn told(&self, told: Vec<Told>, mark: Option<Mark>) {
        if !told.is_empty() {
            self.context.notes.told(told);
        }
        if let Some(mark) = mark {
            self.context.metrics.arrived(mark);
        }
    }

    /// Until what is left has been written; the client has to take some of it in time.
    fn poll_write(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(), End>> {
        while let Some(left) = &mut self.unwritten {
            let written = wire::write_now(&mut self.wire, &left.bytes[left.from..])?;
            left.from += written;
            if left.from == left.bytes.len() {
                let (told, mark) = (std::mem::take(&mut left.told), left.mark);
                let mut trace = std::mem::take(&mut left.trace);
                self.unwritten = None;
                self.context.trace.stepped(self.outbox(), &mut trace);
                self.told(told, mark);
                break;
            }
            if written > 0 {
                let stall = self.context.limits.write_seconds.get();
                left.stall.as_mut().reset(tokio::time::Instant::now() + stall);
            }
            match self.wire.poll_writable(task) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => {
                    ready!(left.stall.as_mut().poll(task));
                    return Poll::Ready(Err(End::WriteStalled));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Notes whether it is read from now on.
    fn pause(&mut self) {
        let paused = self.ended.is_none() && !self.may_take();
        match (std::mem::replace(&mut self.paused, paused), paused) {
            (false, true) => self.context.metrics.paused_sessions.increment(1.0),
            (true, false) => self.context.metrics.paused_sessions.decrement(1.0),
            _ => {}
        }
    }

    /// Until there is something to do.
    fn poll_wait(&mut self, task: &mut task::Context<'_>) -> Poll<()> {
        if self.outbox().poll_woken(task).is_ready() {
            return Poll::Ready(());
        }
        if self.ended.is_none()
            && !self.paused
            && let Poll::Ready(ready) = self.wire.poll_readable(task)
        {
            self.ended = match ready {
                Ok(()) => frames::read_once(&mut self.wire, &mut self.decoder),
                Err(_) => Some(End::Reset),
            };
            if let (Some(timer), Some(idle)) =
                (&mut self.idle, self.context.limits.idle_seconds.unless_zero())
            {
                timer.as_mut().reset(tokio::time::Instant::now() + idle);
            }
            return Poll::Ready(());
        }
        if self.idle.as_mut().is_some_and(|timer| timer.as_mut().poll(task).is_ready()) {
            self.ended = Some(End::Idle);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl<W: Wire> Drop for Session<W> {
    fn drop(&mut self) {
        self.leave();
    }
}
