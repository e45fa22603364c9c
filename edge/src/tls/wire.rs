//! A session's connection over TLS. Holds no buffer of its own while nothing happens, beside what the library keeps.

use std::{
    io::{self, Read, Write},
    task::{Context, Poll},
};

use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{rustls::ServerConnection, server::TlsStream};

use crate::session::wire::Wire;

/// As much as one record holds, and less than the library buffers.
const RECORD: usize = 16 * 1024;

/// An encrypted connection after its handshake.
#[derive(Debug)]
pub struct Secured(Box<Inner>);

#[derive(Debug)]
struct Inner {
    tcp: TcpStream,
    tls: ServerConnection,
    /// Decrypted bytes may wait inside: the socket tells nothing of them.
    inside: bool,
    /// Bytes encrypted and not yet all taken by the socket. They are offered again, and are not taken twice.
    claimed: usize,
}

impl Secured {
    /// Goes on from a handshake.
    pub fn new(stream: TlsStream<TcpStream>) -> Self {
        let (tcp, tls) = stream.into_inner();
        // What came right behind the handshake has been read already.
        Self(Box::new(Inner { tcp, tls, inside: true, claimed: 0 }))
    }
}

impl Inner {
    /// Hands encrypted bytes to the socket until there are none.
    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut Socket(&self.tcp))? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// The same, where what does not go now may go with the next bytes.
    fn flush_some(&mut self) -> io::Result<()> {
        self.flush().or_else(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Ok(()),
            _ => Err(error),
        })
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Ended without a word, as many clients do. Nothing hangs on it: frames know their own length.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            self.tls.read_tls(&mut Socket(&self.tcp))?;
            if let Err(error) = self.tls.process_new_packets() {
                // The library has written down why; whether it arrives changes nothing.
                self.flush().ok();
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            self.flush_some()?;
        }
    }
}

impl Wire for Secured {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.inside { Poll::Ready(Ok(())) } else { self.0.tcp.poll_read_ready(context) }
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer);
        // A full buffer may have left some behind.
        self.0.inside = matches!(read, Ok(count) if count == buffer.len());
        read
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.tcp.poll_write_ready(context)
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let inner = &mut *self.0;
        if inner.claimed == 0 {
            inner.flush()?;
            inner.claimed = inner.tls.writer().write(&bytes[..bytes.len().min(RECORD)])?;
        }
        inner.flush()?;
        Ok(std::mem::take(&mut inner.claimed))
    }

    async fn shut(&mut self) -> io::Result<()> {
        let inner = &mut *self.0;
        inner.tls.send_close_notify();
        loop {
            match inner.flush() {
                Ok(()) => return inner.tcp.shutdown().await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => inner.tcp.writable().await?,
                Err(error) => return Err(error),
            }
        }
    }
}

/// The socket as the library wants it: what would wait is an error.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
