//! The connection to NATS: kept up for ever, and whoever needs to know is told when it was lost and when it is back.

use std::{io, sync::atomic::Ordering, time::Duration};

use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ReconnectToServer, ServerAddr,
};
use shared::nats::Door;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Broker {
    client: Client,
    link: watch::Receiver<Link>,
    door: Door,
    name: String,
}

/// How the connection has fared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether it stands now.
    pub up: bool,
    /// How often it was lost.
    pub lost: u64,
    /// How often a message found its subscription's queue full and was dropped.
    pub dropped: u64,
}

/// What has cost deliveries so far. Known before anything that came after a loss: the event behind a [`Link`] takes its
/// own way and may come later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// How often the connection was made again. The first one costs nothing: before it nobody knew of this node.
    pub reconnects: u64,
    /// How often a full subscription's queue dropped a message; thousands that are in it come before the next one.
    pub dropped: u64,
}

/// Commands that wait while NATS is away; when full, senders wait. Small, since a batch can be 256 KiB.
const COMMANDS: usize = 256;
/// Messages that wait for a subscription's reader; beyond them messages are dropped and [`Link::dropped`] counts.
const MESSAGES: usize = 4096;

impl Broker {
    /// Connects through `door`, at once or as soon as there is somebody there.
    ///
    /// # Errors
    /// A certificate or key cannot be used.
    pub async fn connect(door: Door, name: &str) -> Result<Self, async_nats::ConnectError> {
        let (told, link) = watch::channel(Link::default());
        let client = options(&door, name)
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(|tries| {
                Duration::from_millis(u64::try_from(tries).unwrap_or(u64::MAX).saturating_mul(20).min(1000))
            })
            .event_callback(move |event| {
                told.send_modify(|link| link.note(&event));
                async {}
            })
            .connect(door.server().clone())
            .await?;
        Ok(Self { client, link, door, name: name.to_owned() })
    }

    /// One further connection, to where this one leads. It is never made again, and what was sent over it reaches the
    /// server that it was made to, or nobody.
    ///
    /// # Errors
    /// There is nobody, or the server does not want it.
    pub async fn once(&self) -> Result<Once, ConnectError> {
        Once::connect(&self.door, &format!("{} publisher", self.name)).await
    }

    /// The client itself.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether nobody logs in at this broker.
    pub fn is_open(&self) -> bool {
        self.door.is_open()
    }

    /// How the connection has fared, now and whenever that changes.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// What has cost deliveries so far.
    pub fn losses(&self) -> Losses {
        let connects = self.client.statistics().connects.load(Ordering::Relaxed);
        Losses { reconnects: connects.saturating_sub(1), dropped: self.link.borrow().dropped }
    }
}

fn options(door: &Door, name: &str) -> ConnectOptions {
    door.options()
        .name(name)
        .connection_timeout(Duration::from_secs(5))
        .ping_interval(Duration::from_secs(5))
        .client_capacity(COMMANDS)
        .subscription_capacity(MESSAGES)
}

/// One connection and no other. A client that connects again by itself sends what waited in it to whoever answers then;
/// this one has an end.
#[derive(Debug, Clone)]
pub struct Once {
    client: Client,
    lost: CancellationToken,
}

/// Where nobody listens. The client knows no way to connect once alone, so it is sent here to fail.
const NOWHERE: &str = "nats://127.0.0.1:0";

impl Once {
    async fn connect(door: &Door, name: &str) -> Result<Self, ConnectError> {
        let address = |url: &str| {
            url.parse::<ServerAddr>()
                .map_err(|error: io::Error| ConnectError::with_source(ConnectErrorKind::ServerParse, error))
        };
        let (server, nowhere) = (door.server().clone(), address(NOWHERE)?);
        let lost = CancellationToken::new();
        let told = lost.clone();
        let servers = [server.clone(), nowhere.clone()];
        let client = options(door, name)
            // One try after a loss, which is the fewest that can be asked for.
            .max_reconnects(1)
            .reconnect_to_server_callback(move |pool, _| {
                let connected = pool.iter().any(|server| server.did_connect);
                let addr = if connected { nowhere.clone() } else { server.clone() };
                async move { Some(ReconnectToServer { addr, delay: Some(Duration::ZERO) }) }
            })
            .event_callback(move |event| {
                if matches!(event, Event::Disconnected | Event::Closed) {
                    told.cancel();
                }
                async {}
            })
            .connect(&servers[..])
            .await?;
        Ok(Self { client, lost })
    }

    /// The client itself.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether its loss has been noticed.
    pub fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Until its loss has been noticed.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Link {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Connected => {
                self.up = true;
                tracing::info!(lost_before = self.lost, "connected to NATS");
            }
            Event::Disconnected => {
                if self.up {
                    tracing::warn!(%event, "NATS is away; trying again until it is back");
                }
                self.up = false;
                self.lost += 1;
            }
            Event::SlowConsumer(_) => {
                self.dropped += 1;
                tracing::warn!("messages from NATS were dropped: this node does not keep up");
            }
            // A permission that is missing, above all.
            Event::ServerError(_) => tracing::warn!(%event, "NATS refuses something"),
            Event::ClientError(_) => tracing::debug!(%event, "NATS"),
            // The end of this process's own client.
            Event::Closed => self.up = false,
            Event::LameDuckMode | Event::Draining => tracing::info!(%event, "NATS"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// As much of a NATS server as a client needs to connect; what it reads next, line by line.
    async fn greet(listener: &TcpListener) -> BufReader<TcpStream> {
        let (mut socket, _) = listener.accept().await.unwrap();
        let info =
            "INFO {\"server_id\":\"a\",\"version\":\"2.10.0\",\"max_payload\":1048576,\"headers\":true}\r\n";
        socket.write_all(info.as_bytes()).await.unwrap();
        let mut socket = BufReader::new(socket);
        let mut line = String::new();
        while !line.starts_with("PING") {
            line.clear();
            assert!(socket.read_line(&mut line).await.unwrap() > 0, "the client has gone");
        }
        socket.write_all(b"PONG\r\n").await.unwrap();
        socket
    }

    #[tokio::test]
    async fn a_connection_made_once_is_not_made_again_and_what_it_held_reaches_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Door::of_url(&format!("nats://{}", listener.local_addr().unwrap())).unwrap();
        let (once, socket) = tokio::join!(Once::connect(&door, "one"), greet(&listener));
        let once = once.unwrap();
        assert!(!once.is_lost());
        drop(socket);
        // Before the loss is noticed, and after.
        once.client().publish("a.b", "late".into()).await.ok();
        tokio::time::timeout(Duration::from_secs(5), once.lost()).await.expect("noticed");
        let refused = async {
            while once.client().publish("a.b", "later".into()).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), refused).await.expect("an end");
        // It can be counted on: whoever connects now is another.
        let other = Once::connect(&door, "other");
        let (other, mut socket) = tokio::join!(other, greet(&listener));
        let other = other.unwrap();
        other.client().publish("c.d", "mine".into()).await.unwrap();
        let mut line = String::new();
        socket.read_line(&mut line).await.unwrap();
        assert_eq!(line.trim_end(), "PUB c.d 4");
    }
}
