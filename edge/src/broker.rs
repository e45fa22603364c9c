//! The connection to NATS: kept up for ever, and whoever needs to know is told when it was lost and when it is back.

use std::{sync::atomic::Ordering, time::Duration};

use async_nats::{Client, ConnectOptions, Event};
use tokio::sync::watch;

/// A connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Broker {
    client: Client,
    link: watch::Receiver<Link>,
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
    /// How often the connection was made.
    pub connects: u64,
    /// How often a full subscription's queue dropped a message; thousands that are in it come before the next one.
    pub dropped: u64,
}

/// Commands that wait while NATS is away; when full, senders wait. Small, since a batch can be 256 KiB.
const COMMANDS: usize = 256;
/// Messages that wait for a subscription's reader; beyond them messages are dropped and [`Link::dropped`] counts.
const MESSAGES: usize = 4096;

impl Broker {
    /// Connects to `url`, at once or as soon as there is somebody there.
    ///
    /// # Errors
    /// The URL is not one.
    pub async fn connect(url: &str, name: &str) -> Result<Self, async_nats::ConnectError> {
        let (told, link) = watch::channel(Link::default());
        let client = ConnectOptions::new()
            .name(name)
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(|tries| {
                Duration::from_millis(u64::try_from(tries).unwrap_or(u64::MAX).saturating_mul(20).min(1000))
            })
            .connection_timeout(Duration::from_secs(5))
            .ping_interval(Duration::from_secs(5))
            .client_capacity(COMMANDS)
            .subscription_capacity(MESSAGES)
            .event_callback(move |event| {
                told.send_modify(|link| link.note(&event));
                async {}
            })
            .connect(url)
            .await?;
        Ok(Self { client, link })
    }

    /// The client itself.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How the connection has fared, now and whenever that changes.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// What has cost deliveries so far.
    pub fn losses(&self) -> Losses {
        let connects = self.client.statistics().connects.load(Ordering::Relaxed);
        Losses { connects, dropped: self.link.borrow().dropped }
    }

    /// Until the connection stands.
    pub async fn up(&self) {
        // The sender lives as long as the client, which `self` holds.
        self.link.clone().wait_for(|link| link.up).await.ok();
    }

    /// Until the connection is lost; at once if it was since `link` was looked at.
    pub async fn lost_since(&self, before: Link) {
        self.link.clone().wait_for(|link| link.lost != before.lost).await.ok();
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
            Event::ServerError(_) | Event::ClientError(_) => tracing::debug!(%event, "NATS"),
            // The end of this process's own client.
            Event::Closed => self.up = false,
            Event::LameDuckMode | Event::Draining => tracing::info!(%event, "NATS"),
        }
    }
}
