//! Accepts connections, within a limit.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use metrics::Gauge;
use shared::{
    command::Code,
    frame::{self, Form},
    message::{Refusal, write},
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    session::connection,
    tls::{Port, Tls, wire::Secured},
};

/// After the kernel has said that it has no descriptor or memory left.
const BREATHER: Duration = Duration::from_millis(100);
/// A silent peer is asked whether it is still there after this long, so that a lost one does not stay for ever.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Connections accepted before all that is there gets its turn: where thousands come at once, sessions that talk must not
/// wait behind all of them.
const AT_ONCE: usize = 16;

/// Connections on their way in by other doors. When full, a newcomer waits at its door.
const ARRIVALS: usize = 64;

/// Which way a connection came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The port for frames.
    Tcp,
    /// An upgraded HTTP connection.
    WebSocket,
    /// The port for simple_im's original clients.
    Compat,
}

impl Way {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::WebSocket, Self::Compat];

    /// The metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::WebSocket => "websocket",
            Self::Compat => "compat",
        }
    }
}

/// The way in for connections that another listener has accepted: they count among the node's, and end with them.
#[derive(Debug, Clone)]
pub struct Door {
    room: Arc<Room>,
    tasks: mpsc::Sender<BoxFuture<'static, ()>>,
}

impl Door {
    /// The same door for connections that come this way.
    #[must_use]
    pub fn of(&self, way: Way) -> Self {
        Self { room: Arc::new(self.room.of(way)), tasks: self.tasks.clone() }
    }

    /// A place for one connection more; `None`: the node is full.
    pub fn enter(&self) -> Option<Open> {
        let (open, metrics) = (self.room.take(), &self.room.context.metrics);
        let counter = if open.is_some() { &metrics.opened } else { &metrics.refused_connections };
        counter.increment(1);
        open
    }

    /// Has a connection served; once the node drains, it is dropped.
    pub async fn serve(&self, task: BoxFuture<'static, ()>) {
        self.tasks.send(task).await.ok();
    }
}

/// What comes through the doors.
#[derive(Debug)]
pub struct Arrivals {
    room: Arc<Room>,
    tasks: mpsc::Receiver<BoxFuture<'static, ()>>,
}

/// A node's doors, and where they lead.
pub fn doors(context: &Arc<Context>) -> (Door, Arrivals) {
    let room = Arc::new(Room { open: Arc::default(), way: Way::Tcp, context: context.clone() });
    let (sender, tasks) = mpsc::channel(ARRIVALS);
    (Door { room: room.clone(), tasks: sender }, Arrivals { room, tasks })
}

/// Accepts until `shutdown`; returns the connections still open. Capacity: `limits.connections`; one more is told so
/// and closed. With `tls`, every connection begins with a handshake.
pub async fn run(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    mut arrivals: Arrivals,
    context: Arc<Context>,
    shutdown: CancellationToken,
) -> JoinSet<()> {
    let room = arrivals.room.clone();
    let mut connections = JoinSet::new();
    let mut accepted_now = 0;
    loop {
        if accepted_now == AT_ONCE {
            accepted_now = 0;
            tokio::task::yield_now().await;
        }
        let result = tokio::select! {
            () = shutdown.cancelled() => return connections,
            Some(ended) = connections.join_next() => {
                reaped(&context, ended);
                continue;
            }
            Some(task) = arrivals.tasks.recv() => {
                connections.spawn(task);
                continue;
            }
            result = listener.accept() => result,
        };
        accepted_now += 1;
        let Some((stream, peer)) = accepted(result).await else { continue };
        let Some(open) = room.take() else {
            context.metrics.refused_connections.increment(1);
            refuse(&stream);
            continue;
        };
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%error, "a connection that is gone already");
            continue;
        }
        context.metrics.opened.increment(1);
        let (peer, context, shutdown) = (ip(peer), context.clone(), shutdown.clone());
        match tls.clone() {
            // A task of its own kind, so that connections without TLS carry nothing of it.
            Some(tls) => connections.spawn(secured(stream, tls, peer, context, shutdown, open)),
            None => connections.spawn(connection::run(stream, peer, context, shutdown, open)),
        };
    }
}

/// The connection that was accepted; where none could be, nothing, a moment later.
pub async fn accepted(result: io::Result<(TcpStream, SocketAddr)>) -> Option<(TcpStream, SocketAddr)> {
    match result {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(BREATHER).await;
            None
        }
    }
}

async fn secured(
    stream: TcpStream,
    tls: Arc<Tls>,
    peer: IpAddr,
    context: Arc<Context>,
    shutdown: CancellationToken,
    open: Open,
) {
    // Boxed, so that nothing of the handshake stays with the session.
    let shaking = async { tls.accept(stream, Port::Tcp, &unreadable()).await };
    let Some(shaken) = shutdown.run_until_cancelled(Box::pin(shaking)).await else {
        return context.metrics.closed("drain");
    };
    match shaken {
        Ok(stream) => connection::run(Secured::new(*stream), peer, context, shutdown, open).await,
        Err(refused) => context.metrics.closed(refused.closed()),
    }
}

/// What a client is told that speaks without TLS.
fn unreadable() -> Vec<u8> {
    let reason = "expected a TLS handshake on this port, found none; connect with TLS";
    refusal(&Refusal::new(Code::Malformed, reason))
}

/// Notes the end of a connection's task.
pub fn reaped(context: &Context, ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        context.metrics.panics.increment(1);
        tracing::error!(%error, "a session ended by a bug of this process; others go on");
    }
}

/// What a client's socket is to be.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    keepalive(stream)
}

/// Has a silent peer asked whether it is still there.
pub fn keepalive(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream)
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4))
}

fn refuse(stream: &TcpStream) {
    let reason =
        "expected a node with room for one more connection, found this one full; try another, or later";
    // A new socket's send buffer is empty, so this fits; whoever has gone already does not need it.
    stream.try_write(&refusal(&Refusal::new(Code::Unavailable, reason))).ok();
}

fn refusal(refusal: &Refusal) -> Vec<u8> {
    let (mut body, mut bytes) = (Vec::new(), Vec::new());
    write::refusal(refusal, &mut body);
    frame::write(Form::Text, &body, &mut bytes);
    bytes
}

/// The address alone, in its own family.
pub fn ip(peer: SocketAddr) -> IpAddr {
    peer.ip().to_canonical()
}

/// How many connections are open. One counter for all, since a permit of a semaphore would be twice as long in each; one room
/// a way, so that a connection need not carry its own.
#[derive(Debug)]
struct Room {
    open: Arc<AtomicUsize>,
    way: Way,
    context: Arc<Context>,
}

impl Room {
    /// One for connections of this way, with the same counter.
    fn of(&self, way: Way) -> Self {
        Self { open: self.open.clone(), way, context: self.context.clone() }
    }

    /// The figures that show them.
    fn gauges(&self) -> [&Gauge; 2] {
        let metrics = &self.context.metrics;
        [&metrics.connections, &metrics.ways[self.way as usize]]
    }

    /// A place for one connection more, if there is one.
    fn take(self: &Arc<Self>) -> Option<Open> {
        let limit = self.context.limits.connections;
        let more = |open| (open < limit).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        self.gauges().into_iter().for_each(|gauge| gauge.increment(1.0));
        Some(Open(self.clone()))
    }
}

/// Counts a connection as open until it is dropped, however its task ends.
#[derive(Debug)]
pub struct Open(Arc<Room>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.gauges().into_iter().for_each(|gauge| gauge.decrement(1.0));
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
