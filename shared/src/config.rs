//! Layered configuration: compiled-in default < file < environment (`IM_SECTION__KEY`) < command line (`--set`).
//!
//! A secret (`….password`, `….url`) may stand in a file: `password_file = "/run/secrets/x"` in place of `password`, and so
//! `IM_NATS__PASSWORD_FILE`; it is read once, at the start.
//!
//! A binary's annotated default TOML is both its defaults and their documentation: it names every key there is and
//! fixes its type. All mistakes of all layers are gathered and reported at once, each with key, value, source and what
//! is allowed. A binary's `main` is:
//!
//! ```ignore
//! let config: EdgeConfig = match shared::config::Args::parse().start(edge::config::DEFAULT, edge::config::RULES) {
//!     Start::Run(config) => config,
//!     Start::Exit(code) => return code,
//! };
//! ```

mod args;
mod examples;
mod in_force;
mod layers;
mod mistake;
mod rule;
mod secret;
mod time;

pub use args::{Args, EXIT_CONFIG, Start};
pub use in_force::{InForce, Setting, in_force};
pub use layers::{Layers, Resolved};
pub use mistake::{ConfigErrors, Mistake, Source};
pub use rule::{Rule, without_rule};
pub use secret::{Secret, SecretUrl, Strength};
pub use time::{Millis, Seconds};
