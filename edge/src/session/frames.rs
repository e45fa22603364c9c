//! Client bytes to entries, with everything answered that needs no session: heartbeats and frames that cannot be read.

use std::io;

use bytes::Bytes;
use shared::{
    command::Code,
    frame::{Decoder, Form, Frame, FrameError},
    message::{Entry, Refusal, parse},
};

use super::{Output, wire::Wire};
use crate::{context::Context, session::end::End};

/// What the bytes so far hold.
#[derive(Debug)]
pub enum Next {
    /// The entries of one frame.
    Entries(Vec<Entry>),
    /// No further whole frame.
    Nothing,
    /// The stream can no longer be framed; the error has been answered.
    Broken,
}

/// The next frame with entries.
pub fn next(decoder: &mut Decoder, out: &mut Output, context: &Context) -> Next {
    loop {
        let frame = decoder.next();
        out.set_form(decoder.form().unwrap_or(Form::Text));
        match frame {
            Ok(None) => return Next::Nothing,
            Ok(Some(Frame::Heartbeat)) => {
                context.metrics.heartbeats.increment(1);
                out.heartbeat();
            }
            Ok(Some(Frame::Bad(reason))) => {
                context.metrics.refused(Code::Malformed);
                out.refuse_frame(Code::Malformed, reason);
            }
            Ok(Some(Frame::Toml(frame))) => match entries(frame, out, context) {
                Ok(entries) => return Next::Entries(entries),
                Err(refusal) => {
                    context.metrics.refused(refusal.code);
                    out.refuse(&refusal);
                }
            },
            Err(error) => {
                let code = match error {
                    FrameError::Count { .. } => Code::Malformed,
                    FrameError::TooLong { .. } => Code::TooLong,
                };
                context.metrics.refused(code);
                out.refuse_frame(code, error.to_string());
                return Next::Broken;
            }
        }
    }
}

fn entries(frame: Bytes, out: &Output, context: &Context) -> Result<Vec<Entry>, Refusal> {
    parse::parse(&out.dialect().read(frame)?, &context.parse)
}

/// What one connection may bring in one go, before others get their turn.
const READ: usize = 64 * 1024;

thread_local! {
    /// Where all connections of a thread read into, so that an idle one holds no buffer.
    static BUFFER: std::cell::RefCell<Box<[u8]>> = std::cell::RefCell::new(vec![0; READ].into());
}

/// Reads what is there into the decoder; called again until there is nothing, it finds an end that came with it. `Some`:
/// the connection has ended.
pub fn read<W: Wire>(wire: &mut W, decoder: &mut Decoder) -> Option<End> {
    BUFFER.with_borrow_mut(|buffer| fed(wire.try_read(buffer), buffer, decoder))
}

/// The same for a connection that waits until it is readable again.
pub fn read_once<W: Wire>(wire: &mut W, decoder: &mut Decoder) -> Option<End> {
    BUFFER.with_borrow_mut(|buffer| fed(wire.try_read_once(buffer), buffer, decoder))
}

fn fed(read: io::Result<usize>, buffer: &[u8], decoder: &mut Decoder) -> Option<End> {
    match read {
        Ok(0) => Some(End::Clean),
        Ok(count) => {
            decoder.feed(&buffer[..count]);
            None
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => None,
        Err(_) => Some(End::Reset),
    }
}
