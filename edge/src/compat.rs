//! The listener for simple_im's original clients: what one read brings is taken as whole entries, and each frame goes out
//! in one write.
//!
//! They end a frame with nothing at all. Where TCP cuts one in two, both halves are refused as malformed: that is the risk
//! which `[edge] compat_listen` names.

use std::{
    io,
    sync::Arc,
    task::{Context as Task, Poll},
};

use shared::{
    frame::{self, Form},
    original,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    listener::{self, Door},
    session::{connection, dialect::Dialect, wire::Wire},
};

/// Accepts until `shutdown`. `greeting`: what is said to each before anything else; the last versions of those clients
/// wait for it.
pub async fn run(
    listener: TcpListener,
    door: Door,
    greeting: String,
    context: Arc<Context>,
    shutdown: CancellationToken,
) {
    loop {
        let result = tokio::select! {
            () = shutdown.cancelled() => return,
            result = listener.accept() => result,
        };
        let Some((stream, peer)) = listener::accepted(result).await else { continue };
        // They know no refusal before a login: one connection too many is closed.
        let Some(open) = door.enter() else { continue };
        if let Err(error) = listener::prepare(&stream) {
            tracing::debug!(%error, "a connection that is gone already");
            continue;
        }
        // A new socket's send buffer is empty, so this fits.
        if !greeting.is_empty() && stream.try_write(greeting.as_bytes()).is_err() {
            continue;
        }
        let (peer, context, shutdown) = (listener::ip(peer), context.clone(), shutdown.clone());
        door.serve(Box::pin(connection::run(Original::new(stream), peer, context, shutdown, open))).await;
    }
}

/// A connection of theirs, over any other. Between this and the session frames are counted.
#[derive(Debug)]
pub struct Original<W: Wire = TcpStream> {
    wire: W,
    /// Entries of a read, and how much of them has been handed on.
    inbox: (Vec<u8>, usize),
    /// How much of the frame at hand has been written.
    sent: usize,
}

impl<W: Wire> Original<W> {
    /// A new one.
    pub fn new(wire: W) -> Self {
        Self { wire, inbox: (Vec::new(), 0), sent: 0 }
    }

    fn rest(&mut self, buffer: &mut [u8]) -> usize {
        let (inbox, at) = &mut self.inbox;
        let count = buffer.len().min(inbox.len() - *at);
        buffer[..count].copy_from_slice(&inbox[*at..*at + count]);
        *at += count;
        if *at == inbox.len() {
            self.inbox = (Vec::new(), 0);
        }
        count
    }

    /// What one read brought, as counted frames. The buffer is where it was read to.
    fn entries(&mut self, read: &[u8]) {
        let mut inbox = Vec::with_capacity(read.len() + 16);
        original::split(read).for_each(|entry| frame::write(Form::Counted, entry, &mut inbox));
        self.inbox = (inbox, 0);
    }

    fn read(&mut self, buffer: &mut [u8], read: io::Result<usize>) -> io::Result<usize> {
        match read? {
            0 => Ok(0),
            count => {
                self.entries(&buffer[..count]);
                match self.rest(buffer) {
                    // Blanks alone: they are answered by nothing, since nothing is what those clients can read.
                    0 => Err(io::ErrorKind::WouldBlock.into()),
                    count => Ok(count),
                }
            }
        }
    }
}

impl<W: Wire> Wire for Original<W> {
    fn poll_readable(&self, context: &mut Task<'_>) -> Poll<io::Result<()>> {
        if self.inbox.0.is_empty() { self.wire.poll_readable(context) } else { Poll::Ready(Ok(())) }
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.inbox.0.is_empty() {
            return Ok(self.rest(buffer));
        }
        let read = self.wire.try_read(buffer);
        self.read(buffer, read)
    }

    fn poll_writable(&self, context: &mut Task<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_writable(context)
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (body, end) = frame::first_counted(bytes).ok_or(io::ErrorKind::InvalidData)?;
        while self.sent < body.len() {
            match self.wire.try_write(&body[self.sent..])? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => self.sent += count,
            }
        }
        self.sent = 0;
        Ok(end)
    }

    fn dialect(&self) -> Dialect {
        Dialect::Original
    }

    async fn shut(&mut self) -> io::Result<()> {
        self.wire.shut().await
    }
}
