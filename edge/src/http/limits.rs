//! What one HTTP connection and all of them together may use.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use shared::telemetry::Metric;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep},
};

use crate::tls::{Tls, http::Stream};

/// The limits of the HTTP side.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest body, bytes.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
    /// The most connections at once. Further ones wait in the kernel's queue; `im_edge_http_connections` shows it.
    pub connections: usize,
    /// A connection on which nothing was read or written for so long is closed. Longer than the calls' deadline.
    pub idle: Duration,
    /// How long calls under way may take to finish at the end.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 65_536,
            body_time: Duration::from_secs(10),
            connections: 4096,
            idle: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

/// A listener whose connections are counted and do not idle for ever.
pub struct Bounded {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    idle: Duration,
    tls: Option<Arc<Tls>>,
}

impl Bounded {
    /// Takes connections from `listener` while there is a place, over TLS if there is one; an idle one ends.
    pub fn new(
        listener: TcpListener,
        permits: Arc<Semaphore>,
        idle: Duration,
        tls: Option<Arc<Tls>>,
    ) -> Self {
        Self { listener, permits, idle, tls }
    }
}

impl Listener for Bounded {
    type Io = Guarded;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guarded, SocketAddr) {
        // The permit goes first, so that what waits does so in the kernel, at no cost to this process.
        let permit = loop {
            if let Ok(permit) = self.permits.clone().acquire_owned().await {
                break permit;
            }
        };
        let (stream, peer) = <TcpListener as Listener>::accept(&mut self.listener).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection that is gone already");
        }
        let place = Place::new(permit);
        let deadline = Box::pin(tokio::time::sleep(self.idle));
        let stream = Stream::new(stream, self.tls.as_ref());
        (Guarded { stream, idle: self.idle, deadline, _place: place }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// The address on the other end of the socket.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// A connection that gives its place back when it ends, and ends when nothing happens on it.
pub struct Guarded {
    stream: Stream,
    idle: Duration,
    deadline: Pin<Box<Sleep>>,
    _place: Place,
}

/// A connection's place among all.
struct Place(#[expect(dead_code, reason = "given back when it is dropped")] OwnedSemaphorePermit);

impl Place {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        Metric::EdgeHttpConnections.gauge(&[]).increment(1);
        Self(permit)
    }
}

impl Guarded {
    /// The connection alone: it is none of HTTP's any more.
    pub fn into_inner(self) -> Stream {
        self.stream
    }

    fn alive(&mut self) {
        self.deadline.as_mut().reset(Instant::now() + self.idle);
    }

    /// Pending until the deadline, then an error: both directions wait on the one clock.
    fn expired<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was read or written for too long")))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        Metric::EdgeHttpConnections.gauge(&[]).decrement(1);
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(result) => {
                self.alive();
                Poll::Ready(result)
            }
            Poll::Pending => self.expired(cx),
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, buf) {
            Poll::Ready(result) => {
                self.alive();
                Poll::Ready(result)
            }
            Poll::Pending => self.expired(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(cx, bufs) {
            Poll::Ready(result) => {
                self.alive();
                Poll::Ready(result)
            }
            Poll::Pending => self.expired(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
