//! What a client is told before it begins.

use std::time::Duration;

use super::{
    Backoff,
    http::{Api, Login},
};
use crate::{
    config::Secret,
    ids::{Device, UserId},
    tls,
};

/// Who connects, where to, and how patiently. Begin with [`Options::new`] or [`Options::of_login`] and change fields.
#[derive(Debug, Clone)]
pub struct Options {
    /// The HTTP API, asked for a node at the start (where `server` is not given) and when a node has failed.
    pub http: Option<Api>,
    /// The node to begin with, `host:port`.
    pub server: Option<String>,
    /// Connects over TLS, trusting whom this says. Default: without TLS; [`Options::of_login`]: as the API is spoken to.
    pub tls: Option<tls::Client>,
    /// Who.
    pub user: UserId,
    /// On which device.
    pub device: Device,
    /// The token of an HTTP login.
    pub token: Secret,
    /// Messages and requests without an answer at a time. Default 256.
    pub window: usize,
    /// The largest frame the server takes, bytes: what is longer is refused here, since a server hangs up on it. Default
    /// 65,536, as servers have it.
    pub frame_bytes: usize,
    /// Events not yet taken. Default 1024.
    pub events: usize,
    /// Acknowledge each delivery once it is among the events. Default true; otherwise [`super::Client::ack`].
    pub auto_ack: bool,
    /// Without an answer for this long, everything unanswered is sent again, in order. Default 10 s.
    pub resend_after: Duration,
    /// How long a connection may take to be made, TLS included. Default 5 s.
    pub connect_timeout: Duration,
    /// How long the answer to a login may take. Default 10 s.
    pub login_timeout: Duration,
    /// How long [`super::Client::connect`] tries before it gives up. Default 30 s. Later reconnects never give up.
    pub first_login: Duration,
    /// A heartbeat is sent when one of the two sides has been silent for this long. Default 30 s.
    pub heartbeat: Duration,
    /// Without an answer to a heartbeat for this long, the connection counts as dead. Default 10 s.
    pub heartbeat_answer: Duration,
    /// The wait before each further attempt to connect.
    pub backoff: Backoff,
}

impl Options {
    /// With the defaults, and neither `http` nor `server`: set at least one of them.
    pub fn new(user: UserId, device: Device, token: impl Into<String>) -> Self {
        Self {
            http: None,
            server: None,
            tls: None,
            user,
            device,
            token: Secret::new(token),
            window: 256,
            frame_bytes: 65_536,
            events: 1024,
            auto_ack: true,
            resend_after: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            login_timeout: Duration::from_secs(10),
            first_login: Duration::from_secs(30),
            heartbeat: Duration::from_secs(30),
            heartbeat_answer: Duration::from_secs(10),
            backoff: Backoff::default(),
        }
    }

    /// For what an HTTP login gave: its user, token and node, and the API for when that node fails.
    pub fn of_login(api: &Api, login: &Login, device: Device) -> Self {
        Self {
            http: Some(api.clone()),
            server: Some(login.node.to_string()),
            tls: api.tls().cloned(),
            ..Self::new(login.user, device, login.token.expose())
        }
    }
}
