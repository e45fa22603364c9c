//! A raw connection: bytes out, frames in, compared with the TOML that a test expects.
//!
//! It knows nothing of the system's own code, so that a mistake made on both sides shows.

use std::{collections::VecDeque, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use toml::{Table, Value};

use crate::{
    harness::SOON,
    pattern::{self, difference},
};

/// A socket buffer with little room, bytes.
const NARROW: u32 = 16 * 1024;

/// How this connection frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `#<n>\n`, then the bytes.
    Counted,
    /// Lines, then a blank one.
    Text,
}

/// What came down a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Got {
    /// One entry of a frame: a table with one key, the kind, whose value is the entry.
    Entry(Table),
    /// The answer to a heartbeat.
    Heartbeat,
    /// The server has closed.
    Closed,
}

/// One connection.
#[derive(Debug)]
pub struct Wire {
    /// The token it logged in with, where [`crate::people`] did that.
    pub token: String,
    stream: TcpStream,
    style: Style,
    buffer: Vec<u8>,
    waiting: VecDeque<Table>,
}

impl Wire {
    /// Connects, to speak counted frames.
    pub async fn connect(address: &str) -> Self {
        Self::connect_as(address, Style::Counted).await
    }

    /// Connects, to speak in this style.
    pub async fn connect_as(address: &str, style: Style) -> Self {
        let stream =
            TcpStream::connect(address).await.unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"));
        stream.set_nodelay(true).expect("a fresh socket takes options");
        Self { token: String::new(), stream, style, buffer: Vec::new(), waiting: VecDeque::new() }
    }

    /// Connects, to speak counted frames, with so little room in this side's socket buffers as the system grants: what
    /// is not read here soon stops the server's writes, and what it does not read soon stops ours.
    pub async fn connect_narrow(address: &str) -> Self {
        let to = address.parse().unwrap_or_else(|e| panic!("{address}: {e}"));
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        socket.set_recv_buffer_size(NARROW).expect("a fresh socket takes options");
        socket.set_send_buffer_size(NARROW).expect("a fresh socket takes options");
        let stream = socket.connect(to).await.unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"));
        stream.set_nodelay(true).expect("a fresh socket takes options");
        Self {
            token: String::new(),
            stream,
            style: Style::Counted,
            buffer: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Sends one frame in the connection's style.
    pub async fn send(&mut self, toml: &str) {
        let bytes = self.framed(toml);
        self.send_raw(&bytes).await;
    }

    /// The frame's bytes in the connection's style.
    pub fn framed(&self, toml: &str) -> Vec<u8> {
        let toml = unindent(toml);
        match self.style {
            Style::Counted => [format!("#{}\n", toml.len()).as_bytes(), toml.as_bytes()].concat(),
            Style::Text => format!("{toml}\n").into_bytes(),
        }
    }

    /// Sends bytes as they are.
    pub async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the server reads");
    }

    /// Sends bytes as they are; whether the server still takes them.
    pub async fn try_send_raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// The socket itself, for a test that reads and writes at the same time; nothing may have been read ahead.
    pub fn into_stream(self) -> TcpStream {
        assert!(self.buffer.is_empty() && self.waiting.is_empty(), "something came that was not looked at");
        self.stream
    }

    /// Ends the sending side; what the server still has to say can be read.
    pub async fn end(&mut self) {
        self.stream.shutdown().await.ok();
    }

    /// The next thing that comes.
    ///
    /// # Panics
    /// When nothing comes, or what comes is not a frame as the protocol describes it.
    pub async fn got(&mut self) -> Got {
        match timeout(SOON, self.read()).await {
            Ok(got) => got,
            Err(_) => {
                panic!("nothing came within {SOON:?}; unread: {:?}", String::from_utf8_lossy(&self.buffer))
            }
        }
    }

    /// The next thing that comes within `wait`, if anything does.
    pub async fn got_within(&mut self, wait: Duration) -> Option<Got> {
        timeout(wait, self.read()).await.ok()
    }

    /// The next entry.
    ///
    /// # Panics
    /// When something else comes, or nothing.
    pub async fn next(&mut self) -> Table {
        match self.got().await {
            Got::Entry(entry) => entry,
            other => panic!("expected an entry, found {other:?}"),
        }
    }

    /// The next entry must be this one (`…` stands for any value); what it holds is returned.
    ///
    /// # Panics
    /// When it is another one.
    pub async fn expect(&mut self, toml: &str) -> Table {
        let found = self.next().await;
        must_be(toml, &found);
        body(&found)
    }

    /// The next entries must be these, in whatever order they come; returned in the order they are expected in.
    ///
    /// # Panics
    /// When one that comes is none of them.
    pub async fn expect_all(&mut self, expected: &[&str]) -> Vec<Table> {
        let mut open: Vec<(usize, Value)> =
            expected.iter().map(|toml| Value::Table(pattern::table(&unindent(toml)))).enumerate().collect();
        let mut all = vec![Table::new(); expected.len()];
        while !open.is_empty() {
            let found = self.next().await;
            let value = Value::Table(found.clone());
            let fits =
                open.iter().position(|(_, expected)| difference(expected, &in_array(&value)).is_none());
            match fits {
                Some(at) => all[open.remove(at).0] = body(&found),
                None => panic!("expected one of\n{}\nfound\n{found}", expected.join("\n---\n")),
            }
        }
        all
    }

    /// Sends a heartbeat; the next thing that comes must be its answer.
    ///
    /// # Panics
    /// When something else comes before it.
    pub async fn nothing_but_heartbeat(&mut self) {
        self.send_heartbeat().await;
        match self.got().await {
            Got::Heartbeat => {}
            other => panic!("expected nothing but the answer to a heartbeat, found {other:?}"),
        }
    }

    /// Sends a heartbeat.
    pub async fn send_heartbeat(&mut self) {
        let bytes: &[u8] = match self.style {
            Style::Counted => b"#0\n",
            Style::Text => b"\n",
        };
        self.send_raw(bytes).await;
    }

    /// The server closes the connection and says nothing more before.
    ///
    /// # Panics
    /// When it says something, or does not close.
    pub async fn expect_closed(&mut self) {
        match self.got().await {
            Got::Closed => {}
            other => panic!("expected the connection to be closed, found {other:?}"),
        }
    }

    async fn read(&mut self) -> Got {
        loop {
            if let Some(entry) = self.waiting.pop_front() {
                return Got::Entry(entry);
            }
            match self.cut() {
                Some(frame) if frame.is_empty() => return Got::Heartbeat,
                Some(frame) => self.waiting.extend(entries(&frame)),
                None => {
                    let mut chunk = [0; 16 * 1024];
                    match self.stream.read(&mut chunk).await {
                        // A reset is how a close shows when the server had not read all that was sent.
                        Ok(0) | Err(_) => {
                            let rest = String::from_utf8_lossy(&self.buffer);
                            assert!(rest.is_empty(), "the server closed in the middle of a frame: {rest:?}");
                            return Got::Closed;
                        }
                        Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                    }
                }
            }
        }
    }

    /// The next whole frame's text in the buffer; empty for a heartbeat.
    fn cut(&mut self) -> Option<String> {
        let (start, end, next) = match self.style {
            Style::Counted => {
                let line = self.buffer.iter().position(|b| *b == b'\n')?;
                let count =
                    std::str::from_utf8(&self.buffer[..line]).ok().and_then(|line| line.strip_prefix('#'));
                let Some(count) = count.and_then(|count| count.parse::<usize>().ok()) else {
                    panic!(
                        "expected a count line, found {:?}",
                        String::from_utf8_lossy(&self.buffer[..line])
                    );
                };
                (line + 1, line + 1 + count, line + 1 + count)
            }
            Style::Text if self.buffer.first() == Some(&b'\n') => (0, 0, 1),
            Style::Text => {
                let blank = self.buffer.windows(2).position(|pair| pair == b"\n\n")?;
                (0, blank + 1, blank + 2)
            }
        };
        if self.buffer.len() < next {
            return None;
        }
        let frame = String::from_utf8(self.buffer[start..end].to_vec()).expect("the server writes UTF-8");
        self.buffer.drain(..next);
        assert!(!frame.contains("\n\n"), "a frame holds no blank line: {frame:?}");
        Some(frame)
    }
}

/// Panics unless the entry is the expected one.
pub fn must_be(expected: &str, found: &Table) {
    let wanted = Value::Table(pattern::table(&unindent(expected)));
    if let Some(why) = difference(&wanted, &in_array(&Value::Table(found.clone()))) {
        panic!("{why}\n── expected\n{}\n── found\n[[{}]]\n{}", unindent(expected), kind(found), body(found));
    }
}

/// The entry's kind: `m`, `rr`, …
pub fn kind(entry: &Table) -> &str {
    entry.keys().next().map_or("", String::as_str)
}

/// What the entry holds.
pub fn body(entry: &Table) -> Table {
    entry.values().next().and_then(Value::as_table).cloned().unwrap_or_default()
}

/// A frame's entries, each as a table of its own.
fn entries(frame: &str) -> Vec<Table> {
    entries_of(frame.parse().unwrap_or_else(|e| panic!("the server wrote what is not TOML: {e}\n{frame}")))
}

/// The same of a frame that has been parsed.
pub(crate) fn entries_of(document: Table) -> Vec<Table> {
    let frame = document.to_string();
    assert_eq!(document.len(), 1, "a frame holds entries of one kind: {frame}");
    let (kind, entries) = document.into_iter().next().expect("it has one");
    let Value::Array(entries) = entries else { panic!("a frame is an array of tables: {frame}") };
    entries.into_iter().map(|entry| Table::from_iter([(kind.clone(), entry)])).collect()
}

/// `{ kind: entry }` as `{ kind: [entry] }`, the shape in which TOML text gives it.
fn in_array(entry: &Value) -> Value {
    match entry {
        Value::Table(table) => {
            Value::Table(table.iter().map(|(k, v)| (k.clone(), Value::Array(vec![v.clone()]))).collect())
        }
        other => other.clone(),
    }
}

/// Tests indent their frames with the code around them; lines lose that, and blank ones go.
pub(crate) fn unindent(toml: &str) -> String {
    let mut text = String::with_capacity(toml.len());
    for line in toml.lines().map(str::trim).filter(|line| !line.is_empty()) {
        text.push_str(line);
        text.push('\n');
    }
    text
}
