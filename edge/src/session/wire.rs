//! What a driver needs of a connection. TCP has it; TLS and WebSocket get theirs by the same trait.

use std::{
    future::{Future, poll_fn},
    io,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{io::AsyncWriteExt, net::TcpStream};

/// A connection that holds no buffer of its own while nothing happens.
pub trait Wire: Send + Sync + 'static {
    /// Ready once there may be something to read. Polled, since a future for it would stay with every idle connection.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Reads what is there; 0 is the end, `WouldBlock` nothing yet.
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Until there may be room to write.
    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// Writes what fits; `WouldBlock` if nothing does.
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize>;
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

    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send {
        TcpStream::writable(self)
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
        tokio::time::timeout(stall, wire.writable()).await.map_err(|_| io::ErrorKind::TimedOut)??;
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
