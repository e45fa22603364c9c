//! The users of a run: registered, logged in, connected on different nodes.

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use shared::{
    client::{
        Client, Events, Options as ClientOptions,
        http::{Api, Login},
    },
    ids::Device,
};

/// Registrations and logins under way; each is a password to digest.
const AT_ONCE: usize = 16;
const PASSWORD: &str = "load-generator";

/// What every user's device is called.
pub const DEVICE: &str = "load";

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

/// A registered user with a token, and the node to connect to.
pub struct Seat {
    /// The node's client port, `host:port`.
    pub tcp: String,
    /// The API that gave the token.
    pub api: Api,
    /// Who, and the token.
    pub login: Login,
}

/// Registers and connects every pair, `window` messages in flight each.
pub async fn connect(pairs: usize, window: usize, edges: &[(String, String)]) -> Result<Vec<Pair>> {
    let seats = seats(pairs, edges).await?;
    let pairs = stream::iter(seats).map(|(sender, receiver)| async move {
        let (sender, sender_events) = person(sender, window).await?;
        let (receiver, receiver_events) = person(receiver, window).await?;
        anyhow::Ok(Pair { sender, sender_events, receiver, receiver_events })
    });
    pairs.buffer_unordered(AT_ONCE).try_collect().await
}

/// Registers every pair, sender and receiver, on different nodes where there are two.
pub async fn seats(pairs: usize, edges: &[(String, String)]) -> Result<Vec<(Seat, Seat)>> {
    // New users each time: conversations begin empty.
    let run = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
    let pairs = stream::iter(0..pairs).map(|number| async move {
        let (here, there) = (&edges[number % edges.len()], &edges[(number + 1) % edges.len()]);
        let sender = seat(here, &format!("{run}{number:05}1")).await?;
        anyhow::Ok((sender, seat(there, &format!("{run}{number:05}2")).await?))
    });
    pairs.buffer_unordered(AT_ONCE).try_collect().await
}

async fn seat((tcp, http): &(String, String), phone: &str) -> Result<Seat> {
    let api = Api::new(format!("http://{http}"));
    api.register(phone, "load", PASSWORD).await.context("registering")?;
    let login = api.login(phone, PASSWORD, Some(DEVICE)).await.context("logging in over HTTP")?;
    Ok(Seat { tcp: tcp.clone(), api, login })
}

async fn person(seat: Seat, window: usize) -> Result<(Client, Events)> {
    let mut settings = ClientOptions::of_login(&seat.api, &seat.login, Device::new(DEVICE)?);
    settings.server = Some(seat.tcp);
    settings.window = window;
    settings.events = 4_096;
    Client::connect(settings).await.context("connecting")
}
