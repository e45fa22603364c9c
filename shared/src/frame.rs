//! Cutting a byte stream into frames, and writing them. No I/O: feed bytes, take frames.
//!
//! Three forms, told apart by first byte and first line: counted (`#<n>\n` then n bytes), text (lines up to a blank
//! one) and one-line (`[[m]] id = "a" …` up to the newline, handed out as standard TOML by [`crate::dialect`]).

use bytes::Bytes;

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

/// Cuts one connection's bytes into frames. Holds no buffer while nothing is under way.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    form: Option<Form>,
    buffer: Vec<u8>,
}

impl Decoder {
    /// `limit`: the longest frame, in bytes, without its count line.
    pub fn new(limit: usize) -> Self {
        Self { limit, form: None, buffer: Vec::new() }
    }

    /// The form of the client's first frame; `None` before it.
    pub fn form(&self) -> Option<Form> {
        self.form
    }

    /// Appends what was read from the socket.
    pub fn feed(&mut self, _bytes: &[u8]) {
        unimplemented!()
    }

    /// The next whole frame; `None` until more bytes come.
    ///
    /// # Errors
    /// [`FrameError`], after which nothing more can be decoded.
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        unimplemented!()
    }

    /// Whether the connection would end in the middle of a frame if it ended now.
    pub fn mid_frame(&self) -> bool {
        unimplemented!()
    }
}

/// Appends a frame in the given form (`#n\n` before it, or a blank line after it).
pub fn write(_form: Form, _frame: &[u8], _out: &mut Vec<u8>) {
    unimplemented!()
}

/// Appends a heartbeat in the given form.
pub fn write_heartbeat(_form: Form, _out: &mut Vec<u8>) {
    unimplemented!()
}

/// Cuts counted frames that stand back to back (a broker batch) into slices of it, sharing its memory.
///
/// # Errors
/// [`FrameError`] when the batch is cut short or a count is wrong.
pub fn split_counted(_batch: &Bytes) -> Result<Vec<Bytes>, FrameError> {
    unimplemented!()
}
