//! A raw WebSocket connection: messages out, entries in, compared with the TOML that a test expects, whichever dialect.

use std::{collections::VecDeque, sync::Arc};

use futures::{SinkExt, StreamExt};
use shared::tls;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, protocol::frame::coding::CloseCode},
};
use toml::Table;

use crate::{
    harness::{SOON, System},
    people::{User, login_frame},
    wire::{body, entries_of, must_be, unindent},
};

/// What frames are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tongue {
    /// TOML.
    Toml,
    /// JSON.
    Json,
}

/// The bytes below, encrypted or not.
trait Bytes: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug> Bytes for T {}

/// One connection.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<Box<dyn Bytes>>,
    tongue: Tongue,
    waiting: VecDeque<Table>,
}

/// What came down a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Got {
    /// One entry, as a table with one key.
    Entry(Table),
    /// The answer to a heartbeat.
    Heartbeat,
    /// The server's answer to a ping.
    Pong,
    /// The server has closed, with this code.
    Closed(u16),
}

impl Socket {
    /// Connects to a node's `http://…`, with these headers.
    ///
    /// # Errors
    /// The status of a refused upgrade.
    pub async fn connect(http: &str, tongue: Tongue, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        Self::connect_over(http, None, tongue, headers).await
    }

    /// The same to `https://…`, trusting whom `tls` says.
    ///
    /// # Errors
    /// As [`Self::connect`].
    ///
    /// # Panics
    /// When there is no TLS with it.
    pub async fn connect_over(
        http: &str,
        tls: Option<&tls::Client>,
        tongue: Tongue,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, u16> {
        let (scheme, host) = http.split_once("://").expect("a base has a scheme");
        let tcp = TcpStream::connect(host).await.unwrap_or_else(|e| panic!("cannot connect to {host}: {e}"));
        tcp.set_nodelay(true).expect("a fresh socket takes options");
        let stream: Box<dyn Bytes> = match tls {
            Some(tls) => {
                assert_eq!(scheme, "https");
                let connector = TlsConnector::from(Arc::new(tls.config(&[b"http/1.1"])));
                let name = "localhost".try_into().expect("it is a name");
                Box::new(connector.connect(name, tcp).await.expect("TLS"))
            }
            None => Box::new(tcp),
        };
        let mut request = format!("ws://{host}/ws").into_client_request().expect("it is a URL");
        if tongue == Tongue::Json {
            request.headers_mut().insert("sec-websocket-protocol", "simple-im.json".parse().expect("plain"));
        }
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("tests send valid headers"));
        }
        match client_async(request, stream).await {
            Ok((stream, _)) => Ok(Self { stream, tongue, waiting: VecDeque::new() }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("no upgrade: {error}"),
        }
    }

    /// Sends a frame, given as TOML, in the connection's own dialect.
    pub async fn send(&mut self, toml: &str) {
        let text = match self.tongue {
            Tongue::Toml => unindent(toml),
            Tongue::Json => {
                let table: Table = toml.parse().unwrap_or_else(|e| panic!("not TOML: {e}\n{toml}"));
                serde_json::to_string(&table).expect("tables are JSON")
            }
        };
        self.send_text(&text).await;
    }

    /// Sends a message as it is.
    pub async fn send_text(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    /// Sends any message.
    pub async fn send_message(&mut self, message: Message) {
        self.stream.send(message).await.expect("the server reads");
    }

    /// The next thing that comes.
    ///
    /// # Panics
    /// When nothing comes, or what is no frame of this dialect.
    pub async fn got(&mut self) -> Got {
        if let Some(entry) = self.waiting.pop_front() {
            return Got::Entry(entry);
        }
        let message = timeout(SOON, self.stream.next()).await.expect("something comes in time");
        match message {
            Some(Ok(Message::Text(text))) => {
                let empty = if self.tongue == Tongue::Json { "{}" } else { "" };
                if text.as_str() == empty {
                    return Got::Heartbeat;
                }
                let table = match self.tongue {
                    Tongue::Toml => text.parse().map_err(|e| format!("{e}")),
                    Tongue::Json => serde_json::from_str(&text).map_err(|e| e.to_string()),
                };
                let table = table.unwrap_or_else(|e| panic!("not a frame of this dialect: {e}\n{text}"));
                self.waiting.extend(entries_of(table));
                Got::Entry(self.waiting.pop_front().expect("a frame has an entry"))
            }
            Some(Ok(Message::Pong(_))) => Got::Pong,
            Some(Ok(Message::Close(frame))) => Got::Closed(frame.map_or(1005, |frame| frame.code.into())),
            Some(Ok(other)) => panic!("expected a text, found {other:?}"),
            Some(Err(_)) | None => Got::Closed(CloseCode::Abnormal.into()),
        }
    }

    /// The next entry must be this one (`…` stands for any value); what it holds is returned.
    ///
    /// # Panics
    /// When it is another one.
    pub async fn expect(&mut self, toml: &str) -> Table {
        match self.got().await {
            Got::Entry(found) => {
                must_be(toml, &found);
                body(&found)
            }
            other => panic!("expected {toml}\nfound {other:?}"),
        }
    }

    /// The next thing must be this.
    ///
    /// # Panics
    /// When it is not.
    pub async fn expect_got(&mut self, expected: &Got) {
        assert_eq!(&self.got().await, expected);
    }

    /// Sends a heartbeat; the next thing that comes must be its answer.
    ///
    /// # Panics
    /// When something else comes before it.
    pub async fn nothing_but_heartbeat(&mut self) {
        self.send_text("").await;
        self.expect_got(&Got::Heartbeat).await;
    }

    /// Sends a message to a user; the next thing that comes must be its ack, with this `seq`.
    pub async fn say(&mut self, id: &str, to: &User, text: &str, seq: i64) {
        self.send(&format!("[[m]]\nid = \"{id}\"\nc = \"{text}\"\nto = {}", to.id)).await;
        self.expect(&crate::people::stored(id, seq)).await;
    }

    /// Acknowledges exactly this delivery from a user.
    pub async fn acknowledge(&mut self, seq: i64, from: &User) {
        self.send(&format!("[[a]]\nseq = {seq}\n[a.from]\nid = {}", from.id)).await;
    }

    /// Drops the connection without a word.
    pub fn drop_it(self) {
        drop(self.stream.into_inner());
    }
}

impl System {
    /// A WebSocket connection of this user's device, logged in by a frame with a token of its own.
    pub async fn socket(&self, user: &User, device: &str, edge: usize, tongue: Tongue) -> Socket {
        let token = self.token(user, device).await;
        self.socket_with(user, device, &token, edge, tongue).await
    }

    /// The same with this token.
    pub async fn socket_with(
        &self,
        user: &User,
        device: &str,
        token: &str,
        edge: usize,
        tongue: Tongue,
    ) -> Socket {
        let mut socket =
            Socket::connect(&self.http(edge), tongue, &[]).await.expect("nothing speaks against it");
        socket.send(&login_frame(user.id, device, token)).await;
        socket.expect("[[rr]]\nid = \"login\"\nt = \"login\"\ns = 0").await;
        socket
    }

    /// What a browser keeps of a login.
    pub async fn cookie(&self, user: &User, device: &str) -> String {
        let call = self.call(0, "POST", "/server/login").with("phone", &user.phone);
        let reply = call.with("password", &user.password).with("device", device).by_cookie(None).send().await;
        let expected = "[[response]]\nstatus = 0\nserver = \"…\"\nport = \"…\"\n[response.user]\nid = \"…\"";
        reply.expect(200, expected).cookie()
    }
}

/// The login of a page, which has no token to show.
pub fn cookie_login(user: &User, device: &str) -> String {
    format!("[[r]]\nid = \"login\"\nt = \"login\"\n[r.user]\nid = {}\ndevice = \"{device}\"\n", user.id)
}
