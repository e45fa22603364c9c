//! Cutting what the server writes to a counted client: `#<n>\n` and n bytes, without copying.

use bytes::{Buf as _, Bytes, BytesMut};

/// More than any frame a server writes.
const LIMIT: usize = 4 << 20;

/// A stream that is not counted frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a counted frame of at most {LIMIT} bytes, found {found:?}")]
pub struct BrokenStream {
    found: String,
}

/// Bytes read and not yet cut.
#[derive(Debug, Default)]
pub struct Cutter {
    /// Where the socket's bytes go.
    pub buffer: BytesMut,
}

impl Cutter {
    /// The next frame, empty for a heartbeat; `None` until more bytes come.
    pub fn next(&mut self) -> Result<Option<Bytes>, BrokenStream> {
        let Some(&first) = self.buffer.first() else { return Ok(None) };
        let digits = self.buffer.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
        if first != b'#' || digits > 7 {
            return Err(self.broken());
        }
        match self.buffer.get(1 + digits) {
            None => return Ok(None),
            Some(b'\n') if digits > 0 => {}
            Some(_) => return Err(self.broken()),
        }
        let length =
            self.buffer[1..=digits].iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        if length > LIMIT {
            return Err(self.broken());
        }
        let head = digits + 2;
        if self.buffer.len() < head + length {
            self.buffer.reserve(head + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(head);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    fn broken(&self) -> BrokenStream {
        BrokenStream {
            found: String::from_utf8_lossy(&self.buffer[..self.buffer.len().min(40)]).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_wherever_the_bytes_are_split() {
        let stream = b"#5\nhello#0\n#3\na\nb#1\nx";
        for at in 0..stream.len() {
            let (mut cutter, mut frames) = (Cutter::default(), Vec::new());
            for part in [&stream[..at], &stream[at..]] {
                cutter.buffer.extend_from_slice(part);
                while let Some(frame) = cutter.next().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, ["hello", "", "a\nb", "x"], "split at {at}");
            assert!(cutter.buffer.is_empty());
        }
    }

    #[test]
    fn what_is_not_counted_is_said() {
        for text in ["[[m]]\n", "#\n", "#12x\n", "#99999999\n", "#5000000\n"] {
            let mut cutter = Cutter { buffer: text.as_bytes().into() };
            assert!(cutter.next().unwrap_err().to_string().contains(text.trim()), "{text}");
        }
    }
}
