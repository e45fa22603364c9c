//! The task of one connection: moves bytes between its socket, its state machine and the rest of the node.
//!
//! While nothing happens it holds no buffer: it waits until there is something to read or somebody wakes it.

use std::{
    collections::VecDeque,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use shared::{
    frame::{Decoder, Form},
    message::{Entry, write},
    rpc::{Registration, Told},
};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::{
    Output, Stamped, backlog,
    end::End,
    frames::{self, Next},
    live::Live,
    login::{self, Begun},
    wire::{self, Wire},
};
use crate::{
    context::Context,
    outbox::{Close, Item, Outbox, Page},
};

/// How long an ended connection may take to read what was written last.
const FAREWELL: Duration = Duration::from_millis(500);

/// Serves a connection until it ends. `shutdown` ends it only before its login; afterwards its outbox does.
pub async fn run<W: Wire>(mut wire: W, peer: IpAddr, context: Arc<Context>, shutdown: CancellationToken) {
    let mut decoder = Decoder::new(context.limits.frame_bytes);
    // Boxed, so that the memory of a login is not kept by every idle session.
    let begun = Box::pin(login::run(&mut wire, peer, &mut decoder, &context, &shutdown)).await;
    let (end, mut wire) = match begun {
        Err(end) => (end, wire),
        Ok(Begun { live, outbox, place, rest }) => {
            context.metrics.sessions.increment(1.0);
            context.metrics.backlog_sessions.increment(1.0);
            context.metrics.behind("login");
            let idle =
                context.limits.idle_seconds.unless_zero().map(|idle| Box::pin(tokio::time::sleep(idle)));
            let who = outbox.who.clone();
            let mut session = Session {
                wire,
                decoder,
                live,
                outbox,
                context: context.clone(),
                parked: VecDeque::new(),
                idle,
                ended: None,
            };
            let end = session.serve(rest).await;
            drop(place);
            context.metrics.sessions.decrement(1.0);
            context.metrics.backlog_sessions.decrement(f64::from(u8::from(!session.live.is_live())));
            context.metrics.vanished.increment(session.parked.len() as u64);
            context.notes.closed(Registration {
                user: who.user,
                device: who.device.clone(),
                session: who.session,
            });
            tracing::debug!(session.id = who.session.0, how = end.as_str(), "session ended");
            (end, session.wire)
        }
    };
    context.metrics.closed(end.as_str());
    if end.is_ours() {
        Box::pin(wire::end(&mut wire, FAREWELL)).await;
    }
}

#[derive(Debug)]
struct Session<W> {
    wire: W,
    decoder: Decoder,
    live: Live,
    outbox: Arc<Outbox>,
    context: Arc<Context>,
    /// Frames for which their lane had no room yet; while there are any, nothing is read.
    parked: VecDeque<Stamped>,
    idle: Option<Pin<Box<Sleep>>>,
    ended: Option<End>,
}

/// What one step left to be written.
#[derive(Debug)]
struct Unwritten {
    bytes: Vec<u8>,
    from: usize,
    told: Vec<Told>,
}

impl<W: Wire> Session<W> {
    async fn serve(&mut self, rest: Vec<Entry>) -> End {
        let mut rest = Some(rest);
        loop {
            match self.step(rest.take()) {
                Err(end) => return end,
                Ok(None) => {}
                // Boxed for the same reason: rarely needed, and then only while the client does not keep up.
                Ok(Some(unwritten)) => {
                    if let Err(end) = Box::pin(self.write(unwritten)).await {
                        return end;
                    }
                    // What gathered meanwhile comes before the next wait.
                    continue;
                }
            }
            if let Some(end) = self.over() {
                return end;
            }
            self.wait().await;
        }
    }

    /// Handles all that is there and writes as much as goes without waiting.
    fn step(&mut self, rest: Option<Vec<Entry>>) -> Result<Option<Box<Unwritten>>, End> {
        let mut out = Output::new(self.decoder.form().unwrap_or(Form::Text));
        let was_live = self.live.is_live();
        self.live.clock(self.context.notes.clock());
        self.deliveries(&mut out);
        self.unpark();
        self.entries(rest.unwrap_or_default(), &mut out);
        self.frames(&mut out);
        if let Some((read, pause)) = self.live.next_read() {
            tokio::spawn(backlog::read(self.context.clone(), self.outbox.clone(), read, pause));
        }
        self.report(&mut out, was_live);
        if out.bytes.is_empty() {
            return Ok(None);
        }
        let from = wire::write_now(&mut self.wire, &out.bytes)?;
        if from < out.bytes.len() {
            return Ok(Some(Box::new(Unwritten { bytes: out.bytes, from, told: out.told })));
        }
        self.told(out.told);
        Ok(None)
    }

    /// What the rest of the node has for this session.
    fn deliveries(&mut self, out: &mut Output) {
        let taken = self.outbox.take();
        let mut close = taken.close;
        for item in taken.items {
            match item {
                Item::Push(push) => self.live.push(&push, out),
                Item::Answer { place, body } => self.live.answer(place, &body, out),
                Item::Receipt(receipt) => self.live.receipt(&receipt.0, &receipt.1, out),
                Item::Notice(body) => out.frame(&body),
                Item::Queued(id) => self.live.queued(&id, out),
                Item::Page(Page::Read(entries, more)) => self.live.page(&entries, more, out),
                Item::Page(Page::Over) => close = close.or(Some(Close::Replaced)),
            }
        }
        if let Some(why) = taken.behind {
            self.live.behind(why, out);
        }
        if let Some(close) = close
            && self.ended.is_none()
        {
            if close == Close::Replaced {
                out.write(write::replaced);
            }
            self.ended = Some(End::Closed(close));
        }
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
        let ts = now();
        for entry in entries {
            self.live.entry(entry, ts, None, out);
        }
        for frame in out.accepted.drain(..) {
            self.context.metrics.accepted(frame.frame().batch_kind());
            if !self.parked.is_empty() || !self.context.publisher.take(&frame, &self.outbox) {
                self.parked.push_back(frame);
            }
        }
    }

    fn unpark(&mut self) {
        while let Some(frame) = self.parked.front()
            && self.context.publisher.take(frame, &self.outbox)
        {
            self.parked.pop_front();
        }
    }

    /// Whether another client frame may be taken.
    fn may_take(&self) -> bool {
        let ours = self.ended.is_some_and(End::is_ours);
        !ours && self.parked.is_empty() && self.outbox.unpublished() < self.context.limits.unpublished
    }

    /// Whether all is done: the node ended the session, or the client did and all that it sent has been taken.
    fn over(&self) -> Option<End> {
        let end = self.ended?;
        if end.is_ours() {
            return Some(end);
        }
        self.may_take().then(|| end.with(&self.decoder))
    }

    fn report(&self, out: &mut Output, was_live: bool) {
        let (metrics, counts) = (&self.context.metrics, out.counts);
        for (counter, count) in [
            (&metrics.written, counts.written),
            (&metrics.backlog_frames, counts.from_backlog),
            (&metrics.noted, counts.noted),
            (&metrics.duplicates, counts.duplicates),
            (&metrics.acks, counts.acks),
            (&metrics.reads, counts.reads),
            (&metrics.acks_unmatched, counts.unmatched),
        ] {
            if count > 0 {
                counter.increment(count);
            }
        }
        match (was_live, self.live.is_live()) {
            (true, false) => metrics.backlog_sessions.increment(1.0),
            (false, true) => metrics.backlog_sessions.decrement(1.0),
            _ => {}
        }
        if let Some(why) = counts.behind {
            metrics.behind(why);
        }
        let notes = std::mem::take(&mut out.notes);
        if !(notes.moves.is_empty() && notes.reads.is_empty() && notes.delivered.is_empty()) {
            self.context.notes.cursors(notes);
        }
    }

    fn told(&self, told: Vec<Told>) {
        if !told.is_empty() {
            self.context.notes.told(told);
        }
    }

    async fn write(&mut self, unwritten: Box<Unwritten>) -> Result<(), End> {
        let stall = self.context.limits.write_seconds.get();
        wire::write_all(&mut self.wire, &unwritten.bytes[unwritten.from..], stall).await?;
        self.told(unwritten.told);
        Ok(())
    }

    /// Until there is something to do.
    async fn wait(&mut self) {
        let reading = self.ended.is_none() && self.may_take();
        let idle = async {
            match &mut self.idle {
                Some(idle) => idle.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.outbox.woken() => return,
            ready = self.wire.readable(), if reading => {
                self.ended = match ready {
                    Ok(()) => frames::read(&mut self.wire, &mut self.decoder),
                    Err(_) => Some(End::Reset),
                };
            }
            () = idle => self.ended = Some(End::Idle),
        }
        if let (Some(timer), Some(idle)) = (&mut self.idle, self.context.limits.idle_seconds.unless_zero()) {
            timer.as_mut().reset(tokio::time::Instant::now() + idle);
        }
    }
}

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
