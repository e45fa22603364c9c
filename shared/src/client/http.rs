//! The HTTP API: one generic call, and typed ones for what clients need.

use std::sync::LazyLock;

use crate::tls;

mod api;
mod lists;
mod own;
mod reply;

pub use api::{Api, Contacts, Failed, Login, Node, Offline, User};
pub use lists::{Group, Page, Request, Talk};
pub use own::OwnDevice;
pub use reply::{ApiError, Reply};

/// An HTTP client under construction: over TLS with whom `tls` trusts, without it only to `http://`, and with no proxy of the
/// environment. Every HTTP client begins here: left to itself the library would look for a provider of cryptography that
/// nobody has installed, and panic.
#[expect(clippy::disallowed_methods, reason = "this is where clients are to come from")]
pub fn builder(tls: Option<&tls::Client>) -> reqwest::ClientBuilder {
    static NOBODY: LazyLock<tls::Client> = LazyLock::new(tls::Client::nobody);
    let config = tls.unwrap_or(&NOBODY).config(&[b"http/1.1"]);
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(config)
}
