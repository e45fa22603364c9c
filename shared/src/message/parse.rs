//! Client bytes to typed entries, with refusals that say what was expected and what was found.

use super::{Entry, Refusal};

/// What a frame may hold; all in bytes or entries.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest text (`c`, `message`, `name`), in bytes.
    pub text: usize,
    /// The most entries in one frame.
    pub entries: usize,
    /// The most members named in `create_group`.
    pub members: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { text: 32 * 1024, entries: 256, members: 500 }
    }
}

/// Parses one frame of standard TOML (the one-line form goes through [`crate::dialect`] first).
///
/// # Errors
/// A [`Refusal`] for the frame as a whole, with the entry's id and `t` where they could be read.
pub fn parse(_frame: &[u8], _limits: &Limits) -> Result<Vec<Entry>, Refusal> {
    unimplemented!()
}
