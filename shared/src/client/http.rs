//! The HTTP API: one generic call, and typed ones for what clients need.

mod api;
mod reply;

pub use api::{Api, Contacts, Failed, Login, Node, Offline, User};
pub use reply::{ApiError, Reply};
