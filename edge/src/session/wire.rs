//! What a driver needs of a connection. TCP has it; TLS ([`crate::tls::wire`]) and WebSocket get theirs by the same trait.

use std::{
    future::{Future, poll_fn},
    io::{self, Read},
    task::{Context, Poll},
    time::Duration,
};

use shared::{command::Code, ids::TokenDigest};
use socket2::SockRef;
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::TcpStream,
};

use super::{dialect::Dialect, end::End};

/// A connection that holds no buffer of its own while nothing happens.
pub trait Wire: Send + Sync + 'static {
    /// Ready once there may be something to read. Polled, since a future for it would stay with every idle connection.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Reads what is there; 0 is the end, `WouldBlock` nothing yet.
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// The same; after a read that left room in the buffer the connection is readable only once something more has come.
    /// An end that was there behind the bytes counts as come later.
    fn try_read_once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_read(buffer)
    }
    /// Ready once there may be room to write.
    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Writes what fits; `WouldBlock` if nothing does: then the same bytes are offered again before any others, since what
    /// encrypts may have taken them already.
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// What its frames are written in.
    fn dialect(&self) -> Dialect {
        Dialect::Standard
    }
    /// The token that came with the connection itself, for a login without one.
    fn token(&self) -> Option<&TokenDigest> {
        None
    }
    /// What a login is told that has no token, nor the connection.
    fn without_token(&self) -> (Code, &'static str) {
        (Code::Invalid, "expected [r.user] token as a text; found nothing")
    }
    /// Why it is about to be shut, for who can say it.
    fn ends(&mut self, _: End) {}
    /// Says that nothing more will be written.
    fn shut(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

impl Wire for TcpStream {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(context)
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        TcpStream::try_read(self, buffer)
    }

    fn try_read_once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        // Told to be empty after a short read, the socket is not asked a second time: half of all reads would only find
        // that nothing is there. What comes between the two makes it readable again, since readiness is cleared only as
        // it was seen before the read.
        let emptied = self.try_io(Interest::READABLE, || {
            count = (&*SockRef::from(&*self)).read(buffer)?;
            let short = 0 < count && count < buffer.len();
            if short { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        if count > 0 { Ok(count) } else { emptied.map(|()| 0) }
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(context)
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TcpStream::try_write(self, bytes)
    }

    fn shut(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        self.shutdown()
    }
}

/// Writes as much as goes without waiting; returns how much went.
///
/// # Errors
/// The connection is gone.
pub fn write_now<W: Wire>(wire: &mut W, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match wire.try_write(&bytes[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

/// Writes all of it.
///
/// # Errors
/// The connection is gone, or got no further for `stall` (`TimedOut`).
pub async fn write_all<W: Wire>(wire: &mut W, mut bytes: &[u8], stall: Duration) -> io::Result<()> {
    loop {
        bytes = &bytes[write_now(wire, bytes)?..];
        if bytes.is_empty() {
            return Ok(());
        }
        let writable = poll_fn(|context| wire.poll_writable(context));
        tokio::time::timeout(stall, writable).await.map_err(|_| io::ErrorKind::TimedOut)??;
    }
}

/// Ends a connection so that what was written last arrives: closing a socket with unread bytes in it would make the
/// kernel throw that away.
pub async fn end<W: Wire>(wire: &mut W, patience: Duration) {
    let ending = async {
        wire.shut().await?;
        let mut scrap = [0_u8; 1024];
        loop {
            poll_fn(|context| wire.poll_readable(context)).await?;
            match wire.try_read(&mut scrap) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err::<(), io::Error>(error),
            }
        }
    };
    // A client that is gone, or that never stops talking, is not waited for.
    tokio::time::timeout(patience, ending).await.ok();
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn read(wire: &mut TcpStream, buffer: &mut [u8]) -> usize {
        loop {
            poll_fn(|context| wire.poll_readable(context)).await.unwrap();
            match wire.try_read_once(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read.unwrap(),
            }
        }
    }

    #[tokio::test]
    async fn after_a_read_that_left_room_more_makes_it_readable_again_and_so_does_an_end_that_was_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut wire, mut buffer) = (listener.accept().await.unwrap().0, [0; 8]);
        client.write_all(b"first").await.unwrap();
        assert_eq!(read(&mut wire, &mut buffer).await, 5);
        let waits = poll_fn(|context| Poll::Ready(wire.poll_readable(context).is_pending())).await;
        assert!(waits, "nobody asks an empty socket");
        client.write_all(b"more than fits").await.unwrap();
        drop(client);
        assert_eq!(read(&mut wire, &mut buffer).await, 8);
        assert_eq!(read(&mut wire, &mut buffer).await, 6);
        assert_eq!(read(&mut wire, &mut buffer).await, 0);
    }
}
