//! A bare connection, logged in: bytes out, and what matters of the frames in. It keeps nothing.

use std::{io, time::Duration};

use shared::frame::{Decoder, Frame};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpSocket,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

use super::Seat;
use crate::load::bare::write::login;

/// How long a login may take: the stack is under more load than it can bear.
const PATIENCE: Duration = Duration::from_secs(60);
/// The receive buffer of a connection that is to show soon that it is not read, bytes.
const NARROW: u32 = 32 * 1024;
/// The longest frame that a server writes.
const LIMIT: usize = 4 << 20;

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub enum Got {
    /// `[[a]] lvl = "stored"`.
    Stored {
        /// The message.
        id: u64,
        /// Its place.
        seq: u64,
    },
    /// `[[m]]`.
    Delivery {
        /// The sender's id for it, which is a number.
        id: u64,
        /// Its place.
        seq: u64,
    },
    /// `[[rr]] s = 1`.
    Refused {
        /// The message, where it is one.
        id: Option<u64>,
        /// The whole frame.
        frame: String,
    },
    /// `[[rr]] s = 0`: the login's answer.
    Done,
    /// Nothing that matters.
    Other,
}

/// The reading side.
#[derive(Debug)]
pub struct Input {
    socket: OwnedReadHalf,
    decoder: Decoder,
    chunk: Box<[u8]>,
}

/// Connects and logs in.
///
/// # Errors
/// What the network said, or that the login was refused.
pub async fn open(seat: &Seat, narrow: bool) -> io::Result<(Input, OwnedWriteHalf)> {
    let connected = async {
        let address = seat.edge;
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if narrow {
            socket.set_recv_buffer_size(NARROW)?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        let (socket, mut output) = stream.into_split();
        let mut input = Input { socket, decoder: Decoder::new(LIMIT), chunk: vec![0; 16 * 1024].into() };
        output.write_all(&login(seat.person.user, &seat.person.token)).await?;
        // Deliveries come after the answer: its frame comes alone.
        let mut answer = Vec::new();
        while answer.is_empty() {
            input.some(&mut answer).await?;
        }
        match answer.first() {
            Some(Got::Done) => Ok((input, output)),
            other => Err(io::Error::other(format!("expected the login's success, found {other:?}"))),
        }
    };
    let late = || io::Error::new(io::ErrorKind::TimedOut, "expected the login's answer, found none in time");
    timeout(PATIENCE, connected).await.map_err(|_| late())?
}

impl Input {
    /// Reads once, and adds what came. May be dropped while it waits.
    ///
    /// # Errors
    /// What the network said, that the server has closed, or that what came is no frame.
    pub async fn some(&mut self, into: &mut Vec<Got>) -> io::Result<()> {
        let count = self.socket.read(&mut self.chunk).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.decoder.feed(&self.chunk[..count]);
        while let Some(frame) = self.decoder.next().map_err(io::Error::other)? {
            if let Frame::Toml(toml) = frame {
                into.push(read(&toml));
            }
        }
        Ok(())
    }
}

/// Servers write one entry a frame, one pair a line, the entry's own before its sub-tables'.
fn read(toml: &[u8]) -> Got {
    let text = String::from_utf8_lossy(toml);
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
    let number = |key: &str| value(key).and_then(|value| value.trim_matches('"').parse::<u64>().ok());
    match (text.lines().next(), value("lvl"), number("id"), number("seq"), number("s")) {
        (Some("[[a]]"), Some("\"stored\""), Some(id), Some(seq), _) => Got::Stored { id, seq },
        (Some("[[m]]"), _, Some(id), Some(seq), _) => Got::Delivery { id, seq },
        (Some("[[rr]]"), _, _, _, Some(0)) => Got::Done,
        (Some("[[rr]]"), _, id, ..) => Got::Refused { id, frame: text.into_owned() },
        _ => Got::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_as_servers_write_them() {
        let delivery = "[[m]]\nid = \"17\"\nc = \"x\"\nts = 1\nseq = 18\n[m.to]\nid = 3\n[m.from]\nid = 1\ndevice = \"load\"\n";
        assert_eq!(read(delivery.as_bytes()), Got::Delivery { id: 17, seq: 18 });
        let stored = "[[a]]\nid = \"17\"\nlvl = \"stored\"\nts = 1\nseq = 18\n";
        assert_eq!(read(stored.as_bytes()), Got::Stored { id: 17, seq: 18 });
        assert_eq!(read(b"[[rr]]\nid = \"login\"\nt = \"login\"\ns = 0\n"), Got::Done);
        let refused = "[[rr]]\nid = \"17\"\nt = \"\"\ns = 1\nr = \"no\"\ncode = \"blocked\"\n";
        assert_eq!(read(refused.as_bytes()), Got::Refused { id: Some(17), frame: refused.to_owned() });
        assert_eq!(read(b"[[n]]\nt = \"move\"\n"), Got::Other);
    }
}
