//! One logged-in connection, from its first frame to its end.

use std::{collections::VecDeque, pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc::error::TrySendError,
    time::{Instant, Sleep, sleep_until, timeout},
};

use super::{
    Connection, Options, compose,
    driver::{Command, State},
    event::Event,
    handle::{SendError, Stored},
    incoming::{self, Incoming},
    moving::{Moved, Moving},
    outstanding::Waiter,
    stream::{Stream, write_some},
    wire::Cutter,
};

/// Bytes not yet written above which no command is taken: a server that does not read stops the senders.
const OUT: usize = 256 * 1024;
/// Events not yet handed over above which nothing more is read. A server pauses deliveries at 1,000 unacknowledged ones,
/// so this many only gather where one does not keep to that.
pub const INBOX: usize = 4096;
/// How long the last bytes may take when the client closes.
pub const FLUSH: Duration = Duration::from_secs(1);
/// Acknowledgements in one frame at most, well within a server's limit on entries.
const ACKS: usize = 100;

/// How a session ended.
#[derive(Debug)]
pub enum End {
    /// The application wanted it.
    Closed,
    /// The device logged in elsewhere.
    Replaced,
    /// Logged in on another node, since this one is about to end.
    Moved(Moved),
    /// The node is about to end, and there is no other: not before this.
    Away(Instant, String),
    /// Everything else, for people.
    Lost(String),
}

struct Session<'a> {
    state: &'a mut State,
    out: BytesMut,
    /// `[[a]]` entries gathered, and how many.
    acks: (Vec<u8>, usize),
    received: Instant,
    written: Instant,
    /// When the heartbeat was sent that has no answer yet.
    heartbeat: Option<Instant>,
    going: Option<Moving>,
}

/// Runs the session.
pub async fn run(state: &mut State, connection: Connection) -> End {
    let now = Instant::now();
    let mut session = Session {
        state,
        out: BytesMut::new(),
        acks: (Vec::new(), 0),
        received: now,
        written: now,
        heartbeat: None,
        going: None,
    };
    session.state.outstanding.send_again(now, &mut session.out);
    let end = session.live(connection).await;
    let (Some(going), End::Lost(reason)) = (session.going.take(), &end) else { return end };
    if let Some(at) = going.not_before() {
        return End::Away(at, reason.clone());
    }
    // The node went before the time it had named, or while the next connection was being made.
    let options = &session.state.options;
    tokio::select! {
        moved = going.at_once(options) => moved.map_or(end, End::Moved),
        () = session.state.closing.cancelled() => End::Closed,
    }
}

/// What [`Moving::arrived`] gives; for ever where the node stays.
async fn arrived(going: &mut Option<Moving>, options: &Options) -> Option<(Connection, String)> {
    match going {
        Some(going) => going.arrived(options).await,
        None => std::future::pending().await,
    }
}

impl Session<'_> {
    async fn live(&mut self, connection: Connection) -> End {
        let (stream, cutter, early) = connection.into_parts();
        match stream {
            Stream::Plain(mut tcp) => {
                let (reader, writer) = tcp.split();
                self.live_on(reader, writer, cutter, early).await
            }
            Stream::Tls(tls) => {
                let (reader, writer) = tokio::io::split(*tls);
                self.live_on(reader, writer, cutter, early).await
            }
        }
    }

    async fn live_on(
        &mut self,
        mut reader: impl AsyncRead + Unpin,
        mut writer: impl AsyncWrite + Unpin,
        mut cutter: Cutter,
        early: VecDeque<Bytes>,
    ) -> End {
        let (closing, events) = (self.state.closing.clone(), self.state.events.clone());
        for frame in early {
            if let Some(end) = self.frame(&frame) {
                return end;
            }
        }
        let mut timer = Box::pin(sleep_until(self.due()));
        // Taken by TLS, and perhaps not by the network yet.
        let mut unflushed = false;
        loop {
            // What the last step brought is dealt with before anything is awaited.
            if let Some(end) = self.take(&mut cutter) {
                return end;
            }
            self.flush_acks();
            self.hasten(timer.as_mut());
            tokio::select! {
                read = reader.read_buf(&mut cutter.buffer), if self.state.inbox.len() < INBOX => match read {
                    Ok(0) => return End::Lost("the server closed the connection".to_owned()),
                    Ok(_) => self.heard(),
                    Err(error) => return End::Lost(error.to_string()),
                },
                write = write_some(&mut writer, &mut self.out, &mut unflushed), if unflushed || !self.out.is_empty() => match write {
                    Ok(()) => self.written = Instant::now(),
                    Err(error) => {
                        // Why it closed may stand in what it sent before: `replaced`, say.
                        while let Some(Ok(1..)) = reader.read_buf(&mut cutter.buffer).now_or_never() {}
                        return self.take(&mut cutter).unwrap_or(End::Lost(error.to_string()));
                    }
                },
                command = self.state.commands.recv(), if self.out.len() < OUT => match command {
                    Some(command) => if let Some(end) = self.commands(command) {
                        return end;
                    },
                    None => break,
                },
                room = events.reserve(), if !self.state.inbox.is_empty() && !events.is_closed() => if let Ok(room) = room {
                    drop(room);
                    self.hand_over();
                },
                () = timer.as_mut() => if let Some(end) = self.tick() {
                    return end;
                },
                arrived = arrived(&mut self.going, &self.state.options) => if let Some((connection, server)) = arrived {
                    return End::Moved(Moved { connection, server, away: Duration::ZERO });
                },
                () = closing.cancelled() => break,
            }
        }
        self.last_commands();
        self.flush_acks();
        // A server that no longer reads does not hold the application up.
        drop(
            timeout(FLUSH, async { writer.write_all_buf(&mut self.out).await.and(writer.shutdown().await) })
                .await,
        );
        End::Closed
    }

    /// Cuts and deals with what was read.
    fn take(&mut self, cutter: &mut Cutter) -> Option<End> {
        loop {
            let frame = match cutter.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(error) => return Some(End::Lost(error.to_string())),
            };
            if let Some(end) = self.frame(&frame) {
                return Some(end);
            }
        }
    }

    /// Deals with one frame; an empty one is a heartbeat's answer, and has done its work by arriving.
    fn frame(&mut self, frame: &Bytes) -> Option<End> {
        if frame.is_empty() {
            return None;
        }
        incoming::parse(frame).into_iter().find_map(|entry| self.incoming(entry))
    }

    fn incoming(&mut self, entry: Incoming) -> Option<End> {
        match entry {
            Incoming::Delivery(delivery) => self.tell(Event::Delivery(delivery)),
            Incoming::Receipt(receipt) => self.tell(Event::Receipt(receipt)),
            Incoming::Unknown(frame) => self.tell(Event::Unknown(frame)),
            Incoming::Stored { id, seq, ts } => {
                // None: the answer to a repetition.
                if let Some(sent) = self.state.outstanding.take_message(&id)
                    && let Waiter::Message(waiter, conversation) = sent.waiter
                {
                    self.state.seen.insert(conversation, seq);
                    self.state.acked.insert(conversation, seq);
                    drop(waiter.send(Ok(Stored { seq, ts })));
                }
            }
            Incoming::Success { id, success } => {
                if let Some(sent) = self.state.outstanding.take_request(&id)
                    && let Waiter::Request(waiter) = sent.waiter
                {
                    drop(waiter.send(Ok(success)));
                }
            }
            Incoming::Refused(refused) => {
                match self.state.outstanding.take_refused(&refused.id, refused.t.is_some()) {
                    Some(sent) => sent.waiter.fail(SendError::Refused(refused)),
                    None => self.tell(Event::Refusal(refused)),
                }
            }
            Incoming::Replaced => {
                // By this client's own login on the next node, or so it seems: that will tell.
                let moving = self.going.as_ref().is_some_and(Moving::is_under_way);
                return Some(if moving { End::Lost("replaced".to_owned()) } else { End::Replaced });
            }
            Incoming::Move { server, after } => {
                self.tell(Event::Moved { server: server.clone() });
                self.going = Some(Moving::new(server, after));
            }
        }
        None
    }

    /// Hands an event over, or keeps it until there is room.
    fn tell(&mut self, event: Event) {
        self.state.inbox.push_back(event);
        self.hand_over();
    }

    fn hand_over(&mut self) {
        while let Some(event) = self.state.inbox.pop_front() {
            let place = match &event {
                Event::Delivery(delivery) => {
                    let place = (delivery.conversation, delivery.seq);
                    let again = self.state.seen.contains(&place.0, place.1);
                    let done = self.state.options.auto_ack || self.state.acked.contains(&place.0, place.1);
                    let mark = self.acks.0.len();
                    if (again && done) || self.state.options.auto_ack {
                        compose::ack(delivery, self.state.options.user, &mut self.acks.0);
                        self.acks.1 += 1;
                    }
                    if again {
                        self.flush_full_acks();
                        continue;
                    }
                    Some((place, mark))
                }
                _ => None,
            };
            let error = self.state.events.try_send(event).err();
            match (error, place) {
                (None, Some(((conversation, seq), _))) => {
                    self.state.seen.insert(conversation, seq);
                    self.flush_full_acks();
                }
                (None, None) => {}
                (Some(error), place) => {
                    // Not handed over: not acknowledged either.
                    if let Some((_, mark)) = place
                        && self.state.options.auto_ack
                    {
                        self.acks.0.truncate(mark);
                        self.acks.1 -= 1;
                    }
                    match error {
                        TrySendError::Full(event) => {
                            self.state.inbox.push_front(event);
                            return;
                        }
                        // Nobody looks any more.
                        TrySendError::Closed(_) => {}
                    }
                }
            }
        }
    }

    /// One command, and those that wait behind it: they leave in one write.
    fn commands(&mut self, first: Command) -> Option<End> {
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Send(outgoing) => {
                    self.state.outstanding.send(outgoing, Instant::now(), &mut self.out)
                }
                Command::Ack { entry, of } => {
                    self.acks.0.extend_from_slice(&entry);
                    self.acks.1 += 1;
                    self.flush_full_acks();
                    if let Some((conversation, seq)) = of {
                        self.state.acked.insert(conversation, seq);
                    }
                }
                Command::Reconnect => {
                    return Some(End::Lost("the application asked for a new connection".to_owned()));
                }
            }
            next = if self.out.len() < OUT { self.state.commands.try_recv().ok() } else { None };
        }
        None
    }

    fn last_commands(&mut self) {
        while let Ok(command) = self.state.commands.try_recv() {
            if self.commands(command).is_some() {
                return;
            }
        }
    }

    fn flush_full_acks(&mut self) {
        if self.acks.1 >= ACKS {
            self.flush_acks();
        }
    }

    fn flush_acks(&mut self) {
        if self.acks.1 > 0 {
            self.out.extend_from_slice(&compose::counted(&self.acks.0));
            self.acks.0.clear();
            self.acks.1 = 0;
        }
    }

    fn heard(&mut self) {
        self.received = Instant::now();
        self.heartbeat = None;
    }

    /// The timer fired: whatever is due.
    fn tick(&mut self) -> Option<End> {
        let (now, options) = (Instant::now(), &self.state.options);
        if self.state.inbox.len() >= INBOX {
            // Nothing is read, so nothing can be heard: silence says nothing about the peer.
            self.heartbeat = None;
            self.received = now;
        }
        if let Some(sent) = self.heartbeat
            && now >= sent + options.heartbeat_answer
        {
            return Some(End::Lost(format!(
                "no sign of life within {:?} of a heartbeat",
                options.heartbeat_answer
            )));
        }
        if let Some(going) = &mut self.going
            && going.due().is_some_and(|at| now >= at)
        {
            going.begin(options);
        }
        if self.heartbeat.is_none() && now >= self.received.min(self.written) + options.heartbeat {
            self.out.extend_from_slice(b"#0\n");
            self.heartbeat = Some(now);
            self.written = now;
        }
        // While earlier bytes wait, a repetition would only wait behind them.
        if self.out.is_empty()
            && self.state.outstanding.oldest().is_some_and(|at| now >= at + options.resend_after)
        {
            self.state.outstanding.send_again(now, &mut self.out);
        }
        None
    }

    /// When something is due next.
    fn due(&self) -> Instant {
        let options = &self.state.options;
        let heartbeat = match self.heartbeat {
            Some(sent) => sent + options.heartbeat_answer,
            None => self.received.min(self.written) + options.heartbeat,
        };
        let going = self.going.as_ref().and_then(Moving::due);
        let again = self.state.outstanding.oldest().map(|at| at + options.resend_after);
        [going, again].into_iter().flatten().fold(heartbeat, Instant::min)
    }

    /// Sets the timer where it would come too late, or has fired. One that comes too early costs a look, which is less
    /// than moving it at every frame.
    fn hasten(&self, timer: Pin<&mut Sleep>) {
        let due = self.due();
        if timer.is_elapsed() {
            // Bytes that wait to be written hold back a repetition that is due: look again soon, not at once.
            let pause = Duration::from_millis(if self.out.is_empty() { 1 } else { 500 });
            timer.reset(due.max(Instant::now() + pause));
        } else if due < timer.deadline() {
            timer.reset(due);
        }
    }
}
