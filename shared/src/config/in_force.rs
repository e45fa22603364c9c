//! What this process runs with, for those who look from outside: every key, without its secrets.

use std::{collections::BTreeMap, sync::OnceLock};

use serde::{Deserialize, Serialize};
use toml::Value;

use super::Strength;

/// Every key, as `section.key`.
pub type InForce = BTreeMap<String, Setting>;

/// One key's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// The value; a URL without its password.
    pub value: Value,
    /// The layer it comes from, as `--print-config` says it.
    pub from: String,
    /// What the password in it is worth, where the key may hold one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Strength>,
}

static IN_FORCE: OnceLock<InForce> = OnceLock::new();

/// What this process was started with; nothing where that was not by [`super::Args::start`].
pub fn in_force() -> Option<&'static InForce> {
    IN_FORCE.get()
}

/// Keeps it for as long as the process lives. A process starts once: what is kept stays.
pub(super) fn keep(settings: InForce) {
    IN_FORCE.get_or_init(|| settings);
}
