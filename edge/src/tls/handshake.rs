//! From an accepted connection to an encrypted one. Each waits in its own task, so that whoever says nothing holds up
//! nobody; nobody takes a place among the handshakes before it has said something.

use std::{io, time::Duration};

use shared::telemetry::{self, Metric};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Port, Tls};

/// The first byte of every handshake: a record of type 22.
const HANDSHAKE: u8 = 22;
/// How long one who spoke without TLS may take to read that it should.
const FAREWELL: Duration = Duration::from_millis(500);

/// Why there is no encrypted connection.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It ended before it said anything, as a balancer's look does.
    #[error("closed before it said anything")]
    Gone,
    /// What came is no handshake.
    #[error("expected TLS, found something else")]
    Plaintext,
    /// It took too long.
    #[error("expected a handshake in time, found none")]
    Late,
    /// The two cannot agree, or the connection broke.
    #[error("{0}")]
    Failed(#[source] io::Error),
}

impl Refused {
    /// The metric's label.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Plaintext => "plaintext",
            Self::Late => "timeout",
            Self::Failed(_) => "failed",
        }
    }

    /// The label among the reasons for which connections have closed.
    pub fn closed(&self) -> &'static str {
        match self {
            Self::Gone => "clean",
            Self::Plaintext => "tls_plaintext",
            Self::Late => "tls_timeout",
            Self::Failed(_) => "tls_failed",
        }
    }
}

impl Tls {
    /// Carries the handshake out within `tls.handshake_seconds`, waiting included. `farewell` is what one who speaks
    /// without TLS is told before the connection ends.
    ///
    /// # Errors
    /// [`Refused`], counted; the connection has ended.
    pub async fn accept(
        &self,
        tcp: TcpStream,
        port: Port,
        farewell: &[u8],
    ) -> Result<Box<TlsStream<TcpStream>>, Refused> {
        let (began, deadline) = (Instant::now(), Instant::now() + self.patience);
        let result = match timeout_at(deadline, first_byte(&tcp)).await {
            Err(_) => Err(Refused::Late),
            Ok(Err(refused)) => Err(refused),
            Ok(Ok(HANDSHAKE)) => {
                timeout_at(deadline, self.shake(tcp, port)).await.unwrap_or(Err(Refused::Late))
            }
            Ok(Ok(_)) => {
                dismiss(tcp, farewell).await;
                Err(Refused::Plaintext)
            }
        };
        let label = match &result {
            Ok(_) => {
                telemetry::observe(Metric::EdgeTlsHandshakeSeconds, &[], began.elapsed().as_secs_f64());
                "ok"
            }
            Err(refused) => {
                tracing::debug!(%refused, ?port, "no TLS");
                refused.as_str()
            }
        };
        telemetry::count(Metric::EdgeTlsHandshakes, &[("result", label)], 1);
        result
    }

    async fn shake(&self, tcp: TcpStream, port: Port) -> Result<Box<TlsStream<TcpStream>>, Refused> {
        // Never closed, so there always is one in the end.
        let _place = self.places.acquire().await.map_err(|error| Refused::Failed(io::Error::other(error)))?;
        let _counted = UnderWay::new();
        // Asked for only now: the certificate may have changed while this one waited.
        let acceptor = TlsAcceptor::from(self.serving(port));
        acceptor.accept(tcp).await.map(Box::new).map_err(Refused::Failed)
    }
}

async fn first_byte(tcp: &TcpStream) -> Result<u8, Refused> {
    let mut first = [0];
    match tcp.peek(&mut first).await {
        Ok(0) => Err(Refused::Gone),
        Ok(_) => Ok(first[0]),
        Err(error) => Err(Refused::Failed(error)),
    }
}

/// Tells it why, and closes so that it arrives: with unread bytes in the socket the kernel would throw it away.
async fn dismiss(mut tcp: TcpStream, farewell: &[u8]) {
    let ending = async {
        tcp.write_all(farewell).await?;
        tcp.shutdown().await?;
        let mut scrap = [0; 1024];
        while tokio::io::AsyncReadExt::read(&mut tcp, &mut scrap).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    // One that is gone, or never stops talking, is not waited for.
    timeout(FAREWELL, ending).await.ok();
}

/// Counts a handshake as under way until it is dropped, however it ends.
struct UnderWay;

impl UnderWay {
    fn new() -> Self {
        Metric::EdgeTlsHandshaking.gauge(&[]).increment(1);
        Self
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        Metric::EdgeTlsHandshaking.gauge(&[]).decrement(1);
    }
}
