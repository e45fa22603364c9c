//! One bare TCP or TLS connection with counted frames: no retries, no acknowledgements, every frame as it came.

use std::{collections::VecDeque, io, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::{
    compose,
    handle::Refused,
    incoming::{self, Incoming},
    stream::Stream,
    wire::Cutter,
};
use crate::{
    command::RequestName,
    ids::{Device, UserId},
    tls,
};

/// Frames kept that came before the answer to a login; a server sends none or few.
const EARLY: usize = 1000;

/// A connection. What waits does so for at most its patience (10 s unless [`Connection::set_patience`] says otherwise)
/// and then fails with [`io::ErrorKind::TimedOut`].
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    cutter: Cutter,
    /// What came before the answer to a login.
    early: VecDeque<Bytes>,
    patience: Duration,
}

impl Connection {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// What the network said, or that it took too long.
    pub async fn connect(server: &str) -> io::Result<Self> {
        Self::connect_within(server, None, Duration::from_secs(10)).await
    }

    /// The same with another patience, from the start, and over TLS where `tls` says whom to trust.
    ///
    /// # Errors
    /// What the network or the handshake said, or that it took too long.
    pub async fn connect_within(
        server: &str,
        tls: Option<&tls::Client>,
        patience: Duration,
    ) -> io::Result<Self> {
        let stream = in_time(patience, "a connection", Stream::connect(server, tls)).await?;
        Ok(Self { stream, cutter: Cutter::default(), early: VecDeque::new(), patience })
    }

    /// How long to wait for a frame or a write.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Sends TOML as one counted frame.
    ///
    /// # Errors
    /// What the network said.
    pub async fn send_frame(&mut self, toml: &str) -> io::Result<()> {
        self.send_bytes(&compose::counted(toml.as_bytes())).await
    }

    /// Sends a heartbeat; the answer comes as an empty frame.
    ///
    /// # Errors
    /// What the network said.
    pub async fn send_heartbeat(&mut self) -> io::Result<()> {
        self.send_bytes(b"#0\n").await
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// What the network said.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        in_time(self.patience, "a write", async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await
    }

    /// The next frame's TOML, empty for a heartbeat; `None` once the server has closed.
    ///
    /// # Errors
    /// What the network said, that nothing came in time, or that what came is not counted frames.
    pub async fn next_frame(&mut self) -> io::Result<Option<String>> {
        match self.next_bytes().await? {
            None => Ok(None),
            Some(frame) => String::from_utf8(frame.into()).map(Some).map_err(io::Error::other),
        }
    }

    /// The next frame's bytes, as [`Self::next_frame`].
    ///
    /// # Errors
    /// As [`Self::next_frame`].
    pub async fn next_bytes(&mut self) -> io::Result<Option<Bytes>> {
        match self.early.pop_front() {
            Some(frame) => Ok(Some(frame)),
            None => self.fresh().await,
        }
    }

    async fn fresh(&mut self) -> io::Result<Option<Bytes>> {
        in_time(self.patience, "a frame", async {
            loop {
                if let Some(frame) = self.cutter.next().map_err(io::Error::other)? {
                    return Ok(Some(frame));
                }
                if self.stream.read_buf(&mut self.cutter.buffer).await? == 0 {
                    return Ok(None);
                }
            }
        })
        .await
    }

    /// Logs in and waits for the answer, keeping what comes before it for [`Self::next_frame`].
    ///
    /// # Errors
    /// What the network said; the inner error: that it was refused.
    pub async fn login(
        &mut self,
        user: UserId,
        device: &Device,
        token: &str,
    ) -> io::Result<Result<(), Refused>> {
        self.login_as(RequestName::Login, user, device, token).await
    }

    pub(super) async fn login_as(
        &mut self,
        name: RequestName,
        user: UserId,
        device: &Device,
        token: &str,
    ) -> io::Result<Result<(), Refused>> {
        const ID: &str = "login";
        self.send_bytes(&compose::counted(&compose::login(name, ID, user, device, token))).await?;
        while self.early.len() < EARLY {
            let Some(frame) = self.fresh().await? else {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "closed before the login was answered",
                ));
            };
            match incoming::parse(&frame).as_slice() {
                [Incoming::Success { id, .. }] if id == ID => return Ok(Ok(())),
                [Incoming::Refused(refused)] if refused.id == ID || refused.id.is_empty() => {
                    return Ok(Err(refused.clone()));
                }
                _ => self.early.push_back(frame),
            }
        }
        Err(io::Error::other(format!("expected the login's answer within {EARLY} frames, found others")))
    }

    /// Where a node that is about to end has sent this connection before its login, and after how many milliseconds.
    pub(super) fn sent_on(&self) -> Option<(Option<String>, u64)> {
        self.early.iter().flat_map(incoming::parse).find_map(|entry| match entry {
            Incoming::Move { server, after } => Some((server, after)),
            _ => None,
        })
    }

    pub(super) fn into_parts(self) -> (Stream, Cutter, VecDeque<Bytes>) {
        (self.stream, self.cutter, self.early)
    }
}

async fn in_time<T>(
    patience: Duration,
    what: &str,
    future: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(patience, future).await.unwrap_or_else(|_| {
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("expected {what} within {patience:?}, found nothing"),
        ))
    })
}
