//! The users of a run: registered, logged in, connected on different nodes.

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use shared::{
    client::{Client, Events, Options as ClientOptions, http::Api},
    ids::Device,
};

use super::{Mode, Options};

/// Registrations and logins under way; each is a password to digest.
const AT_ONCE: usize = 16;
const PASSWORD: &str = "load-generator";

/// One direction of talk.
pub struct Pair {
    /// Who writes.
    pub sender: Client,
    /// Its events: they must be taken, or its connection stops.
    pub sender_events: Events,
    /// Who reads.
    pub receiver: Client,
    /// What it is shown.
    pub receiver_events: Events,
}

/// Registers and connects every pair, the two sides on different nodes where there are two.
pub async fn connect(options: &Options, edges: &[(String, String)]) -> Result<Vec<Pair>> {
    // New users each time: conversations begin empty.
    let run = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
    let pairs = stream::iter(0..options.pairs).map(|number| async move {
        let (here, there) = (&edges[number % edges.len()], &edges[(number + 1) % edges.len()]);
        let (sender, sender_events) = person(options, here, &format!("{run}{number:05}1")).await?;
        let (receiver, receiver_events) = person(options, there, &format!("{run}{number:05}2")).await?;
        anyhow::Ok(Pair { sender, sender_events, receiver, receiver_events })
    });
    pairs.buffer_unordered(AT_ONCE).try_collect().await
}

async fn person(options: &Options, (tcp, http): &(String, String), phone: &str) -> Result<(Client, Events)> {
    let api = Api::new(format!("http://{http}"));
    api.register(phone, "load", PASSWORD).await.context("registering")?;
    let login = api.login(phone, PASSWORD, Some("load")).await.context("logging in over HTTP")?;
    let mut settings = ClientOptions::of_login(&api, &login, Device::new("load")?);
    settings.server = Some(tcp.clone());
    settings.window = match options.mode {
        Mode::Throughput { window } => window,
        Mode::Latency { .. } => 10_000,
    };
    settings.events = 4_096;
    Client::connect(settings).await.context("connecting")
}
