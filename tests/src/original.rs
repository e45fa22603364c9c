//! A tiny imitation of simple_im's original clients: it sends entries that end with nothing, takes each read as whole frames,
//! knows no escapes, acknowledges by a bare id and sends acks back.

#![allow(clippy::print_stdout, reason = "the transcript is a result of its own")]

use std::collections::VecDeque;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::SOON;

/// One of them. What goes to and fro is printed: `cargo nextest run --no-capture` shows the transcript.
#[derive(Debug)]
pub struct Old {
    name: &'static str,
    stream: TcpStream,
    heard: VecDeque<String>,
}

impl Old {
    /// Connects to `host:port`.
    ///
    /// # Panics
    /// When nobody is there.
    pub async fn connect(address: &str, name: &'static str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the port for original clients");
        stream.set_nodelay(true).expect("a live socket");
        Self { name, stream, heard: VecDeque::new() }
    }

    /// Sends this, and nothing behind it.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn say(&mut self, line: &str) {
        println!("{} → {line}", self.name);
        self.stream.write_all(line.as_bytes()).await.expect("the connection stands");
    }

    /// The next entry, whole and as it stands.
    ///
    /// # Panics
    /// When none comes.
    pub async fn entry(&mut self) -> String {
        if self.heard.is_empty() {
            let mut read = vec![0; 65_536];
            let count = timeout(SOON, self.stream.read(&mut read)).await.expect("something comes in time");
            read.truncate(count.expect("the connection stands"));
            self.heard = entries(&String::from_utf8(read).expect("UTF-8"));
            for entry in &self.heard {
                println!("{} ← {}", self.name, entry.trim_end().replace('\n', " "));
            }
        }
        self.heard.pop_front().expect("the server did not close")
    }

    /// The next entry is this one; `…` stands for a number.
    ///
    /// # Panics
    /// When it is another one.
    pub async fn hear(&mut self, expected: &str) -> String {
        let found = self.entry().await;
        let plain: String = match expected.split_once('…') {
            Some((before, after)) => {
                match found.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)) {
                    Some(number) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => {
                        format!("{before}{number}{after}")
                    }
                    _ => expected.to_owned(),
                }
            }
            None => expected.to_owned(),
        };
        assert_eq!(found, plain, "{}", self.name);
        found
    }

    /// A delivery, acknowledged as they do it.
    pub async fn hear_and_ack(&mut self, expected: &str, id: &str) -> String {
        let found = self.hear(expected).await;
        self.say(&format!("[[a]] id=\"{id}\"")).await;
        found
    }

    /// The ack of a message of one's own, which they send back.
    pub async fn hear_ack(&mut self, id: &str) {
        self.hear_and_ack(&format!("[[a]]\nid = \"{id}\"\n"), id).await;
    }

    /// Logs in, or reconnects, and is let in.
    pub async fn logs_in(&mut self, t: &str, user: i64, device: &str, token: &str) {
        self.say(&login(t, user, device, token)).await;
        self.hear(&format!("[[rr]]\nid = \"a_01\"\nt = \"{t}\"\ns = 0\n")).await;
    }
}

/// A login or a reconnect as they write it: the user's number as a string.
pub fn login(t: &str, user: i64, device: &str, token: &str) -> String {
    format!(
        "[[r]] id = \"a_01\" t = \"{t}\" [r.user] id = \"{user}\" device = \"{device}\" token = \"{token}\""
    )
}

/// A message between two users, by their numbers, as they are shown it.
pub fn shown(content: &str, id: &str, to: i64, from: i64, device: &str) -> String {
    format!(
        "[[m]]\nc = \"{content}\"\nid = \"{id}\"\nts = …\n[m.to]\nid = {to}\n[m.from]\ndevice = \"{device}\"\nid = {from}\n"
    )
}

/// What their reader makes of one read: it begins with a header, strings end at the next quote, values are strings, whole
/// numbers and lists.
fn entries(read: &str) -> VecDeque<String> {
    assert!(read.starts_with("[["), "their reader fails on anything else: {read:?}");
    let (mut cut, mut inside) = (vec![0], false);
    for (at, byte) in read.bytes().enumerate() {
        inside ^= byte == b'"';
        if !inside && at > 0 && read.as_bytes()[at..].starts_with(b"[[") {
            cut.push(at);
        }
    }
    assert!(!inside, "a read ends within a string: {read:?}");
    cut.push(read.len());
    let entries: VecDeque<String> = cut.windows(2).map(|two| read[two[0]..two[1]].to_owned()).collect();
    entries.iter().for_each(|entry| readable(entry));
    entries
}

fn readable(entry: &str) {
    let (mut plain, mut inside) = (String::new(), false);
    for part in entry.split('"') {
        plain.push_str(if inside { "s" } else { part });
        inside = !inside;
    }
    for line in plain.lines().filter(|line| !line.starts_with('[')) {
        let (_, value) = line.split_once(" = ").unwrap_or_else(|| panic!("no pair: {line:?} in {entry:?}"));
        let list = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let fits = |one: &str| one == "s" || !one.is_empty() && one.bytes().all(|b| b.is_ascii_digit());
        assert!(list.unwrap_or(value).split(", ").all(fits), "{line:?} in {entry:?}");
    }
}
