//! Plays a document against a running system.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    io,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use toml::{Table, Value};

use super::{
    Block, Kind, Mistake,
    matching::{self, Names},
};
use crate::{harness::System, web::Call};

/// How long something that is to come may take.
const SOON: Duration = Duration::from_secs(15);
/// How long a GET is asked again until its answer fits: acknowledgements count within a second.
const SETTLED: Duration = Duration::from_secs(10);

/// Where the document's people connect to. Edges are counted from 1.
pub trait Connect {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin;
    /// A new connection to an edge's client port.
    fn tcp(&mut self, edge: usize) -> impl Future<Output = io::Result<Self::Stream>>;
    /// The base of an edge's HTTP API: `http://127.0.0.1:8080`.
    fn http(&self, edge: usize) -> String;
}

/// The edges of a system, on their plain ports.
#[derive(Debug)]
pub struct Edges<'s>(pub &'s System);

impl Connect for Edges<'_> {
    type Stream = TcpStream;
    async fn tcp(&mut self, edge: usize) -> io::Result<TcpStream> {
        TcpStream::connect(self.0.tcp(edge - 1)).await
    }
    fn http(&self, edge: usize) -> String {
        self.0.http(edge - 1)
    }
}

/// What was run.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "said by the names")]
pub struct Ran {
    pub sent: usize,
    pub received: usize,
    pub calls: usize,
}

/// Runs the blocks in order; at the end every connection still open has nothing more to say.
///
/// # Errors
/// [`Mistake`]: the first place where document and system differ.
pub async fn run<C: Connect>(blocks: &[Block], connect: &mut C) -> Result<Ran, Mistake> {
    let mut play = Play { connect, open: BTreeMap::new(), names: Names::default(), ran: Ran::default() };
    let mut blocks = blocks.iter();
    while let Some(block) = blocks.next() {
        let result = match block.kind {
            Kind::Tcp => play.send(block).await,
            Kind::Raw => play.send_raw(block).await,
            Kind::Expect => play.expect(block).await,
            Kind::Close => {
                let gone = play.open.remove(&block.who);
                gone.map(drop).ok_or_else(|| "expected an open connection to close, found none".to_owned())
            }
            Kind::Closed => play.closed(block).await,
            Kind::Http => match blocks.next() {
                Some(answer) => play.call(block, answer).await,
                None => Err("expected a response after the call, found none".to_owned()),
            },
            Kind::Response(_) => Err("expected a call before the response, found none".to_owned()),
        };
        result.map_err(|reason| Mistake::new(block.line, reason))?;
    }
    play.at_rest().await
}

struct Play<'c, C: Connect> {
    connect: &'c mut C,
    open: BTreeMap<String, Line<C::Stream>>,
    names: Names,
    ran: Ran,
}

impl<C: Connect> Play<'_, C> {
    async fn line(&mut self, block: &Block) -> Result<&mut Line<C::Stream>, String> {
        if !self.open.contains_key(&block.who) {
            let stream =
                self.connect.tcp(block.edge).await.map_err(|error| format!("cannot connect: {error}"))?;
            self.open.insert(block.who.clone(), Line::new(stream));
        }
        self.open.get_mut(&block.who).ok_or_else(|| "expected an open connection, found none".to_owned())
    }

    async fn send(&mut self, block: &Block) -> Result<(), String> {
        let text = self.names.fill(&block.text)?;
        let frames: Vec<&str> = text.split("\n\n").map(str::trim).filter(|frame| !frame.is_empty()).collect();
        self.ran.sent += frames.len().max(1);
        let line = self.line(block).await?;
        if frames.is_empty() {
            return line.write(b"\n").await;
        }
        for frame in frames {
            line.write(format!("{frame}\n\n").as_bytes()).await?;
        }
        Ok(())
    }

    async fn send_raw(&mut self, block: &Block) -> Result<(), String> {
        // Filled in before counting, as the values' lengths count.
        let mut parts = block.text.split("#{n}\n");
        let mut text = self.names.fill(parts.next().unwrap_or_default())?;
        for part in parts {
            let part = self.names.fill(part)?;
            let frame = part.find("\n#").map_or(part.len(), |at| at + 1);
            text.push_str(&format!("#{frame}\n{part}"));
        }
        self.ran.sent += 1;
        self.line(block).await?.write(text.as_bytes()).await
    }

    async fn expect(&mut self, block: &Block) -> Result<(), String> {
        let mut open = Vec::new();
        for frame in block.text.split("\n\n").filter(|frame| !frame.trim().is_empty()) {
            open.extend(entries(matching::parse(frame)?)?);
        }
        let mut names = self.names.clone();
        let line = self.line(block).await?;
        let mut received = 0;
        if open.is_empty() {
            received += 1;
            match line.next().await? {
                Got::Heartbeat => {}
                other => return Err(format!("expected the answer to a heartbeat, found {other}")),
            }
        }
        while !open.is_empty() {
            received += 1;
            let found = match line.next().await? {
                Got::Entry(entry) => Value::Table(entry),
                other => return Err(format!("expected {}found {other}", list(&open))),
            };
            let mut why = Vec::new();
            let fits = open.iter().position(|expected| match names.fit(expected, &found) {
                Ok(()) => true,
                Err(reason) => {
                    why.push(reason);
                    false
                }
            });
            match fits {
                Some(at) => drop(open.remove(at)),
                None => return Err(format!("{}\nexpected {}found\n{found}", why.join("\n"), list(&open))),
            }
        }
        self.names = names;
        self.ran.received += received;
        Ok(())
    }

    async fn closed(&mut self, block: &Block) -> Result<(), String> {
        let Some(mut line) = self.open.remove(&block.who) else {
            return Err("expected an open connection, found none".to_owned());
        };
        match line.next().await? {
            Got::Closed => Ok(()),
            other => Err(format!("expected the server to close the connection, found {other}")),
        }
    }

    async fn call(&mut self, block: &Block, answer: &Block) -> Result<(), String> {
        let Kind::Response(status) = answer.kind else {
            return Err("expected a response after the call, found another block".to_owned());
        };
        let call = http(&self.connect.http(block.edge), &self.names, &block.text)?;
        let expected = Value::Table(matching::parse(&answer.text)?);
        let again = block.text.starts_with("GET ");
        let end = Instant::now() + SETTLED;
        self.ran.calls += 1;
        loop {
            let reply = timeout(SOON, call.clone().try_send())
                .await
                .map_err(|_| "expected an answer, found none")??;
            let fits = match self.names.fit(&expected, &Value::Table(reply.body.clone())) {
                Ok(()) if reply.status == status => return Ok(()),
                Ok(()) => format!("expected the status {status}, found {}", reply.status),
                Err(why) => format!("{why}\nexpected {status} and the body of line {}", answer.line),
            };
            if !again || Instant::now() > end {
                return Err(format!("{fits}\nfound {} and the body\n{}", reply.status, reply.text));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Nothing has come that the document does not show.
    async fn at_rest(mut self) -> Result<Ran, Mistake> {
        for (who, line) in &mut self.open {
            let beat: &[u8] = if line.counted == Some(true) { b"#0\n" } else { b"\n" };
            let end = match line.write(beat).await {
                Ok(()) => line.next().await,
                Err(error) => Err(error),
            };
            let reason = match end {
                Ok(Got::Heartbeat) => continue,
                Ok(other) => other.to_string(),
                Err(error) => error,
            };
            return Err(Mistake::new(
                0,
                format!("expected nothing more for {who} at the end, found {reason}"),
            ));
        }
        Ok(self.ran)
    }
}

fn list(entries: &[Value]) -> String {
    entries.iter().fold(String::new(), |all, entry| format!("{all}\n{entry}"))
}

/// `METHOD path pair…`, then header lines.
fn http(base: &str, names: &Names, text: &str) -> Result<Call, String> {
    let mut lines = text.lines();
    let mut words = words(lines.next().unwrap_or_default())?.into_iter();
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err("expected a method and a path, found less".to_owned());
    };
    let mut call = Call::new(&method, format!("{base}{}", names.fill(&path)?));
    for pair in words {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| format!("expected name=value, found {pair}"))?;
        let value = names.fill(value)?;
        call = if name == "token" { call.token(&value) } else { call.with(name, &value) };
    }
    for header in lines {
        call = match header {
            "Accept: application/json" => call.json(),
            _ => return Err(format!("expected the header Accept: application/json, found {header}")),
        };
    }
    Ok(call)
}

/// Words set apart by spaces; quotes hold spaces together.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().into_iter().for_each(|word| word.push(c)),
        }
    }
    words.retain(|word| !word.is_empty());
    if quoted { Err(format!("expected a closing quote, found none in {line}")) } else { Ok(words) }
}

/// What came down a connection.
enum Got {
    Entry(Table),
    Heartbeat,
    Closed,
}

impl std::fmt::Display for Got {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Entry(entry) => write!(f, "\n{entry}"),
            Self::Heartbeat => f.write_str("a heartbeat"),
            Self::Closed => f.write_str("the connection closed"),
        }
    }
}

struct Line<S> {
    stream: S,
    buffer: Vec<u8>,
    waiting: VecDeque<Table>,
    /// Those that came: receipts come at least once, and a client ignores one that it has.
    receipts: Vec<Table>,
    /// Whether the client's first bytes began a counted frame.
    counted: Option<bool>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new(), waiting: VecDeque::new(), receipts: Vec::new(), counted: None }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.counted.get_or_insert(bytes.starts_with(b"#"));
        self.stream
            .write_all(bytes)
            .await
            .map_err(|error| format!("expected the server to read, found {error}"))
    }

    async fn next(&mut self) -> Result<Got, String> {
        let found = timeout(SOON, self.read()).await;
        found.unwrap_or_else(|_| Err(format!("expected a frame within {SOON:?}, found none")))
    }

    async fn read(&mut self) -> Result<Got, String> {
        loop {
            while let Some(entry) = self.waiting.pop_front() {
                let receipt = is_receipt(&entry);
                if receipt && self.receipts.contains(&entry) {
                    continue;
                }
                if receipt {
                    self.receipts.push(entry.clone());
                }
                return Ok(Got::Entry(entry));
            }
            match self.cut()? {
                Some(frame) if frame.is_empty() => return Ok(Got::Heartbeat),
                Some(frame) => {
                    let frame =
                        frame.parse().map_err(|error| format!("expected TOML, found {error}\n{frame}"))?;
                    for entry in entries(frame)? {
                        self.waiting.extend(entry.as_table().cloned());
                    }
                }
                None => {
                    let mut chunk = [0; 4096];
                    match self.stream.read(&mut chunk).await {
                        // A reset is how a close shows when the server had not read all that was sent.
                        Ok(0) | Err(_) if self.buffer.is_empty() => return Ok(Got::Closed),
                        Ok(0) | Err(_) => {
                            return Err("expected a whole frame, found the end in its midst".to_owned());
                        }
                        Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                    }
                }
            }
        }
    }

    /// The next whole frame; empty for a heartbeat. Its first byte tells the form.
    fn cut(&mut self) -> Result<Option<String>, String> {
        let find = |what: &[u8]| self.buffer.windows(what.len()).position(|window| window == what);
        let (start, end, next) = match self.buffer.first() {
            None => return Ok(None),
            Some(b'\n') => (0, 0, 1),
            Some(b'#') => {
                let Some(line) = find(b"\n") else { return Ok(None) };
                let count = String::from_utf8_lossy(&self.buffer[1..line]);
                let count: usize = count.parse().map_err(|_| format!("expected a count, found {count}"))?;
                (line + 1, line + 1 + count, line + 1 + count)
            }
            Some(_) => match find(b"\n\n") {
                Some(blank) => (0, blank + 1, blank + 2),
                None => return Ok(None),
            },
        };
        if self.buffer.len() < next {
            return Ok(None);
        }
        let frame = String::from_utf8(self.buffer[start..end].to_vec()).map_err(|error| error.to_string())?;
        self.buffer.drain(..next);
        Ok(Some(frame))
    }
}

fn is_receipt(entry: &Table) -> bool {
    let level = entry.get("a").and_then(|ack| ack.get("lvl")).and_then(Value::as_str);
    matches!(level, Some("delivered" | "read"))
}

/// A frame's entries, each as `{ kind: entry }`.
fn entries(frame: Table) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    for (kind, value) in frame {
        let Value::Array(tables) = value else { return Err(format!("expected [[{kind}]], found {value}")) };
        all.extend(tables.into_iter().map(|entry| Value::Table(Table::from_iter([(kind.clone(), entry)]))));
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
