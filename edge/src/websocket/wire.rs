//! WebSocket messages as a session's counted frames, and back. Works over any other [`Wire`].

use std::{
    borrow::Cow,
    future::poll_fn,
    io::{self, Read, Write},
    task::{Context, Poll},
};

use bytes::Bytes;
use shared::{command::Code, frame, ids::TokenDigest};
use tungstenite::{
    Error, Message,
    error::CapacityError,
    protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
};

use super::handshake::Shaken;
use crate::{
    outbox::Close,
    session::{dialect::Dialect, end::End, wire::Wire},
};

/// What is read from the socket at a time, and kept by an idle connection, bytes.
const READ: usize = 1024;
/// Frames that go to the socket together, bytes.
const WRITE: usize = 16 * 1024;
/// Pings and pongs taken in one go, before others get their turn.
const CONTROLS: usize = 16;

/// A WebSocket connection after its handshake.
pub struct WebSocket<W: Wire>(Box<Inner<W>>);

struct Inner<W: Wire> {
    socket: tungstenite::WebSocket<Link<W>>,
    dialect: Dialect,
    token: Option<TokenDigest>,
    /// A message as a counted frame, and how much of it has been read.
    frame: (Vec<u8>, usize),
    /// There may be messages that have been read from the socket: it tells nothing of them.
    inside: bool,
    /// Bytes of the session's that stand in the library's buffer and are not yet all taken by the socket. They are
    /// offered again, and are not taken twice.
    claimed: usize,
    close: CloseCode,
    /// A message over the limit came: what follows is no longer looked at.
    deaf: bool,
}

impl<W: Wire> WebSocket<W> {
    /// Goes on from a handshake, with what was read behind it. `limit`: the longest message, bytes.
    pub fn new(wire: W, read: &Bytes, shaken: Shaken, limit: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(usize::MAX >> 1)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        let socket = tungstenite::WebSocket::from_partially_read(
            Link(wire),
            read.to_vec(),
            Role::Server,
            Some(config),
        );
        let Shaken { dialect, token, .. } = shaken;
        let frame = (Vec::new(), 0);
        let close = CloseCode::Normal;
        Self(Box::new(Inner { socket, dialect, token, frame, inside: true, claimed: 0, close, deaf: false }))
    }
}

#[cfg(test)]
impl<W: Wire> WebSocket<W> {
    /// The connection below.
    pub fn into_wire(self) -> W {
        self.0.socket.into_inner().0
    }
}

impl<W: Wire> Inner<W> {
    /// Reads frames until the buffer is full or nothing is there.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.deaf && self.frame.0.is_empty() {
            self.inside = false;
            return self.socket.get_mut().0.try_read(buffer);
        }
        let (mut filled, mut controls) = (0, 0);
        self.inside = true;
        loop {
            filled += self.rest(&mut buffer[filled..]);
            if filled == buffer.len() || controls == CONTROLS || self.deaf {
                break;
            }
            let read = self.socket.read();
            match read {
                Ok(Message::Text(text)) => self.take(text.as_ref()),
                // Some libraries send text so. It has to be UTF-8 like any frame.
                Ok(Message::Binary(bytes)) => self.take(&bytes),
                Ok(_) => controls += 1,
                Err(error) => match self.failed(error) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.inside = false;
                        break;
                    }
                    // What came before it first; it is found again.
                    Err(_) if filled > 0 => break,
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                    Err(error) => return Err(error),
                },
            }
        }
        if filled == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(filled) }
    }

    /// Hands on what is left of a frame.
    fn rest(&mut self, buffer: &mut [u8]) -> usize {
        let (frame, read) = &mut self.frame;
        let count = buffer.len().min(frame.len() - *read);
        buffer[..count].copy_from_slice(&frame[*read..*read + count]);
        *read += count;
        if *read == frame.len() {
            self.frame = (Vec::new(), 0);
        }
        count
    }

    fn take(&mut self, message: &[u8]) {
        let empty = message.trim_ascii().is_empty()
            || self.dialect == Dialect::Json && matches!(message.trim_ascii(), b"{}");
        let mut frame = Vec::new();
        if empty {
            frame::write_heartbeat(frame::Form::Counted, &mut frame);
        } else {
            frame::write(frame::Form::Counted, message, &mut frame);
        }
        self.frame = (frame, 0);
    }

    /// What becomes of a failed read: nothing, the connection's end (`UnexpectedEof`), or its failure.
    fn failed(&mut self, error: Error) -> io::Result<()> {
        match error {
            Error::Io(error) => Err(error),
            Error::ConnectionClosed | Error::AlreadyClosed => Err(io::ErrorKind::UnexpectedEof.into()),
            Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            // Its length alone tells the session, which refuses it as it does over TCP, and ends.
            Error::Capacity(CapacityError::MessageTooLong { size, .. }) => {
                (self.close, self.deaf) = (CloseCode::Size, true);
                self.frame = (format!("#{size}\n").into_bytes(), 0);
                Ok(())
            }
            error => {
                let code =
                    if matches!(error, Error::Utf8(_)) { CloseCode::Invalid } else { CloseCode::Protocol };
                self.socket.close(Some(CloseFrame { code, reason: "".into() })).ok();
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }

    /// Turns counted frames into messages; returns how many bytes they were.
    fn compose(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut at = 0;
        while at < bytes.len() && at < WRITE {
            let (body, end) = frame::first_counted(&bytes[at..]).ok_or(io::ErrorKind::InvalidData)?;
            let text = match (body, self.dialect) {
                (b"", Dialect::Json) => "{}".into(),
                (body, _) => String::from_utf8_lossy(body),
            };
            self.socket.write(Message::text(Cow::into_owned(text))).map_err(written)?;
            at += end;
        }
        Ok(at)
    }
}

impl<W: Wire> Wire for WebSocket<W> {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.inside { Poll::Ready(Ok(())) } else { self.0.socket.get_ref().0.poll_readable(context) }
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.socket.get_ref().0.poll_writable(context)
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let inner = &mut *self.0;
        if inner.claimed == 0 {
            inner.socket.flush().map_err(written)?;
            inner.claimed = inner.compose(bytes)?;
        }
        inner.socket.flush().map_err(written)?;
        Ok(std::mem::take(&mut inner.claimed))
    }

    fn dialect(&self) -> Dialect {
        self.0.dialect
    }

    fn token(&self) -> Option<&TokenDigest> {
        self.0.token.as_ref()
    }

    fn without_token(&self) -> (Code, &'static str) {
        (
            Code::Token,
            "token error: expected [r.user] token as a text, or the cookie of a login; found neither",
        )
    }

    fn ends(&mut self, end: End) {
        if self.0.close == CloseCode::Normal {
            self.0.close = code(end);
        }
    }

    async fn shut(&mut self) -> io::Result<()> {
        let inner = &mut *self.0;
        let mut closing = inner.socket.close(Some(CloseFrame { code: inner.close, reason: "".into() }));
        loop {
            match closing.map_err(written) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|context| inner.socket.get_ref().0.poll_writable(context)).await?;
                    closing = inner.socket.flush();
                }
                closed => return closed,
            }
        }
    }
}

/// What a client is told by its end; 4000 and above are this system's own.
fn code(end: End) -> CloseCode {
    match end {
        End::Clean | End::MidFrame | End::Reset => CloseCode::Normal,
        End::LoginDeadline => CloseCode::Library(4003),
        End::Idle => CloseCode::Library(4004),
        End::WriteStalled => CloseCode::Again,
        End::BadStream => CloseCode::Protocol,
        End::Closed(Close::Replaced) => CloseCode::Library(4001),
        End::Closed(Close::Revoked) => CloseCode::Library(4002),
        End::Closed(Close::Drain | Close::Kicked) => CloseCode::Away,
        End::Closed(Close::Wiped) => CloseCode::Restart,
    }
}

fn written(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::new(io::ErrorKind::BrokenPipe, error),
    }
}

/// The connection below as the library wants it: what would wait is an error.
struct Link<W>(W);

impl<W: Wire> Read for Link<W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl<W: Wire> Write for Link<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
