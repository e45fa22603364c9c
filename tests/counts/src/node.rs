//! Whole sessions in a whole node, as the servers run them. Replaced are the socket, the broker and the workers, of which
//! the last two never answer: a session's side of the road needs neither.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context as Task, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use edge::{
    calls::ask::{Ask, AskError, Reply},
    config::EdgeConfig,
    context::{Context, Ways},
    deliver::Deliver,
    outbox::Outbox,
    publisher::sink::{Found, Sink},
    session::{driver::Session, end::End, login::Begun, wire::Wire},
    vital::Vital,
};
use futures::future::{BoxFuture, FutureExt, pending};
use shared::{
    frame::Decoder,
    ids::{Seq, UserId},
    subject::Subjects,
    telemetry::Moment,
};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{answer, batch, push},
    counting::Counting,
    samples::{ALL, EACH, PAIRS, client_ack, client_message, counted, node, shared_who},
    session::logged_in,
};

/// Messages that a client writes at a time, and that come for it at a time.
const BURST: i64 = 5;

/// All of them.
pub fn all(counting: &mut Counting) {
    // Never run: tasks begin and wait, as the broker and the workers are silent anyway.
    let runtime = Builder::new_current_thread().build().expect("a runtime without I/O needs nothing");
    let _inside = runtime.enter();
    let traffic = Traffic::new();
    counting.bench("node.message", ALL, Node::new, |mut node| {
        traffic.bursts().for_each(|burst| node.messages(burst));
        node
    });
    counting.bench(
        "node.deliver",
        ALL,
        || (Node::new(), traffic.deliveries.clone()),
        |(node, all)| {
            all.iter().for_each(|batch| node.deliver.batch(batch, Some(Moment::now())));
            node
        },
    );
    counting.bench(
        "node.write",
        ALL,
        || {
            let node = Node::new();
            traffic.deliveries.iter().for_each(|batch| node.deliver.batch(batch, Some(Moment::now())));
            node
        },
        |mut node| {
            node.everybody();
            node
        },
    );
    counting.bench(
        "node.ack",
        ALL,
        || {
            let mut node = Node::new();
            traffic.bursts().for_each(|burst| node.written(burst));
            node
        },
        |mut node| {
            traffic.bursts().for_each(|burst| node.acks(burst));
            node
        },
    );
    counting.bench("node.road", ALL, Node::new, |mut node| {
        for burst in traffic.bursts() {
            node.messages(burst);
            node.written(burst);
            node.acks(burst);
        }
        node
    });
}

/// What clients write and workers send, a burst after the other.
struct Traffic {
    /// Of each pair's sender.
    messages: Vec<Vec<Vec<u8>>>,
    deliveries: Vec<Bytes>,
    /// Of each pair's recipient.
    acks: Vec<Vec<Vec<u8>>>,
}

type Burst<'t> = (&'t [Vec<u8>], &'t Bytes, &'t [Vec<u8>]);

impl Traffic {
    fn new() -> Self {
        let mut all = Self { messages: Vec::new(), deliveries: Vec::new(), acks: Vec::new() };
        for first in (1..=EACH).step_by(BURST as usize) {
            let seqs = || (first..first + BURST).map(Seq);
            let pairs = || (1..=PAIRS).map(|pair| (UserId(2 * pair - 1), UserId(2 * pair)));
            let messages = pairs().map(|(from, to)| counted(seqs().map(|seq| client_message(from, to, seq))));
            all.messages.push(messages.collect());
            all.acks
                .push(pairs().map(|(from, _)| counted(seqs().map(|seq| client_ack(from, seq)))).collect());
            let each =
                |seq| pairs().map(move |(from, to)| [push(from, vec![to, from], seq), answer(from, to, seq)]);
            let deliveries: Vec<_> = seqs().flat_map(each).flatten().collect();
            all.deliveries.push(batch(&deliveries, Vec::new()).into());
        }
        all
    }

    fn bursts(&self) -> impl Iterator<Item = Burst<'_>> {
        let all = self.messages.iter().zip(&self.deliveries).zip(&self.acks);
        all.map(|((messages, deliveries), acks)| (&messages[..], deliveries, &acks[..]))
    }
}

/// A node with the sessions of all pairs.
struct Node {
    deliver: Deliver,
    clients: Vec<Client>,
}

/// One client's socket, and the session at the other end of it.
struct Client {
    socket: Socket,
    session: Pin<Box<dyn Future<Output = End>>>,
}

impl Node {
    fn new() -> Self {
        let context = context();
        let mut clients: Vec<Client> =
            (1..=2 * PAIRS).map(|user| Client::new(UserId(user), &context)).collect();
        clients.iter_mut().for_each(Client::run);
        Self { deliver: Deliver::new(context), clients }
    }

    /// Senders write, and are read.
    fn messages(&mut self, (messages, ..): Burst<'_>) {
        for (client, bytes) in self.clients.iter_mut().step_by(2).zip(messages) {
            client.write(bytes);
        }
    }

    /// Workers send, and sessions write to their clients.
    fn written(&mut self, (_, deliveries, _): Burst<'_>) {
        self.deliver.batch(deliveries, Some(Moment::now()));
        self.everybody();
    }

    /// Recipients acknowledge.
    fn acks(&mut self, (.., acks): Burst<'_>) {
        for (client, bytes) in self.clients.iter_mut().skip(1).step_by(2).zip(acks) {
            client.write(bytes);
        }
    }

    fn everybody(&mut self) {
        self.clients.iter_mut().for_each(Client::run);
    }
}

impl Client {
    fn new(user: UserId, context: &Arc<Context>) -> Self {
        let (socket, outbox) = (Socket::default(), Arc::new(Outbox::new(shared_who(user))));
        let place = context.registry.add(outbox);
        let begun = Begun { live: logged_in(user), place, rest: Vec::new() };
        let mut decoder = Decoder::new(context.limits.frame_bytes);
        // The login's frame tells the form.
        decoder.feed(b"#0\n");
        while let Ok(Some(_)) = decoder.next() {}
        let mut session = Session::new(socket.clone(), decoder, begun, context.clone());
        Self { socket, session: Box::pin(async move { session.serve().await }) }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.socket.with(|side| side.sent.push_back(bytes.to_vec()));
        self.run();
    }

    /// Until the session waits.
    fn run(&mut self) {
        let polled = self.session.as_mut().poll(&mut Task::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "a session of a client that stays does not end, it did: {polled:?}");
    }
}

/// What stands between a client and its session.
#[derive(Debug, Clone, Default)]
struct Socket(Arc<Mutex<Sides>>);

#[derive(Debug, Default)]
struct Sides {
    /// By the client, not yet read.
    sent: VecDeque<Vec<u8>>,
    /// Bytes that the client has had.
    had: usize,
}

impl Socket {
    fn with<T>(&self, act: impl FnOnce(&mut Sides) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Wire for Socket {
    fn poll_readable(&self, _: &mut Task<'_>) -> Poll<io::Result<()>> {
        if self.with(|sides| sides.sent.is_empty()) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.with(|sides| sides.sent.pop_front()).ok_or(io::ErrorKind::WouldBlock)?;
        buffer[..read.len()].copy_from_slice(&read);
        Ok(read.len())
    }

    fn poll_writable(&self, _: &mut Task<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|sides| sides.had += bytes.len());
        Ok(bytes.len())
    }

    fn shut(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        pending()
    }
}

/// Broker and workers.
struct Silent;

impl Ask for Silent {
    fn ask(&self, _: String, _: Bytes, _: Duration) -> BoxFuture<'_, Result<Reply, AskError>> {
        pending().boxed()
    }
}

impl Sink for Silent {
    fn find(&self, _: Duration) -> BoxFuture<'_, Result<Found, String>> {
        pending().boxed()
    }
}

/// As the edge makes it by its default settings.
fn context() -> Arc<Context> {
    let (node, vital) = (node(UserId(1)), Vital::new(CancellationToken::new()));
    let (config, subjects) = (EdgeConfig::default(), Subjects::new("im"));
    let ways: Ways = (Arc::new(Silent), Arc::new(Silent));
    Arc::new(Context::new(&config, ways, &subjects, &node, ("127.0.0.1", 1987), &vital))
}
