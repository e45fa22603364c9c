//! The `simple-im.json` dialect: a frame's tables as JSON, `{"m":[{"id":"a_02","c":"hello","to":3}]}`.
//!
//! A client's frame becomes standard TOML ([`to_toml`]), so that everything behind it, refusals included, is the same as
//! over TCP; the server's frames become JSON ([`from_toml`]). JavaScript keeps whole numbers exact up to 2^53 − 1 only:
//! one beyond is written as a string of its digits, and where a number is due such a string is taken as the number.

mod entry;
mod tree;
mod write;

use toml::Table;

use crate::{
    command::Code,
    message::{Refusal, parse::not_utf8},
};

pub use self::write::table;

/// The largest number that JavaScript has exactly.
pub const EXACT: u64 = (1 << 53) - 1;

/// The deepest nesting of a client's frame: the object itself is the first level.
pub const DEPTH: usize = 8;

/// The most keys of one object in a client's frame.
pub const KEYS: usize = 64;

/// A client's frame as standard TOML, in the layout that is parsed fastest.
///
/// A `null` is taken as if its key were absent.
///
/// # Errors
/// A [`Refusal`] of what is not JSON, names a key twice, is nested too deep, or has no place in TOML.
pub fn to_toml(frame: &[u8]) -> Result<Vec<u8>, Refusal> {
    let text = std::str::from_utf8(frame).map_err(|error| not_utf8(frame, error.valid_up_to()))?;
    let tree = tree::read(text).map_err(|reason| Refusal::new(Code::Malformed, reason))?;
    entry::frame(&tree).map_err(|reason| Refusal::new(Code::Malformed, reason))
}

/// One of the server's frames as JSON; `None` if it is not TOML, which no frame of ours is.
pub fn from_toml(frame: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(frame).ok()?;
    write::lines(text).or_else(|| {
        let mut out = Vec::with_capacity(frame.len());
        table(&toml::from_str::<Table>(text).ok()?, &mut out);
        Some(out)
    })
}

#[cfg(test)]
mod tests;
