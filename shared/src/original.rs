//! What simple_im's own clients of 2015 write and read: one-line entries that end with nothing at all, strings without any
//! escape, whole numbers that may come as strings, and lists of either.
//!
//! A read of theirs is cut into entries ([`split`]), each of which becomes standard TOML ([`to_toml`]); the server's
//! frames become what they can read ([`from_toml`]): the keys and their order as simple_im's description shows them.

mod read;
mod write;

pub use self::{
    read::{split, to_toml},
    write::from_toml,
};

#[cfg(test)]
mod tests;
