//! Accepts connections, within a limit.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use shared::{
    command::Code,
    frame::{self, Form},
    message::{Refusal, write},
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{context::Context, session::connection};

/// After the kernel has said that it has no descriptor or memory left.
const BREATHER: Duration = Duration::from_millis(100);
/// A silent peer is asked whether it is still there after this long, so that a lost one does not stay for ever.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Connections accepted before all that is there gets its turn: where thousands come at once, sessions that talk must not
/// wait behind all of them.
const AT_ONCE: usize = 16;

/// Accepts until `shutdown`; returns the connections still open. Capacity: `limits.connections`; one more is told so
/// and closed.
pub async fn run(listener: TcpListener, context: Arc<Context>, shutdown: CancellationToken) -> JoinSet<()> {
    let room = Arc::new(Room { open: AtomicUsize::new(0), context: context.clone() });
    let mut connections = JoinSet::new();
    let mut accepted_now = 0;
    loop {
        if accepted_now == AT_ONCE {
            accepted_now = 0;
            tokio::task::yield_now().await;
        }
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return connections,
            Some(ended) = connections.join_next() => {
                reaped(&context, ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        accepted_now += 1;
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BREATHER).await;
                continue;
            }
        };
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
        connections.spawn(connection::run(stream, ip(peer), context.clone(), shutdown.clone(), open));
    }
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

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream)
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4))
}

fn refuse(stream: &TcpStream) {
    let (mut body, mut bytes) = (Vec::new(), Vec::new());
    let reason =
        "expected a node with room for one more connection, found this one full; try another, or later";
    write::refusal(&Refusal::new(Code::Unavailable, reason), &mut body);
    frame::write(Form::Text, &body, &mut bytes);
    // A new socket's send buffer is empty, so this fits; whoever has gone already does not need it.
    stream.try_write(&bytes).ok();
}

fn ip(peer: SocketAddr) -> std::net::IpAddr {
    peer.ip().to_canonical()
}

/// How many connections are open. One counter for all, since a permit of a semaphore would be twice as long in each.
#[derive(Debug)]
struct Room {
    open: AtomicUsize,
    context: Arc<Context>,
}

impl Room {
    /// A place for one connection more, if there is one.
    fn take(self: &Arc<Self>) -> Option<Open> {
        // The listener alone adds, so nobody else takes what it has found free.
        if self.open.load(Ordering::Relaxed) >= self.context.limits.connections {
            return None;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        self.context.metrics.connections.increment(1.0);
        Some(Open(self.clone()))
    }
}

/// Counts a connection as open until it is dropped, however its task ends.
#[derive(Debug)]
struct Open(Arc<Room>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.context.metrics.connections.decrement(1.0);
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
