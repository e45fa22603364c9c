//! The Rust client library: connect, log in, send until it is stored, receive, acknowledge, reconnect, resume.
//!
//! | type | for |
//! |---|---|
//! | [`Client`], [`Events`] | everything: one task keeps a session alive over lost connections and drained nodes |
//! | [`http::Api`] | the HTTP calls |
//! | [`Connection`] | one bare TCP or TLS connection, for tests and tools that want to see the frames |
//! | [`tls::Client`](crate::tls::Client) | whom to trust, where a deployment has TLS |
//!
//! # A walk through it
//!
//! Log in over HTTP, then connect: the token is for one device, and the login says where to connect.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use shared::{client::{Client, Event, Options, http::Api}, ids::{Device, UserId}, message::{Target, WantedAck}};
//!
//! let api = Api::new("http://127.0.0.1:8080");
//! let login = api.login("13812652243", "888888", Some("ipad")).await?;
//! let (client, mut events) = Client::connect(Options::of_login(&api, &login, Device::new("ipad")?)).await?;
//! let stored = client.send(Target::User(UserId(3)), "hello", WantedAck::Stored).await?;
//! println!("number {} of the conversation", stored.seq);
//! while let Some(event) = events.next().await {
//!     if let Event::Delivery(delivery) = event {
//!         println!("{}: {:?}", delivery.from, delivery.text());
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! [`Client::send`] returns once the message is stored, and waits for that over lost connections. To have many on their way,
//! begin them and await the answers later; they keep their order.
//!
//! ```no_run
//! # use shared::{client::{Client, SendError}, message::{Target, WantedAck}};
//! # async fn example(client: Client, to: Target) -> Result<(), SendError> {
//! let mut flight = Vec::new();
//! for line in ["one", "two", "three"] {
//!     flight.push(client.begin(to, line, WantedAck::Stored).await?);
//! }
//! for answer in flight {
//!     match answer.await {
//!         Ok(stored) => println!("{}", stored.seq),
//!         Err(SendError::Refused(refused)) => println!("{refused}"),
//!         Err(error) => return Err(error),
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! An id of one's own makes a message the same one at every try, also in another run of the program on the same device; and
//! with [`Options::auto_ack`] off a delivery comes again until it has been acknowledged. Together they carry a program over its
//! own crashes: nothing is left out, nothing is said twice.
//!
//! ```no_run
//! # use shared::{client::{Client, Events}, ids::MessageId, message::WantedAck};
//! # async fn example(client: Client, mut events: Events) -> Result<(), Box<dyn std::error::Error>> {
//! while let Some(delivery) = events.next_delivery().await {
//!     if let (Some(text), true) = (delivery.text(), delivery.from != client.user()) {
//!         let id = MessageId::new(&format!("answer-{}-{}", delivery.conversation, delivery.seq))?;
//!         client.begin_with(id, delivery.answer_to(client.user()), text, WantedAck::Stored).await?.await?;
//!     }
//!     client.ack(&delivery).await?;
//! }
//! # Ok(()) }
//! ```
//!
//! Contacts and groups are requests; lists and history come over HTTP.
//!
//! ```no_run
//! # use shared::{client::{Client, http::Api}, ids::UserId, message::{Ask, Target, WantedAck}};
//! # async fn example(client: Client, api: Api, token: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let made = client.request(Ask::CreateGroup { name: "friends".into(), members: vec![UserId(3)] }).await?;
//! if let Some(group) = made.group_id {
//!     client.send(Target::Group(group), "welcome", WantedAck::Receipts).await?;
//!     for frame in api.history(token, Target::Group(group), None, 50).await?.rows {
//!         println!("{} {}: {:?}", frame.seq, frame.from, frame.text());
//!     }
//! }
//! client.close().await;
//! # Ok(()) }
//! ```
//!
//! `shared/examples` holds whole programs: an echo bot, a bridge between two groups, an importer.
//!
//! What is bounded, and what happens at the bound:
//!
//! | queue | bound | when full |
//! |---|---|---|
//! | messages and requests without an answer | `Options::window` | `send` and `begin` wait, `send_nowait` says so |
//! | a frame | `Options::frame_bytes` | refused here, since a server hangs up on it |
//! | events not yet taken | `Options::events` | deliveries wait unacknowledged; the server pauses at its own limit |
//! | bytes not yet written | 256 KiB | nothing more is taken from `send` |
//! | numbers remembered to drop repeats | 10,000 conversations, 64 ranges each | the longest unused is forgotten: a repeat may show |

mod backoff;
mod compose;
mod connection;
mod dial;
mod driver;
mod event;
mod handle;
pub mod http;
mod incoming;
mod moving;
mod options;
mod outstanding;
mod seen;
mod session;
mod stream;
mod wire;

pub use backoff::Backoff;
pub use connection::Connection;
pub use event::{Content, Delivery, DeliveryKind, Event, Level, Receipt};
pub use handle::{Client, ConnectError, Events, InFlight, Refused, SendError, Stored};
pub use options::Options;

pub use crate::message::write::Success;

#[cfg(test)]
mod tests;
