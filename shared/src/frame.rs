//! Cutting a byte stream into frames, and writing them. No I/O: feed bytes, take frames.
//!
//! Three forms, told apart by first byte and first line: counted (`#<n>\n` then n bytes), text (lines up to a blank
//! one) and one-line (`[[m]] id = "a" …` up to the newline, handed out as standard TOML by [`crate::dialect`]).
//!
//! Each frame is told apart on its own, so a stream may mix them. A blank line ends a text frame even inside a TOML
//! multi-line string, and outside of a frame it is a heartbeat, also right after a counted or a one-line frame. `\r\n`
//! ends a line as `\n` does, but for count lines. A first line that opens a header and is not one whole header is
//! taken as one-line, so that a slip in it is answered at once.

mod counted;
mod decoder;

use bytes::Bytes;

pub(crate) use self::counted::write_number;
pub use self::{
    counted::{first_counted, split_counted, write, write_heartbeat},
    decoder::Decoder,
};

/// How a client frames, and so how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `#<n>\n` and n bytes.
    Counted,
    /// Lines, then a blank one; the one-line form is answered so too.
    Text,
}

/// What the decoder found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// An empty frame, to be answered in kind.
    Heartbeat,
    /// A frame of standard TOML, not yet parsed; UTF-8 not yet checked.
    Toml(Bytes),
    /// A frame that is not valid but whose end is known, so the stream goes on (a one-line frame that cannot be read).
    Bad(String),
}

/// A stream that can no longer be framed: answer, then close.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The count is not a decimal number.
    #[error("expected a frame's length in decimal after #, found {found:?}")]
    Count {
        /// The start of the line.
        found: String,
    },
    /// A frame is over the limit.
    #[error("expected a frame of at most {limit} bytes, found {found}")]
    TooLong {
        /// The limit, bytes.
        limit: usize,
        /// The announced length, or as much as has gathered.
        found: usize,
    },
}

#[cfg(test)]
mod tests;
