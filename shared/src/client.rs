//! The Rust client library: connect, log in, send until it is stored, receive, acknowledge, reconnect, resume.
//!
//! | type | for |
//! |---|---|
//! | [`Client`], [`Events`] | everything: one task keeps a session alive over lost connections and drained nodes |
//! | [`http::Api`] | the HTTP calls |
//! | [`Connection`] | one bare TCP or TLS connection, for tests and tools that want to see the frames |
//! | [`tls::Client`](crate::tls::Client) | whom to trust, where a deployment has TLS |
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
//! What is bounded, and what happens at the bound:
//!
//! | queue | bound | when full |
//! |---|---|---|
//! | messages and requests without an answer | `Options::window` | `send` and `begin` wait, `send_nowait` says so |
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
