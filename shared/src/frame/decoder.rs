//! The decoder: a state machine over a buffer.

use bytes::{Buf, Bytes, BytesMut};

use super::{Form, Frame, FrameError, counted::count};
use crate::dialect;

/// Cuts one connection's bytes into frames. Holds no memory while nothing is under way.
///
/// The frames of one [`feed`](Self::feed) share its memory: hold one for long and it keeps what was read with it.
#[derive(Debug)]
pub struct Decoder {
    /// Every idle connection has one of these: what cannot exceed 32 bits is no longer.
    limit: u32,
    form: Option<Form>,
    buffer: BytesMut,
    step: Step,
    /// Start of the line that is being read, in a text frame.
    line: u32,
    /// How far the buffer has been searched for that line's end, so that slow drips are searched once.
    seen: u32,
    /// Whether frames were taken off since the memory was last its own.
    consumed: bool,
    failed: Option<Box<FrameError>>,
}

/// What the bytes at the start of the buffer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A frame's first line, which tells its form.
    FirstLine,
    /// A later line of a text frame.
    Lines,
    /// The body of a counted frame.
    Body(u32),
}

impl Decoder {
    /// `limit`: the longest frame, in bytes, without its count line; 4 GiB at most.
    pub fn new(limit: usize) -> Self {
        Self {
            limit: short(limit),
            form: None,
            buffer: BytesMut::new(),
            step: Step::FirstLine,
            line: 0,
            seen: 0,
            consumed: false,
            failed: None,
        }
    }

    /// The form of the client's first frame, known from its first byte on; `None` before it.
    pub fn form(&self) -> Option<Form> {
        self.form
    }

    /// Appends what was read from the socket. Call [`next`](Self::next) until it gives `None` before the next read:
    /// then what gathers is bounded by the limit and one read.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next whole frame; `None` until more bytes come.
    ///
    /// # Errors
    /// [`FrameError`], after which nothing more can be decoded: it stays the answer.
    #[expect(
        clippy::should_implement_trait,
        reason = "a Result around the Option, as a stream's reader wants it"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = &self.failed {
            return Err(FrameError::clone(error));
        }
        match self.cut() {
            Ok(None) => {
                self.let_go();
                Ok(None)
            }
            Err(error) => {
                self.buffer = BytesMut::new();
                self.failed = Some(Box::new(error.clone()));
                Err(error)
            }
            frame => frame,
        }
    }

    /// Whether the connection would end in the middle of a frame if it ended now (once `next` has given `None`).
    pub fn mid_frame(&self) -> bool {
        !self.buffer.is_empty() || self.step != Step::FirstLine
    }

    /// The memory held, in bytes.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buffer.capacity()
    }

    fn cut(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            match self.step {
                Step::Body(length) if self.buffer.len() < length as usize => return Ok(None),
                Step::Body(length) => return Ok(Some(Frame::Toml(self.take(length as usize, 0)))),
                Step::Lines => return self.lines(),
                Step::FirstLine => {
                    let Some(&first) = self.buffer.first() else { return Ok(None) };
                    if first != b'#' {
                        self.form.get_or_insert(Form::Text);
                        match self.first_line()? {
                            Line::Partial => return Ok(None),
                            Line::Frame(frame) => return Ok(Some(frame)),
                            Line::Text => self.step = Step::Lines,
                        }
                    } else {
                        self.form.get_or_insert(Form::Counted);
                        let Some((length, body)) = count(&self.buffer)? else { return Ok(None) };
                        self.within(length)?;
                        if length == 0 {
                            self.take(0, body);
                            return Ok(Some(Frame::Heartbeat));
                        }
                        self.buffer.advance(body);
                        self.step = Step::Body(short(length));
                    }
                }
            }
        }
    }

    /// A heartbeat, a one-line frame, or the first line of a text frame.
    fn first_line(&mut self) -> Result<Line, FrameError> {
        let Some(end) = self.line_end() else {
            self.within(self.complete())?;
            return Ok(Line::Partial);
        };
        let line = without_return(&self.buffer[..end]);
        if line.is_empty() {
            self.take(0, end + 1);
            return Ok(Line::Frame(Frame::Heartbeat));
        }
        self.within(line.len())?;
        if !dialect::is_one_line(line) {
            self.line = short(end + 1);
            return Ok(Line::Text);
        }
        let converted = match std::str::from_utf8(line) {
            Ok(line) => dialect::to_standard(line),
            Err(error) => Err(not_utf8(line, &error)),
        };
        self.take(0, end + 1);
        Ok(Line::Frame(converted.map_or_else(Frame::Bad, |toml| Frame::Toml(toml.into()))))
    }

    /// The rest of a text frame, up to the first blank line.
    fn lines(&mut self) -> Result<Option<Frame>, FrameError> {
        while let Some(end) = self.line_end() {
            let line = self.line as usize;
            if without_return(&self.buffer[line..end]).is_empty() {
                self.within(line)?;
                return Ok(Some(Frame::Toml(self.take(line, end + 1 - line))));
            }
            self.line = short(end + 1);
            self.within(end + 1)?;
        }
        self.within(self.complete())?;
        Ok(None)
    }

    /// Where the line being read ends, searching only what has not been searched.
    fn line_end(&mut self) -> Option<usize> {
        let seen = self.seen as usize;
        let found = self.buffer[seen..].iter().position(|&byte| byte == b'\n').map(|offset| seen + offset);
        self.seen = short(found.map_or(self.buffer.len(), |end| end + 1));
        found
    }

    /// How much of the buffer surely belongs to the frame: a return at its end may yet be part of the line's end.
    fn complete(&self) -> usize {
        let line = self.line as usize;
        line + without_return(&self.buffer[line..]).len()
    }

    fn within(&self, found: usize) -> Result<(), FrameError> {
        let limit = self.limit as usize;
        if found <= limit { Ok(()) } else { Err(FrameError::TooLong { limit, found }) }
    }

    /// Takes a frame off the buffer's start, and what ends it.
    fn take(&mut self, length: usize, ending: usize) -> Bytes {
        let frame = if length == 0 { Bytes::new() } else { self.buffer.split_to(length).freeze() };
        self.consumed = true;
        self.buffer.advance(ending);
        (self.step, self.line, self.seen) = (Step::FirstLine, 0, 0);
        frame
    }

    /// Lets the read's memory go once its frames are out: what is left of it, the start of a frame, moves to its own.
    fn let_go(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        } else if self.consumed {
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        self.consumed = false;
    }
}

/// What a first line turned out to be.
enum Line {
    Partial,
    Frame(Frame),
    Text,
}

/// What never exceeds the limit and one read.
fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn not_utf8(line: &[u8], error: &std::str::Utf8Error) -> String {
    let at = error.valid_up_to();
    format!("expected UTF-8; found the byte 0x{:02x} at column {}", line[at], at + 1)
}
