//! What matters of the frames that servers write: counted frames, one pair a line, an entry's own keys before its
//! sub-tables'. Everything is a slice of what was read.

use std::io;

/// What came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Got<'a> {
    /// `[[a]] lvl = "stored"`.
    Stored {
        /// The message.
        id: u64,
        /// Its place.
        seq: u64,
    },
    /// `[[m]]` or `[[gm]]`.
    Delivery {
        /// The sender's id for it; 0 where it is not a number.
        id: u64,
        /// Its place.
        seq: u64,
        /// Who sent it.
        from: u64,
        /// In which group; 0 for none.
        group: u64,
        /// The text as it stands between its quotes.
        text: &'a [u8],
    },
    /// `[[rr]] s = 0`.
    Done,
    /// `[[rr]] s = 1`.
    Refused {
        /// The message, where it is one.
        id: Option<u64>,
        /// The whole entry.
        entry: &'a [u8],
    },
    /// Nothing that a run waits for.
    Other {
        /// The whole entry.
        entry: &'a [u8],
    },
}

/// The longest count line that is looked for its end.
const COUNT_LINE: usize = 21;

/// Hands each entry of the whole frames to `each`; gives how many bytes they are.
///
/// # Errors
/// That what came is no frame; what came before it was handed out.
pub fn scan<'a>(bytes: &'a [u8], mut each: impl FnMut(Got<'a>)) -> io::Result<usize> {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let Some((length, from)) = count(rest)? else { return Ok(at) };
        let Some(body) = rest.get(from..from + length) else { return Ok(at) };
        entries(body, &mut each);
        at += from + length;
    }
}

/// A frame's length and where it begins; `None` where its count line has not come to its end.
fn count(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let mut length = 0usize;
    for (at, byte) in bytes.iter().enumerate().take(COUNT_LINE) {
        match byte {
            b'#' if at == 0 => {}
            b'0'..=b'9' if at > 0 => length = length.wrapping_mul(10).wrapping_add(usize::from(byte - b'0')),
            b'\n' if at > 1 => return Ok(Some((length, at + 1))),
            _ => return Err(broken(bytes)),
        }
    }
    if bytes.len() < COUNT_LINE { Ok(None) } else { Err(broken(bytes)) }
}

fn broken(bytes: &[u8]) -> io::Error {
    let found = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]);
    io::Error::new(io::ErrorKind::InvalidData, format!("expected a counted frame, found {found:?}"))
}

fn entries<'a>(mut body: &'a [u8], each: &mut impl FnMut(Got<'a>)) {
    while !body.is_empty() {
        let (got, length) = entry(body);
        each(got);
        body = &body[length..];
    }
}

#[derive(Default)]
struct Fields<'a> {
    id: &'a [u8],
    text: &'a [u8],
    stored: bool,
    success: bool,
    seq: u64,
    from: u64,
    group: u64,
}

/// The first entry, and how many bytes it is.
fn entry(body: &[u8]) -> (Got<'_>, usize) {
    let header = line(body);
    let (mut at, mut own, mut from) = (header.len() + 1, true, false);
    let mut fields = Fields::default();
    while at < body.len() {
        let rest = &body[at..];
        let line = line(rest);
        match line {
            [b'[', b'[', ..] => break,
            [b'[', .., b'f', b'r', b'o', b'm', b']'] => (own, from) = (false, true),
            [b'[', ..] => (own, from) = (false, false),
            [b'i', b'd', b' ', b'=', b' ', value @ ..] => {
                if own {
                    fields.id = unquoted(value);
                } else if from {
                    fields.from = number(value).unwrap_or(0);
                }
            }
            [b's', b'e', b'q', b' ', b'=', b' ', value @ ..] => fields.seq = number(value).unwrap_or(0),
            [b'c', b' ', b'=', b' ', value @ ..] => fields.text = unquoted(value),
            [b's', b' ', b'=', b' ', value @ ..] => fields.success = value == b"0",
            [b'l', b'v', b'l', b' ', b'=', b' ', value @ ..] => fields.stored = value == b"\"stored\"",
            [b'g', b'r', b'o', b'u', b'p', b' ', b'=', b' ', value @ ..] => {
                fields.group = number(value).unwrap_or(0);
            }
            _ => {}
        }
        at += line.len() + 1;
    }
    let at = at.min(body.len());
    (got(header, &fields, &body[..at]), at)
}

fn got<'a>(header: &[u8], fields: &Fields<'a>, entry: &'a [u8]) -> Got<'a> {
    let &Fields { id, text, stored, success, seq, from, group } = fields;
    match header {
        b"[[a]]" if stored => Got::Stored { id: number(id).unwrap_or(0), seq },
        b"[[m]]" | b"[[gm]]" => Got::Delivery { id: number(id).unwrap_or(0), seq, from, group, text },
        b"[[rr]]" if success => Got::Done,
        b"[[rr]]" => Got::Refused { id: number(id), entry },
        _ => Got::Other { entry },
    }
}

/// Up to the first newline, without it.
fn line(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    &bytes[..end]
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        other => other,
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits
        .iter()
        .try_fold(0u64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use shared::{
        frame::{self, Form},
        ids::{Conversation, Device, GroupId, MessageId, Seq, UserId},
        message::{Stored, StoredBody, WantedAck, write},
    };

    use super::*;

    fn stored(conversation: Conversation, content: &str) -> Vec<u8> {
        let row = Stored {
            conversation,
            seq: Seq(18),
            sender: UserId(5),
            device: Device::new("load").unwrap(),
            id: MessageId::new("17").unwrap(),
            ts: 1,
            what: StoredBody::Text { content: content.to_owned(), ack: WantedAck::Stored },
        };
        let mut entry = Vec::new();
        write::stored(&row, &mut entry);
        entry
    }

    fn framed(entries: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame::write(Form::Counted, entries, &mut out);
        out
    }

    fn all(bytes: &[u8]) -> (Vec<Got<'_>>, usize) {
        let mut got = Vec::new();
        let used = scan(bytes, |one| got.push(one)).unwrap();
        (got, used)
    }

    #[test]
    fn frames_as_servers_write_them() {
        let direct = stored(Conversation::direct(UserId(3), UserId(5)), "x\n[[m]]\ny\"");
        let group = stored(Conversation::Group(GroupId(9)), "");
        let mut ack = Vec::new();
        write::ack_stored(&MessageId::new("17").unwrap(), 1, Seq(18), &mut ack);
        let refused = b"[[rr]]\nid = \"17\"\nt = \"\"\ns = 1\nr = \"no\"\ncode = \"blocked\"\n";
        let done = b"[[rr]]\nid = \"login\"\nt = \"login\"\ns = 0\n";
        let notice = b"[[n]]\nt = \"move\"\n";
        let expected = [
            Got::Delivery { id: 17, seq: 18, from: 5, group: 0, text: br#"x\n[[m]]\ny\""# },
            Got::Delivery { id: 17, seq: 18, from: 5, group: 9, text: b"" },
            Got::Stored { id: 17, seq: 18 },
            Got::Refused { id: Some(17), entry: refused },
            Got::Done,
            Got::Other { entry: notice },
        ];
        let frames = [&direct[..], &group, &ack, refused, done, notice];
        let bytes: Vec<u8> = frames.iter().flat_map(|entry| framed(entry)).collect();
        assert_eq!(all(&bytes), (expected.to_vec(), bytes.len()));
        // And with several entries in a frame.
        let one = framed(&[&direct[..], &group].concat());
        assert_eq!(all(&one).0, expected[..2]);
    }

    #[test]
    fn a_frame_that_is_not_whole_waits() {
        let entry = stored(Conversation::direct(UserId(3), UserId(5)), "hello");
        let bytes = [framed(&entry), framed(b""), framed(&entry)].concat();
        for end in 0..bytes.len() {
            let (got, used) = all(&bytes[..end]);
            assert!(used <= end && got.len() <= 1);
            let (rest, more) = all(&bytes[used..]);
            assert_eq!((got.len() + rest.len(), used + more), (2, bytes.len()), "cut at {end}");
        }
        assert!(scan(b"[[m]]\n", |_| ()).is_err());
        assert!(scan(b"#9x\n", |_| ()).is_err());
        assert!(scan(&[b'#'; 30], |_| ()).is_err());
    }
}
