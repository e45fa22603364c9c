//! The rules of users, tokens and devices, over HTTP.
//!
//! | module | holds |
//! |---|---|
//! | [`password`] | argon2id, a bounded number at a time |
//! | [`rules`] | what a phone, a name, a password may be |
//! | [`door`] | which node a client is sent to |
//! | [`profile`] | registering and changing a user |
//! | [`entry`] | login, reconnect, failed, logout |
//! | [`mod@devices`] | a user's devices, and logging one out |
//! | [`operator`] | what operators do with accounts |

mod devices;
mod door;
mod entry;
pub mod operator;
mod password;
mod profile;
mod rules;

pub(crate) use devices::{devices, end_device};
pub(crate) use entry::{failed, login, logout, reconnect};
pub(crate) use password::{Hashers, WAITING};
pub(crate) use profile::{register, update};
