//! A script of simple_im's original client, unchanged, at a stack that `simple-im up --compat` has started: it knows one HTTP
//! address, connects where the answer says, and speaks as simple_im.md's curl lines and its own one-line frames do.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::path::Path;

use simple_im::record::{Addresses, Kind, Stack};
use tests::{
    harness::SOON,
    original::{Old, shown},
    private::{Data, simple_im, text},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The addresses of the stack's edges.
fn edges(data: &Path) -> Vec<Addresses> {
    let stack = Stack::read(data).unwrap().unwrap();
    let edges = stack.process.into_iter().filter(|process| process.kind == Kind::Edge);
    edges.map(|edge| edge.addresses).collect()
}

/// A call as they make it, with a form or nothing as its body; the answer's body.
async fn call(http: &str, method: &str, path: &str, token: Option<&str>, form: &str) -> String {
    let mut stream = TcpStream::connect(http).await.unwrap();
    let cookie = token.map(|token| format!("cookie: token={token}\r\n")).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {http}\r\nte: \r\nconnection: close\r\n{cookie}\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    body.to_owned()
}

/// What stands behind this key; strings without their quotes.
fn value(body: &str, key: &str) -> String {
    let line = body.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")));
    line.unwrap_or_else(|| panic!("no {key} in {body}")).trim_matches('"').to_owned()
}

/// Where an answer sends them.
fn sent_to(answer: &str) -> String {
    format!("{}:{}", value(answer, "server"), value(answer, "port"))
}

/// Somebody who has an account.
struct Person {
    id: i64,
    token: String,
    /// Where the login sends them.
    sent_to: String,
}

async fn registered(http: &str, phone: &str, name: &str) -> Person {
    let form = format!("phone={phone}&name={name}&password=888888");
    assert_eq!(call(http, "POST", "/user", None, &form).await, "[[response]]\nstatus = 0\n");
    let form = format!("phone={phone}&password=888888");
    let login = call(http, "POST", "/server/login", None, &form).await;
    assert!(login.starts_with("[[response]]\nstatus = 0\n"), "{login}");
    assert!(login.contains("\nport = \"") && login.contains("\n[response.user]\nid = "), "{login}");
    Person {
        id: value(&login, "id").parse().unwrap(),
        token: value(&login, "token"),
        sent_to: sent_to(&login),
    }
}

#[tokio::test]
async fn an_original_client_talks_through_a_stack_with_compat() {
    let data = Data::new(2, 1);
    let at = text(data.path());
    let said =
        simple_im(&["up", "--detach", "--compat", "--data", at, "--edges", "2", "--workers", "1"]).await;
    let edges = edges(data.path());
    let compat: Vec<&str> = edges.iter().map(|edge| edge.compat.as_deref().unwrap()).collect();
    for address in &compat {
        assert!(said.contains(&format!("simple_im's original clients at {address}")), "{said}");
    }
    let http = |edge: usize| edges[edge].compat_http.as_deref().unwrap();

    let alice = registered(http(0), "13812652243", "alice").await;
    let bob = registered(http(1), "13812652244", "bob").await;
    for person in [&alice, &bob] {
        assert!(compat.contains(&person.sent_to.as_str()), "{}", person.sent_to);
    }
    let mut a = Old::connect(&alice.sent_to, "alice").await;
    a.logs_in("login", alice.id, "ipad", &alice.token).await;
    let mut b = Old::connect(&bob.sent_to, "bob").await;
    b.logs_in("login", bob.id, "iphone", &bob.token).await;
    // Twice the same is two messages; the addressee's number is a string.
    for _ in 0..2 {
        a.say(&format!("[[m]] id = \"a_02\" c = \"hello\" to = \"{}\"", bob.id)).await;
        a.hear_ack("a_02").await;
        b.hear_and_ack(&shown("hello", "a_02", bob.id, alice.id, "ipad"), "a_02").await;
    }
    b.say(&format!("[[m]] id = \"a_02\" c = \"and you\" to = {}", alice.id)).await;
    b.hear_ack("a_02").await;
    a.hear_and_ack(&shown("and you", "a_02", alice.id, bob.id, "iphone"), "a_02").await;

    // Back on the other edge, by the calls that it makes for it.
    drop(b);
    let form = format!("id={}", bob.id);
    let back = call(http(0), "POST", "/server/reconnect", Some(&bob.token), &form).await;
    assert!(back.starts_with("[[response]]\nstatus = 0\nserver = \""), "{back}");
    assert!(compat.contains(&sent_to(&back).as_str()), "{back}");
    let mut b = Old::connect(&sent_to(&back), "bob").await;
    b.logs_in("reconnect", bob.id, "iphone", &bob.token).await;
    a.say(&format!("[[m]] id = \"a_02\" c = \"welcome back\" to = {}", bob.id)).await;
    a.hear_ack("a_02").await;
    let mut entry = b.entry().await;
    // What was acknowledged within the last second may come again.
    while entry.contains("c = \"hello\"") {
        b.say("[[a]] id=\"a_02\"").await;
        entry = b.entry().await;
    }
    assert!(entry.starts_with("[[m]]\nc = \"welcome back\"\nid = \"a_02\"\nts = "), "{entry}");
    let online = call(http(1), "POST", "/server/failed", Some(&bob.token), "").await;
    assert_eq!(online, "[[response]]\nstatus = 3\nr = \"IM is online\"\n");
    // Everybody else is sent to the ordinary port, as ever.
    let login = call(
        edges[0].http.as_deref().unwrap(),
        "POST",
        "/server/login",
        None,
        "phone=13812652243&password=888888",
    );
    let login = login.await;
    assert!(edges.iter().any(|edge| edge.tcp.as_deref() == Some(&sent_to(&login))), "{login}");
    simple_im(&["down", "--data", at]).await;
}
