//! The HTTP API: one generic call, and typed ones for what clients need.

mod api;
mod lists;
mod reply;

pub use api::{Api, Contacts, Failed, Login, Node, Offline, User};
pub use lists::{Group, Page, Request, Talk};
pub use reply::{ApiError, Reply};
