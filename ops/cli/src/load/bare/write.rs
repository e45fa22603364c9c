//! Frames as clients write them: counted, in the layout that servers read fastest.

use std::ops::RangeInclusive;

/// What every user's device is called.
pub const DEVICE: &str = "load";
/// The most acknowledgements of one frame; servers take 256 entries.
const ENTRIES: usize = 200;

/// Whom a message goes to, or where a delivery comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// With this user.
    User(u64),
    /// In this group.
    Group(u64),
}

/// What is the same in all messages of one sender.
#[derive(Clone, Debug)]
pub struct Letter {
    head: &'static [u8],
    tail: Vec<u8>,
}

impl Letter {
    /// Messages of this text, which holds nothing that TOML would escape.
    pub fn new(to: Place, text: &str) -> Self {
        let (head, key, number): (&[u8], _, _) = match to {
            Place::User(user) => (b"[[m]]\nid = \"", "to", user),
            Place::Group(group) => (b"[[gm]]\nid = \"", "group", group),
        };
        Self { head, tail: format!("\"\nc = \"{text}\"\n{key} = {number}\n").into_bytes() }
    }

    /// The message with this id.
    pub fn write(&self, id: u64, out: &mut Vec<u8>) {
        let digits = Decimal::of(id);
        count(self.head.len() + digits.as_bytes().len() + self.tail.len(), out);
        out.extend_from_slice(self.head);
        out.extend_from_slice(digits.as_bytes());
        out.extend_from_slice(&self.tail);
    }
}

/// Acknowledges each of these deliveries of one conversation.
pub fn acks(of: Place, seqs: RangeInclusive<u64>, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(64);
    for (at, seq) in seqs.enumerate() {
        if at > 0 && at % ENTRIES == 0 {
            count(body.len(), out);
            out.append(&mut body);
        }
        body.extend_from_slice(b"[[a]]\nseq = ");
        body.extend_from_slice(Decimal::of(seq).as_bytes());
        whose(of, &mut body);
    }
    if !body.is_empty() {
        count(body.len(), out);
        out.append(&mut body);
    }
}

/// Everything of this conversation up to `seq` is read.
pub fn read(of: Place, seq: u64, out: &mut Vec<u8>) {
    let mut body = b"[[a]]\nlvl = \"read\"\nseq = ".to_vec();
    body.extend_from_slice(Decimal::of(seq).as_bytes());
    whose(of, &mut body);
    count(body.len(), out);
    out.append(&mut body);
}

fn whose(of: Place, body: &mut Vec<u8>) {
    let (key, number): (&[u8], _) = match of {
        Place::User(user) => (b"\n[a.from]\nid = ", user),
        Place::Group(group) => (b"\ngroup = ", group),
    };
    body.extend_from_slice(key);
    body.extend_from_slice(Decimal::of(number).as_bytes());
    body.push(b'\n');
}

/// A login with a token.
pub fn login(user: u64, token: &str) -> Vec<u8> {
    let entry = format!(
        "[[r]]\nid = \"login\"\nt = \"login\"\n[r.user]\nid = {user}\ndevice = \"{DEVICE}\"\ntoken = \"{token}\"\n"
    );
    let mut out = Vec::with_capacity(entry.len() + 8);
    count(entry.len(), &mut out);
    out.extend_from_slice(entry.as_bytes());
    out
}

fn count(length: usize, out: &mut Vec<u8>) {
    out.push(b'#');
    out.extend_from_slice(Decimal::of(length as u64).as_bytes());
    out.push(b'\n');
}

/// A number's digits, without the formatter's detour.
struct Decimal {
    digits: [u8; 20],
    from: usize,
}

impl Decimal {
    fn of(mut number: u64) -> Self {
        let (mut digits, mut from) = ([0; 20], 20);
        loop {
            from -= 1;
            digits[from] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Self { digits, from };
            }
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.digits[self.from..]
    }
}

#[cfg(test)]
mod tests {
    use shared::{
        frame::{Decoder, Frame},
        ids::{GroupId, Seq, UserId},
        message::{Ack, Entry, Target, parse},
    };

    use super::*;

    fn entries(bytes: &[u8]) -> Vec<Entry> {
        let mut decoder = Decoder::new(1 << 16);
        decoder.feed(bytes);
        let mut entries = Vec::new();
        while let Some(frame) = decoder.next().unwrap() {
            let Frame::Toml(toml) = frame else { panic!("{frame:?}") };
            entries.extend(parse::parse(&toml, &parse::Limits::default()).unwrap());
        }
        entries
    }

    #[test]
    fn servers_read_what_is_written() {
        let mut out = Vec::new();
        Letter::new(Place::User(3), "hello").write(10, &mut out);
        Letter::new(Place::Group(1_234_567_890), "hi").write(u64::MAX, &mut out);
        let [Entry::Message(one), Entry::Message(two)] = &entries(&out)[..] else { panic!("two messages") };
        assert_eq!((one.id.as_str(), one.content.as_str(), one.to), ("10", "hello", Target::User(UserId(3))));
        assert_eq!(
            (two.id.as_str(), two.to),
            ("18446744073709551615", Target::Group(GroupId(1_234_567_890)))
        );
        let [Entry::Login(login)] = &entries(&login(7, "abcdef"))[..] else { panic!("a login") };
        assert_eq!((login.user, login.device.as_str()), (UserId(7), DEVICE));
    }

    #[test]
    fn acks_name_each_delivery() {
        let mut out = Vec::new();
        acks(Place::User(9), 1..=450, &mut out);
        acks(Place::Group(4), 8..=8, &mut out);
        read(Place::User(9), 500, &mut out);
        let ack = |seq, from, read| {
            Entry::Ack(Ack { id: None, seq: Some(Seq(seq)), from: Some(from), to: None, read })
        };
        let user = Target::User(UserId(9));
        let mut expected: Vec<Entry> = (1..=450).map(|seq| ack(seq, user, false)).collect();
        expected.push(ack(8, Target::Group(GroupId(4)), false));
        expected.push(ack(500, user, true));
        assert_eq!(entries(&out), expected);
    }
}
