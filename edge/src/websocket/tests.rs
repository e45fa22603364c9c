//! Messages to frames and back over a socket that gives and takes as little as it likes, and what may be upgraded.

use std::{
    io,
    task::{Context as Task, Poll},
};

use axum::{body::Body, extract::Request};
use proptest::prelude::*;
use tungstenite::{Message, protocol::Role};

use super::{
    handshake::{self, Shaken},
    wire::WebSocket,
};
use crate::{
    http::origin::Origins,
    session::{dialect::Dialect, end::End, wire::Wire},
};

/// A socket in memory.
#[derive(Default)]
struct Fake {
    incoming: Vec<u8>,
    closed: bool,
    /// How much goes at a time, and whether every second try has to wait.
    step: usize,
    waits: bool,
    turn: bool,
    outgoing: Vec<u8>,
}

impl Fake {
    fn now(&mut self) -> io::Result<()> {
        self.turn = !self.turn;
        if self.waits && self.turn { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }
}

impl Wire for Fake {
    fn poll_readable(&self, _: &mut Task<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.now()?;
        if self.incoming.is_empty() {
            return if self.closed { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = self.incoming.len().min(self.step).min(buffer.len());
        buffer[..count].copy_from_slice(&self.incoming[..count]);
        self.incoming.drain(..count);
        Ok(count)
    }

    fn poll_writable(&self, _: &mut Task<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.now()?;
        let count = bytes.len().min(self.step);
        self.outgoing.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    async fn shut(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn shaken(dialect: Dialect) -> Shaken {
    let mut shaken = handshake::check(&request(&[]), &Origins::default()).unwrap();
    shaken.dialect = dialect;
    shaken
}

fn request(changed: &[(&'static str, &str)]) -> Request {
    let mut request = Request::new(Body::empty());
    for (name, value) in [
        ("host", "127.0.0.1:8080"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    .iter()
    .chain(changed)
    {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

/// What a client's messages are on the wire.
fn sent(messages: &[Message]) -> Vec<u8> {
    let mut client = tungstenite::WebSocket::from_raw_socket(io::Cursor::new(Vec::new()), Role::Client, None);
    for message in messages {
        client.send(message.clone()).unwrap();
    }
    client.into_inner().into_inner()
}

/// The messages that a client reads there.
fn seen(bytes: Vec<u8>) -> Vec<Message> {
    let mut client = tungstenite::WebSocket::from_raw_socket(io::Cursor::new(bytes), Role::Client, None);
    std::iter::from_fn(|| client.read().ok()).collect()
}

/// Reads until nothing more comes.
fn read(wire: &mut impl Wire, buffer: usize) -> Vec<u8> {
    let (mut all, mut idle) = (Vec::new(), 0);
    let mut buffer = vec![0; buffer];
    while idle < 3000 {
        match wire.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                all.extend_from_slice(&buffer[..count]);
                idle = 0;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => idle += 1,
            Err(error) => panic!("{error}"),
        }
    }
    all
}

/// As the driver does: what is left is offered until it has been taken.
fn write(wire: &mut impl Wire, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match wire.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn counted(texts: &[String]) -> Vec<u8> {
    texts.iter().flat_map(|text| format!("#{}\n{text}", text.len()).into_bytes()).collect()
}

proptest! {
    #[test]
    fn messages_are_counted_frames_however_the_socket_cuts_them(
        texts in proptest::collection::vec("[a-z大\n]{1,200}", 1..12), step in 1usize..40, buffer in 1usize..60,
        waits: bool, ahead in 0usize..50,
    ) {
        // A message of blanks alone is a heartbeat.
        let texts: Vec<String> = texts.into_iter().map(|text| format!("x{text}")).collect();
        let mut messages: Vec<Message> = Vec::new();
        for text in &texts {
            messages.extend([Message::text(text.as_str()), Message::Ping("p".into())]);
        }
        let bytes = sent(&messages);
        let ahead = ahead.min(bytes.len());
        let fake = Fake { incoming: bytes[ahead..].to_vec(), step, waits, ..Fake::default() };
        let mut wire = WebSocket::new(fake, &bytes[..ahead].to_vec().into(), shaken(Dialect::Standard), 4096);
        prop_assert_eq!(read(&mut wire, buffer), counted(&texts));
    }

    #[test]
    fn frames_are_messages_once_however_little_the_socket_takes(
        texts in proptest::collection::vec("[a-z大\n]{1,5000}", 1..12), step in 1usize..3000, waits: bool,
    ) {
        let fake = Fake { step, waits, ..Fake::default() };
        let mut wire = WebSocket::new(fake, &Default::default(), shaken(Dialect::Standard), 4096);
        write(&mut wire, &counted(&texts));
        let expected: Vec<Message> = texts.iter().map(Message::text).collect();
        prop_assert_eq!(seen(wire.into_wire().outgoing), expected);
    }
}

#[test]
fn heartbeats_have_a_spelling_in_each_dialect() {
    for (dialect, spelt, shown) in
        [(Dialect::Standard, &["", " \n"][..], ""), (Dialect::Json, &["", "{}", " {} "][..], "{}")]
    {
        let messages: Vec<Message> = spelt.iter().map(|text| Message::text(*text)).collect();
        let fake = Fake { incoming: sent(&messages), step: 100, ..Fake::default() };
        let mut wire = WebSocket::new(fake, &Default::default(), shaken(dialect), 100);
        assert_eq!(read(&mut wire, 100), b"#0\n".repeat(spelt.len()));
        write(&mut wire, b"#0\n");
        assert_eq!(seen(wire.into_wire().outgoing), [Message::text(shown)]);
    }
}

#[test]
fn a_message_over_the_limit_is_told_by_its_length_and_nothing_behind_it_is_read() {
    let messages = [Message::text("ok"), Message::text("x".repeat(101)), Message::text("y".repeat(3000))];
    let fake = Fake { incoming: sent(&messages), step: 10_000, closed: true, ..Fake::default() };
    let mut wire = WebSocket::new(fake, &Default::default(), shaken(Dialect::Standard), 100);
    let mut buffer = [0; 64];
    let count = wire.try_read(&mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"#2\nok#101\n");
    // What is left is thrown away, and its end is seen.
    while wire.try_read(&mut buffer).unwrap() > 0 {}
    wire.ends(End::BadStream);
    futures::executor::block_on(wire.shut()).unwrap();
    let Some(Message::Close(Some(frame))) = seen(wire.into_wire().outgoing).pop() else { panic!("no close") };
    assert_eq!(u16::from(frame.code), 1009);
}

#[test]
fn what_breaks_the_protocol_is_closed_with_its_code() {
    let unmasked = {
        let mut server =
            tungstenite::WebSocket::from_raw_socket(io::Cursor::new(Vec::new()), Role::Server, None);
        server.send(Message::text("x")).unwrap();
        server.into_inner().into_inner()
    };
    let mut not_utf8 = sent(&[Message::binary(vec![0xff, 0xff])]);
    not_utf8[0] = 0x81;
    for (incoming, code) in [(unmasked, 1002), (not_utf8, 1007)] {
        let fake = Fake { incoming, step: 100, ..Fake::default() };
        let mut wire = WebSocket::new(fake, &Default::default(), shaken(Dialect::Standard), 100);
        assert_eq!(wire.try_read(&mut [0; 64]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let Some(Message::Close(Some(frame))) = seen(wire.into_wire().outgoing).pop() else {
            panic!("no close")
        };
        assert_eq!(u16::from(frame.code), code);
    }
}

#[test]
fn only_a_whole_handshake_of_our_own_page_is_taken() {
    for (changed, status) in [
        (("upgrade", "h2c"), 426),
        (("connection", "close"), 426),
        (("sec-websocket-version", "8"), 426),
        (("sec-websocket-key", "short"), 400),
        (("origin", "https://evil.example"), 403),
    ] {
        let refused = handshake::check(&request(&[changed]), &Origins::default()).unwrap_err();
        assert_eq!(refused.status.as_u16(), status, "{changed:?}");
    }
    let json = request(&[
        ("sec-websocket-protocol", "other, simple-im.json"),
        ("origin", "http://127.0.0.1:8080"),
        ("cookie", "im_session=abc"),
    ]);
    let shaken = handshake::check(&json, &Origins::default()).unwrap();
    assert_eq!((shaken.dialect, shaken.token.is_some()), (Dialect::Json, true));
    let response = shaken.response();
    assert_eq!(response.status(), 101);
    // The key and its answer are RFC 6455's own example.
    assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(response.headers()["sec-websocket-protocol"], "simple-im.json");
    let plain = handshake::check(&request(&[]), &Origins::default()).unwrap();
    assert_eq!((plain.dialect, plain.token), (Dialect::Standard, None));
}
