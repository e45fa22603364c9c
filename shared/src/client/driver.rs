//! The task behind a client: connects, runs sessions one after the other, and says how it ended.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Connection, Options,
    dial::{Dialer, Failure},
    event::Event,
    handle::{ConnectError, SendError},
    moving::Moved,
    outstanding::{Outgoing, Outstanding},
    seen::Seen,
    session::{self, End},
};
use crate::ids::{Conversation, Seq};

/// What handles ask of the driver.
#[derive(Debug)]
pub enum Command {
    /// A message or a request.
    Send(Outgoing),
    /// An acknowledgement's entry, and which delivery is done with by it.
    Ack {
        /// `[[a]]`.
        entry: Vec<u8>,
        /// The delivery it acknowledges; `None` where it says how far was read.
        of: Option<(Conversation, Seq)>,
    },
    /// A new connection.
    Reconnect,
}

/// What outlives a connection.
#[derive(Debug)]
pub struct State {
    pub options: Options,
    pub commands: mpsc::Receiver<Command>,
    pub events: mpsc::Sender<Event>,
    /// Events that found no room yet.
    pub inbox: VecDeque<Event>,
    pub outstanding: Outstanding,
    /// Handed to the application.
    pub seen: Seen,
    /// Acknowledged by the application, where it does so itself.
    pub acked: Seen,
    pub closing: CancellationToken,
}

/// Starts the task. The receiver tells how the first login went; `written` counts what is written.
pub fn start(
    options: Options,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    written: Arc<AtomicU64>,
    closing: CancellationToken,
    closed: CancellationToken,
) -> oneshot::Receiver<Result<(), ConnectError>> {
    let (first, told) = oneshot::channel();
    let state = State {
        options,
        commands,
        events,
        inbox: VecDeque::new(),
        outstanding: Outstanding::counted(written),
        seen: Seen::default(),
        acked: Seen::default(),
        closing: closing.clone(),
    };
    // Also when the task is aborted with its runtime: whoever awaits the end is let go.
    let at_end = closed.drop_guard();
    tokio::spawn(async move {
        state.run(first).await;
        drop(at_end);
    });
    told
}

/// What became of an attempt to connect.
enum Dialed {
    Connected(Connection),
    Again,
    /// The client has ended, with this last event.
    Over(Option<Event>),
}

impl State {
    async fn run(mut self, first: oneshot::Sender<Result<(), ConnectError>>) {
        let closing = self.closing.clone();
        let last = tokio::select! {
            biased;
            last = self.sessions(first) => last,
            // A session sees this itself and writes what it has; here it ends the attempts between sessions.
            () = async { closing.cancelled().await; sleep(session::FLUSH * 2).await } => None,
        };
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Send(outgoing) = command {
                outgoing.waiter.fail(SendError::Closed);
            }
        }
        self.outstanding.fail(&SendError::Closed);
        for event in self.inbox.into_iter().filter(|event| !matches!(event, Event::Delivery(_))).chain(last) {
            tokio::select! {
                biased;
                sent = self.events.send(event) => if sent.is_err() { return },
                () = closing.cancelled() => return,
            }
        }
    }

    /// One session after the other; the last event, if there is one.
    async fn sessions(&mut self, first: oneshot::Sender<Result<(), ConnectError>>) -> Option<Event> {
        let mut first = Some(first);
        let mut dialer = Dialer::new(&self.options);
        let began = Instant::now();
        let (mut failures, mut moved, mut lost) = (0, None, None);
        loop {
            if self.closing.is_cancelled() {
                return None;
            }
            let (connection, away) = match moved.take() {
                Some(Moved { connection, server, away }) => {
                    dialer.is_at(server);
                    (connection, away)
                }
                None => match self.dialed(&mut dialer, &mut failures, &mut first, began).await {
                    Dialed::Connected(connection) => {
                        (connection, lost.take().map_or(Duration::ZERO, |lost: Instant| lost.elapsed()))
                    }
                    Dialed::Again => continue,
                    Dialed::Over(last) => return last,
                },
            };
            if first.take().is_some_and(|first| first.send(Ok(())).is_err()) {
                // Whoever asked for the connection has gone.
                return None;
            }
            self.inbox.push_back(Event::Connected { server: dialer.server().to_owned(), away });
            failures = 0;
            let until = match session::run(self, connection).await {
                End::Closed => return None,
                End::Replaced => return Some(Event::Replaced),
                End::Moved(next) => {
                    moved = Some(next);
                    None
                }
                End::Away(until, reason) => {
                    lost = Some(Instant::now());
                    self.note(Event::Disconnected { reason });
                    Some(until)
                }
                End::Lost(reason) => {
                    lost = Some(Instant::now());
                    failures = 1;
                    self.note(Event::Disconnected { reason });
                    None
                }
            };
            self.between_sessions();
            if let Some(until) = until {
                tokio::select! {
                    () = sleep_until(until) => {}
                    () = self.closing.cancelled() => return None,
                }
            }
        }
    }

    /// Tells what there is room for now: an application hears of an outage while it lasts.
    fn between_sessions(&mut self) {
        // Deliveries that the application has not been handed come again: they are not acknowledged.
        self.inbox.retain(|event| !matches!(event, Event::Delivery(_)));
        while let Some(event) = self.inbox.pop_front() {
            // Closed: nobody looks any more.
            if let Err(TrySendError::Full(event)) = self.events.try_send(event) {
                self.inbox.push_front(event);
                return;
            }
        }
    }

    /// One attempt to connect, after the wait that earlier failures ask for.
    async fn dialed(
        &self,
        dialer: &mut Dialer,
        failures: &mut u32,
        first: &mut Option<oneshot::Sender<Result<(), ConnectError>>>,
        began: Instant,
    ) -> Dialed {
        if *failures > 0 {
            let wait = self.options.backoff.wait(*failures).max(dialer.retry_after());
            tokio::select! {
                () = sleep(wait) => {}
                () = self.closing.cancelled() => return Dialed::Over(None),
            }
        }
        let dialed = tokio::select! {
            dialed = dialer.dial(&self.options) => dialed,
            () = self.closing.cancelled() => return Dialed::Over(None),
        };
        match dialed {
            Ok(connection) => Dialed::Connected(connection),
            Err(Failure::Refused(refused)) => Dialed::Over(match first.take() {
                Some(first) => {
                    drop(first.send(Err(refused.into())));
                    None
                }
                None => Some(Event::LoginRefused(refused)),
            }),
            Err(failure @ (Failure::Again(_) | Failure::Untrusted(_))) => {
                // An operator may be about to change the certificate: only whoever has never got in is told at once.
                if let Failure::Untrusted(untrusted) = &failure
                    && let Some(first) = first.take()
                {
                    drop(first.send(Err(untrusted.clone().into())));
                    return Dialed::Over(None);
                }
                let last = failure.to_string();
                *failures = failures.saturating_add(1);
                tracing::debug!(user.id = %self.options.user, reason = last, "no connection yet");
                let within = self.options.first_login;
                if began.elapsed() >= within
                    && let Some(first) = first.take()
                {
                    drop(first.send(Err(ConnectError::Unreachable { within, last })));
                    return Dialed::Over(None);
                }
                Dialed::Again
            }
        }
    }

    /// An event about the connection itself. Where nobody takes events, the newest few of these are enough.
    pub fn note(&mut self, event: Event) {
        if self.inbox.len() < session::INBOX {
            self.inbox.push_back(event);
        }
    }
}
