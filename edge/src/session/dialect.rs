//! What a connection's frames are written in, between the client and the one way in which the node reads and writes them.

use std::borrow::Cow;

use bytes::Bytes;
use shared::{json, message::Refusal, original};

/// The dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// Standard TOML.
    #[default]
    Standard,
    /// The same tables as JSON.
    Json,
    /// What simple_im's original clients write and read.
    Original,
}

impl Dialect {
    /// A client's frame as standard TOML.
    ///
    /// # Errors
    /// A [`Refusal`] of what cannot be read.
    pub fn read(self, frame: Bytes) -> Result<Bytes, Refusal> {
        match self {
            Self::Standard => Ok(frame),
            Self::Json => json::to_toml(&frame).map(Bytes::from),
            Self::Original => original::to_toml(&frame).map(Bytes::from),
        }
    }

    /// A frame of the node's as the client reads it.
    pub fn show(self, frame: &[u8]) -> Cow<'_, [u8]> {
        let shown = match self {
            Self::Standard => return Cow::Borrowed(frame),
            Self::Json => json::from_toml(frame),
            Self::Original => original::from_toml(frame),
        };
        Cow::Owned(shown.unwrap_or_else(|| {
            tracing::error!("a frame of this system's own cannot be read as TOML");
            frame.to_vec()
        }))
    }

    /// Whether the same frame again is another one, as its writers know no ids of their own for each.
    pub fn repeats(self) -> bool {
        self == Self::Original
    }
}
