//! An HTTP connection that may be over TLS. Its handshake is part of its first read: accepting never waits for it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::{FutureExt, future::BoxFuture};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::{Port, Tls, handshake::Refused};

/// What one who speaks HTTP to this port is told.
const FAREWELL: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\
    content-length: 38\r\n\r\nexpected HTTPS on this port, not HTTP\n";

/// A connection.
pub enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// Its handshake is under way.
    Shaking(BoxFuture<'static, Result<Box<TlsStream<TcpStream>>, Refused>>),
    /// Encrypted.
    Secured(Box<TlsStream<TcpStream>>),
    /// Its handshake has failed.
    Refused,
}

impl Stream {
    /// Over TLS, where there is one.
    pub fn new(tcp: TcpStream, tls: Option<&Arc<Tls>>) -> Self {
        let Some(tls) = tls.cloned() else { return Self::Plain(tcp) };
        Self::Shaking(async move { tls.accept(tcp, Port::Http, FAREWELL).await }.boxed())
    }

    /// The socket; `None` while its handshake is under way, or after it has failed.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(tcp) => Some(tcp),
            Self::Secured(stream) => Some(stream.get_ref().0),
            Self::Shaking(_) | Self::Refused => None,
        }
    }

    fn poll_shaken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Self::Shaking(handshake) = self {
            let shaken = ready!(handshake.as_mut().poll(cx));
            match shaken {
                Ok(stream) => *self = Self::Secured(stream),
                Err(refused) => {
                    *self = Self::Refused;
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, refused)));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn shaken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut dyn Both>>> {
        ready!(self.poll_shaken(cx))?;
        Poll::Ready(match self {
            Self::Plain(stream) => Ok(Pin::new(stream)),
            Self::Secured(stream) => Ok(Pin::new(&mut **stream)),
            Self::Shaking(_) | Self::Refused => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

trait Both: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Both for T {}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.get_mut().shaken(cx))?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.get_mut().shaken(cx))?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.get_mut().shaken(cx))?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.get_mut().shaken(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // Given up: there is nobody to say goodbye to yet.
            Self::Shaking(_) | Self::Refused => Poll::Ready(Ok(())),
            other => ready!(other.shaken(cx))?.poll_shutdown(cx),
        }
    }
}
