//! What the application holds: the client, its events, and what it waits for.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Options, Success, compose,
    driver::{self, Command},
    event::{Delivery, Event},
    outstanding::{Outgoing, Waiter},
};
use crate::{
    command::{Code, RequestName},
    ids::{Conversation, InvalidId, MessageId, Seq, UserId},
    message::{Ask, Target, WantedAck},
    tls::Untrusted,
};

/// Acknowledgements that may wait beside the window's messages.
const ACKS: usize = 256;

/// A session that lives on over lost connections. Clones share it; it ends with [`Client::close`], with the last clone,
/// or when the server ends it (the last event says so).
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    user: UserId,
    commands: mpsc::Sender<Command>,
    window: Arc<Semaphore>,
    /// The largest frame, bytes.
    frame_bytes: usize,
    ids: Ids,
    written: Arc<AtomicU64>,
    closing: CancellationToken,
    closed: CancellationToken,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// Where it was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the conversation.
    pub seq: Seq,
    /// When it was accepted, Unix seconds.
    pub ts: i64,
}

/// A refusal as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused ({}): {reason}", code.map_or("no code", Code::as_str))]
pub struct Refused {
    /// For programs; `None` for a code that this version does not know.
    pub code: Option<Code>,
    /// For people.
    pub reason: String,
    /// The refused frame's id; empty where the server could not read one.
    pub id: String,
    /// The refused request's `t`.
    pub t: Option<RequestName>,
}

/// Why something sent has no success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The server refused it: sending it again would not help.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The window is full: wait for an answer first.
    #[error("as many messages as the window holds wait for their answers")]
    Full,
    /// The client has ended. What was on its way may have been stored all the same.
    #[error("the client has ended")]
    Closed,
}

impl SendError {
    /// The refusal's code, if it is one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(refused) => refused.code,
            Self::Full | Self::Closed => None,
        }
    }
}

/// Why no session began.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The login was refused.
    #[error("login: {0}")]
    Refused(#[from] Refused),
    /// Neither `http` nor `server` was given.
    #[error("expected a server, or an HTTP API to ask for one; found neither")]
    Nowhere,
    /// The API, or the node, shows a certificate that this client does not believe.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// No login succeeded in time.
    #[error("no login within {within:?}; the last attempt: {last}")]
    Unreachable {
        /// How long it tried.
        within: Duration,
        /// What the last attempt met.
        last: String,
    },
}

impl Client {
    /// Connects and logs in, trying again for `Options::first_login`.
    ///
    /// # Errors
    /// [`ConnectError`]: refused, not reached in time, or somebody whose certificate is not trusted was.
    pub async fn connect(options: Options) -> Result<(Self, Events), ConnectError> {
        if options.http.is_none() && options.server.is_none() {
            return Err(ConnectError::Nowhere);
        }
        let window = options.window.clamp(1, Semaphore::MAX_PERMITS / 2);
        let (commands, receiver) = mpsc::channel(window + ACKS);
        let (sender, events) = mpsc::channel(options.events.max(1));
        let (closing, closed) = (CancellationToken::new(), CancellationToken::new());
        let (user, frame_bytes, written) = (options.user, options.frame_bytes, Arc::default());
        let first =
            driver::start(options, receiver, sender, Arc::clone(&written), closing.clone(), closed.clone());
        // Should the caller stop waiting, the driver is not to go on without it.
        let unless_dropped = closing.clone().drop_guard();
        first
            .await
            .unwrap_or(Err(ConnectError::Unreachable { within: Duration::ZERO, last: "stopped".into() }))?;
        unless_dropped.disarm();
        let window = Arc::new(Semaphore::new(window));
        let shared = Arc::new(Shared {
            user,
            commands,
            window,
            frame_bytes,
            ids: Ids::new(),
            written,
            closing,
            closed,
        });
        Ok((Self { shared }, Events { receiver: events }))
    }

    /// Who this is.
    pub fn user(&self) -> UserId {
        self.shared.user
    }

    /// Messages and requests written so far, each one as often as it was written: servers can have accepted no more from
    /// this client. Fewer, where a connection broke with some of them under way.
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// Sends a message and waits until it is stored, over reconnects, for as long as it takes.
    ///
    /// # Errors
    /// [`SendError::Refused`], or [`SendError::Closed`].
    pub async fn send(&self, to: Target, text: &str, ack: WantedAck) -> Result<Stored, SendError> {
        self.begin(to, text, ack).await?.await
    }

    /// Sends a message once there is room in the window. The future it gives resolves when the message is stored, and
    /// need not be polled for it to be sent. Messages go out in the order of these calls.
    ///
    /// # Errors
    /// As [`Self::begin_with`].
    pub async fn begin(&self, to: Target, text: &str, ack: WantedAck) -> Result<InFlight<Stored>, SendError> {
        self.begin_with(self.shared.ids.next(), to, text, ack).await
    }

    /// An id that no other start of any client of this device has used, for [`Self::begin_with`] and
    /// [`Self::request_with`]: who knows it beforehand can tell receipts by it.
    pub fn new_id(&self) -> MessageId {
        self.shared.ids.next()
    }

    /// As [`Self::begin`], with an id of one's own: sending the same again gets the first one's answer, in this run of the
    /// program or in another one on the same device.
    ///
    /// # Errors
    /// [`SendError::Closed`]; [`SendError::Refused`] with `too_long`, without asking a server.
    pub async fn begin_with(
        &self,
        id: MessageId,
        to: Target,
        text: &str,
        ack: WantedAck,
    ) -> Result<InFlight<Stored>, SendError> {
        let (outgoing, answer) = self.message(id, to, text, ack, self.room().await?)?;
        self.command(Command::Send(outgoing)).await?;
        Ok(InFlight { answer })
    }

    /// As [`Self::begin`], but never waits.
    ///
    /// # Errors
    /// [`SendError::Full`] where it would have to wait; otherwise as [`Self::begin_with`].
    pub fn send_nowait(&self, to: Target, text: &str, ack: WantedAck) -> Result<InFlight<Stored>, SendError> {
        let permit = self.shared.window.clone().try_acquire_owned().map_err(|_| SendError::Full)?;
        let (outgoing, answer) = self.message(self.shared.ids.next(), to, text, ack, permit)?;
        match self.shared.commands.try_send(Command::Send(outgoing)) {
            Ok(()) => Ok(InFlight { answer }),
            Err(mpsc::error::TrySendError::Full(_)) => Err(SendError::Full),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(SendError::Closed),
        }
    }

    /// Makes a request and waits for its answer, over reconnects.
    ///
    /// # Errors
    /// [`SendError::Refused`], or [`SendError::Closed`].
    pub async fn request(&self, ask: Ask) -> Result<Success, SendError> {
        self.request_with(self.shared.ids.next(), ask).await
    }

    /// As [`Self::request`], with an id of one's own.
    ///
    /// # Errors
    /// [`SendError::Refused`], or [`SendError::Closed`].
    pub async fn request_with(&self, id: MessageId, ask: Ask) -> Result<Success, SendError> {
        let permit = self.room().await?;
        let (sender, answer) = oneshot::channel();
        let frame = self.fitting(&id, Some(ask.name()), &compose::request(&id, &ask))?;
        self.command(Command::Send(Outgoing { id, frame, waiter: Waiter::Request(sender), _permit: permit }))
            .await?;
        InFlight { answer }.await
    }

    /// Acknowledges a delivery, where `Options::auto_ack` is off.
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub async fn ack(&self, delivery: &Delivery) -> Result<(), SendError> {
        let mut entry = Vec::with_capacity(96);
        compose::ack(delivery, self.shared.user, &mut entry);
        self.command(Command::Ack { entry, of: Some((delivery.conversation, delivery.seq)) }).await
    }

    /// Says that everything of a conversation up to `seq` is read.
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub async fn read(&self, conversation: Conversation, seq: Seq) -> Result<(), SendError> {
        let entry = compose::read(&conversation, seq, self.shared.user);
        self.command(Command::Ack { entry, of: None }).await
    }

    /// Leaves the connection as it is and makes a new one, as after a lost network.
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub async fn reconnect(&self) -> Result<(), SendError> {
        self.command(Command::Reconnect).await
    }

    /// Writes what was handed over, closes the connection, and returns once that is done. What has no answer yet fails
    /// with [`SendError::Closed`].
    pub async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.closed.cancelled().await;
    }

    /// Returns once the client has ended, for whatever reason.
    pub async fn closed(&self) {
        self.shared.closed.cancelled().await;
    }

    async fn room(&self) -> Result<OwnedSemaphorePermit, SendError> {
        self.shared.window.clone().acquire_owned().await.map_err(|_| SendError::Closed)
    }

    async fn command(&self, command: Command) -> Result<(), SendError> {
        self.shared.commands.send(command).await.map_err(|_| SendError::Closed)
    }

    fn message(
        &self,
        id: MessageId,
        to: Target,
        text: &str,
        ack: WantedAck,
        permit: OwnedSemaphorePermit,
    ) -> Result<(Outgoing, oneshot::Receiver<Result<Stored, SendError>>), SendError> {
        let (sender, answer) = oneshot::channel();
        let frame = self.fitting(&id, None, &compose::message(&id, to, text, ack))?;
        let waiter = Waiter::Message(sender, to.conversation(self.shared.user));
        Ok((Outgoing { id, frame, waiter, _permit: permit }, answer))
    }

    /// The counted frame, unless it is one that a server would hang up on, again and again.
    fn fitting(&self, id: &MessageId, t: Option<RequestName>, entry: &[u8]) -> Result<Vec<u8>, Refused> {
        let (found, most) = (entry.len(), self.shared.frame_bytes);
        if found <= most {
            return Ok(compose::counted(entry));
        }
        let reason = format!("expected a frame of at most {most} bytes, found {found}");
        Err(Refused { code: Some(Code::TooLong), reason, id: id.as_str().to_owned(), t })
    }
}

/// The answer to something sent, to be awaited or not.
#[derive(Debug)]
#[must_use = "its result says whether it was stored"]
pub struct InFlight<T> {
    answer: oneshot::Receiver<Result<T, SendError>>,
}

impl<T> Future for InFlight<T> {
    type Output = Result<T, SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context).map(|answer| answer.unwrap_or(Err(SendError::Closed)))
    }
}

/// What happens, in order. Dropping it leaves deliveries unacknowledged, so that nothing is lost unseen.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Event>,
}

impl Events {
    /// The next event; `None` once the client has ended.
    pub async fn next(&mut self) -> Option<Event> {
        self.receiver.recv().await
    }

    /// The next delivery, passing over other events; `None` once the client has ended.
    pub async fn next_delivery(&mut self) -> Option<Delivery> {
        loop {
            if let Event::Delivery(delivery) = self.next().await? {
                return Some(delivery);
            }
        }
    }

    /// An event that is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.receiver.try_recv().ok()
    }
}

/// Ids that no other start of any client of this device has used: random, then a count.
#[derive(Debug)]
struct Ids {
    start: String,
    next: AtomicU64,
}

impl Ids {
    fn new() -> Self {
        // Without randomness from the system the clock tells starts apart.
        let random = getrandom::u64().unwrap_or_else(|_| {
            let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
            since.as_nanos() as u64
        });
        Self { start: format!("{random:016x}"), next: AtomicU64::new(1) }
    }

    fn next(&self) -> MessageId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let made: Result<MessageId, InvalidId> = MessageId::new(&format!("{}-{number}", self.start));
        match made {
            Ok(id) => id,
            Err(error) => unreachable!("hex digits and a number are an id: {error}"),
        }
    }
}
