//! The client against a server that does exactly what each test wants.

mod connecting;
mod moving;
mod receiving;
mod sending;

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use toml::Table;

use super::{Backoff, Options, wire::Cutter};
use crate::ids::{Device, UserId};

/// Longer than anything here takes; what is awaited for so long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A port that fakes a node.
struct Node {
    listener: TcpListener,
}

impl Node {
    async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// User 1 on the device `d`, with short times.
    fn options(&self) -> Options {
        Options {
            server: Some(self.address()),
            backoff: Backoff { first: Duration::from_millis(5), max: Duration::from_millis(20) },
            first_login: Duration::from_secs(5),
            ..Options::new(UserId(1), Device::new("d").unwrap(), "secret")
        }
    }

    async fn accept(&self) -> Peer {
        let (stream, _) = timeout(PATIENCE, self.listener.accept()).await.expect("no connection").unwrap();
        Peer { stream, cutter: Cutter::default(), entries: Vec::new() }
    }

    /// Accepts and answers a login, which must be of this kind.
    async fn login(&self, kind: &str) -> Peer {
        let mut peer = self.accept().await;
        let login = peer.entry().await;
        assert_eq!(login["t"].as_str(), Some(kind), "{login}");
        assert_eq!(login["user"].as_table().unwrap()["token"].as_str(), Some("secret"));
        peer.write(&format!("[[rr]]\nid = {}\nt = \"{kind}\"\ns = 0\n", login["id"])).await;
        peer
    }
}

/// One connection as the fake node has it.
struct Peer {
    stream: TcpStream,
    cutter: Cutter,
    /// Read and not yet taken.
    entries: Vec<Table>,
}

impl Peer {
    /// The next frame; `None` at the end of the stream.
    async fn frame(&mut self) -> Option<String> {
        let read = async {
            loop {
                if let Some(frame) = self.cutter.next().unwrap() {
                    return Some(String::from_utf8(frame.into()).unwrap());
                }
                if self.stream.read_buf(&mut self.cutter.buffer).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
        };
        timeout(PATIENCE, read).await.expect("no frame")
    }

    /// The next entry of any frame.
    async fn entry(&mut self) -> Table {
        while self.entries.is_empty() {
            let frame: Table = self.frame().await.expect("a frame before the end").parse().unwrap();
            for (_, rows) in frame {
                self.entries
                    .extend(rows.as_array().unwrap().iter().map(|row| row.as_table().unwrap().clone()));
            }
        }
        self.entries.remove(0)
    }

    /// One key of each of the next entries.
    async fn next<const N: usize>(&mut self, key: &str) -> [String; N] {
        let mut values = [const { String::new() }; N];
        for value in &mut values {
            *value = self.entry().await[key].to_string();
        }
        values
    }

    async fn write(&mut self, frame: &str) {
        self.stream.write_all(format!("#{}\n{frame}", frame.len()).as_bytes()).await.unwrap();
    }

    async fn stored(&mut self, entry: &Table, seq: i64) {
        self.write(&format!("[[a]]\nid = {}\nlvl = \"stored\"\nts = 5\nseq = {seq}\n", entry["id"])).await;
    }

    /// Delivers a message of user 2 to user 1.
    async fn deliver(&mut self, seq: i64) {
        self.write(&format!(
            "[[m]]\nid = \"x{seq}\"\nc = \"text {seq}\"\nts = 5\nseq = {seq}\n[m.to]\nid = 1\n[m.from]\nid = 2\ndevice = \"e\"\n"
        ))
        .await;
    }
}
