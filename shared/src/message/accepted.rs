//! The accepted frame on the broker: readable TOML in one canonical layout, so that it can be read without a document.

use super::Accepted;

/// A frame on the broker that is not an accepted frame.
#[derive(Debug, thiserror::Error)]
#[error("not an accepted frame: expected {expected}, found {found}")]
pub struct NotAccepted {
    /// What would have been valid.
    pub expected: String,
    /// What stood there.
    pub found: String,
}

/// Appends the frame in its canonical layout, without the count line.
pub fn encode(_frame: &Accepted, _out: &mut Vec<u8>) {
    unimplemented!()
}

/// Reads what [`encode`] wrote, and any other TOML that means the same (by the `toml` crate).
///
/// # Errors
/// [`NotAccepted`], naming the key.
pub fn decode(_frame: &[u8]) -> Result<Accepted, NotAccepted> {
    unimplemented!()
}
