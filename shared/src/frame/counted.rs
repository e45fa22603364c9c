//! Counted frames: reading a count line, cutting a batch; and writing frames of either form.

use bytes::Bytes;

use super::{Form, FrameError};

/// The most digits a count line may have.
const COUNT_DIGITS: usize = 20;

/// Cuts counted frames that stand back to back (a broker batch) into slices of it, sharing its memory.
///
/// # Errors
/// [`FrameError`] when the batch is cut short (`TooLong`: the limit is what is left) or a count is wrong.
pub fn split_counted(batch: &Bytes) -> Result<Vec<Bytes>, FrameError> {
    let mut frames = Vec::new();
    let mut at = 0;
    while at < batch.len() {
        let rest = &batch[at..];
        let counted = if rest[0] == b'#' { count(rest)? } else { None };
        let Some((length, body)) = counted else {
            let found = String::from_utf8_lossy(&rest[..rest.len().min(32)]).into_owned();
            return Err(FrameError::Count { found });
        };
        let left = rest.len() - body;
        if length > left {
            return Err(FrameError::TooLong { limit: left, found: length });
        }
        at += body;
        frames.push(batch.slice(at..at + length));
        at += length;
    }
    Ok(frames)
}

/// The body of the counted frame that begins here, and where the frame ends; `None` where none is whole.
pub fn first_counted(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (length, body) = if bytes.first() == Some(&b'#') { count(bytes).ok()?? } else { return None };
    let end = body.checked_add(length)?;
    Some((bytes.get(body..end)?, end))
}

/// Appends a frame in the given form (`#n\n` before it, or a blank line after it).
pub fn write(form: Form, frame: &[u8], out: &mut Vec<u8>) {
    match form {
        Form::Counted => {
            out.push(b'#');
            write_number(frame.len() as u64, out);
            out.push(b'\n');
            out.extend_from_slice(frame);
        }
        Form::Text => {
            out.extend_from_slice(frame);
            out.extend_from_slice(if frame.ends_with(b"\n") { b"\n" } else { b"\n\n" });
        }
    }
}

/// Appends a heartbeat in the given form.
pub fn write_heartbeat(form: Form, out: &mut Vec<u8>) {
    out.extend_from_slice(match form {
        Form::Counted => b"#0\n",
        Form::Text => b"\n",
    });
}

/// Appends a number in decimal, without the formatter's detour.
pub(crate) fn write_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The length on a count line and where the body begins; `None` until the line is whole.
pub(super) fn count(bytes: &[u8]) -> Result<Option<(usize, usize)>, FrameError> {
    let digits = bytes.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
    let wrong = || {
        let found = &bytes[..bytes.len().min(32)];
        let line = found.split(|&byte| byte == b'\n').next().unwrap_or(found);
        FrameError::Count { found: String::from_utf8_lossy(line).into_owned() }
    };
    match bytes.get(1 + digits) {
        _ if digits > COUNT_DIGITS => Err(wrong()),
        None => Ok(None),
        Some(b'\n') if digits > 0 => {
            let length = bytes[1..=digits].iter().fold(0usize, |length, digit| {
                length.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
            });
            Ok(Some((length, digits + 2)))
        }
        Some(_) => Err(wrong()),
    }
}
