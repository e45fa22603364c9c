//! The API over a real socket, with a fake in place of the workers.

use std::{collections::BTreeMap, net::SocketAddr, sync::Mutex, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use shared::{
    command::{CALLS, Caller},
    ids::TokenDigest,
    rpc::HttpReply,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

use super::*;
use crate::calls::CallError;

mod originals;

type Answer = fn(&'static str, &HttpCall) -> Result<HttpReply, Failure>;

struct Fake {
    asked: Arc<Mutex<Vec<(&'static str, HttpCall)>>>,
    answer: Answer,
}

impl Backend for Fake {
    fn call<'a>(&'a self, call: &'static str, asked: HttpCall) -> BoxFuture<'a, Result<HttpReply, Failure>> {
        let answer = (self.answer)(call, &asked);
        self.asked.lock().unwrap().push((call, asked));
        async move { answer }.boxed()
    }
}

struct Api {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(&'static str, HttpCall)>>>,
    ready: Readiness,
    shutdown: CancellationToken,
    served: JoinHandle<()>,
}

impl Api {
    async fn start(answer: Answer) -> Self {
        Self::with(answer, Limits { body_bytes: 1000, ..Limits::default() }).await
    }

    async fn with(answer: Answer, limits: Limits) -> Self {
        Self::changed(answer, limits, |state| state).await
    }

    async fn changed(answer: Answer, limits: Limits, change: fn(HttpState) -> HttpState) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let ready = Readiness::default();
        let state = change(HttpState::new(Fake { asked: asked.clone(), answer }, limits, ready.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(serve(listener, state, shutdown.clone()));
        Self { address, asked, ready, shutdown, served }
    }

    async fn ask(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> Seen {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let head =
            format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{length}{headers}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        Seen::read(&String::from_utf8(answer).unwrap())
    }

    async fn form(&self, target: &str, body: &str) -> Seen {
        let kind = "content-type: application/x-www-form-urlencoded\r\n";
        self.ask("POST", target, kind, body.as_bytes()).await
    }

    fn last(&self) -> (&'static str, HttpCall) {
        self.asked.lock().unwrap().last().expect("a call was made").clone()
    }

    fn calls(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

#[derive(Debug)]
struct Seen {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Seen {
    fn read(answer: &str) -> Self {
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self { status, headers, body: body.to_owned() }
    }

    #[track_caller]
    fn refused(&self, status: u16, code: &str, reason: &str) {
        assert_eq!(self.status, status, "{self:?}");
        let body: toml::Table = toml::from_str(&self.body).unwrap();
        let response = body["response"][0].as_table().unwrap();
        assert_eq!(response["status"].as_integer(), Some(1), "{self:?}");
        assert_eq!(response["code"].as_str(), Some(code), "{self:?}");
        let found = response["r"].as_str().unwrap();
        assert!(found.contains(reason) && found.contains("expected"), "{reason:?} in {found:?}");
    }
}

fn fine(_: &'static str, _: &HttpCall) -> Result<HttpReply, Failure> {
    let body = "[[response]]\nstatus = 0\nserver = \"192.168.3.5\"\nport = 1987\n[response.user]\nid = 1\n";
    Ok(HttpReply { status: 200, retry_after: None, body: toml::from_str(body).unwrap() })
}

const COOKIE: &str = "cookie: token=rylFLDGW4NN0h4leO97O/Gibar8KQS8l\r\n";

#[tokio::test]
async fn a_login_is_taken_apart_and_answered_as_simple_im_shows_it() {
    let api = Api::start(fine).await;
    let seen = api.form("/server/login", "phone=13812652243&password=a%2Bb+c%25%26%3D%E5%A4%A7").await;
    assert_eq!(seen.status, 200);
    assert_eq!(seen.headers["content-type"], "application/toml; charset=utf-8");
    assert_eq!(seen.headers["cache-control"], "no-store");
    assert_eq!(
        seen.body,
        "[[response]]\nstatus = 0\nserver = \"192.168.3.5\"\nport = \"1987\"\n[response.user]\nid = 1\n"
    );
    let (name, call) = api.last();
    assert_eq!(name, "account.login");
    assert_eq!(call.token, None);
    assert!(call.peer.is_loopback());
    assert_eq!(call.args["phone"], "13812652243");
    assert_eq!(call.args["password"], "a+b c%&=大");
}

#[tokio::test]
async fn every_call_of_the_table_is_routed() {
    let api = Api::start(fine).await;
    for call in CALLS {
        let path = call.path.replace("{phone}", "7").replace("{id}", "7").replace("{version}", "7");
        let body: Vec<_> = call
            .args
            .iter()
            .filter_map(|arg| arg.strip_suffix('!'))
            .filter(|arg| !call.path.contains(&format!("{{{arg}}}")))
            .map(|arg| format!("{arg}=7"))
            .collect();
        let headers = if call.caller == Caller::Token { COOKIE } else { "" };
        let seen = api.ask(call.method, &path, headers, body.join("&").as_bytes()).await;
        assert_eq!(seen.status, 200, "{}: {seen:?}", call.name);
        let (name, asked) = api.last();
        assert_eq!(name, call.name);
        let digest = TokenDigest::of("rylFLDGW4NN0h4leO97O/Gibar8KQS8l");
        assert_eq!(asked.token, (call.caller == Caller::Token).then_some(digest), "{}", call.name);
        if call.caller == Caller::Token {
            let made = api.calls();
            api.ask(call.method, &path, "", body.join("&").as_bytes()).await.refused(
                401,
                "token",
                "cookie token",
            );
            assert_eq!(api.calls(), made, "{} reached a worker without a token", call.name);
        }
    }
}

#[tokio::test]
async fn path_query_and_bodies_of_every_kind_are_merged() {
    let api = Api::start(fine).await;
    for (kind, body) in [
        ("application/x-www-form-urlencoded; charset=UTF-8", "phone=007&name=a+b&password=p"),
        ("application/toml", "phone = \"007\"\nname = 'a b'\npassword = \"p\"\n"),
        ("application/json", r#"{"phone":"007","name":"a b","password":"p"}"#),
    ] {
        let headers = format!("content-type: {kind}\r\n");
        let seen = api.ask("POST", "/user?avatar=x%20y", &headers, body.as_bytes()).await;
        assert_eq!(seen.status, 200, "{seen:?}");
        let expected = [("avatar", "x y"), ("name", "a b"), ("password", "p"), ("phone", "007")];
        let expected: BTreeMap<_, _> =
            expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(api.last().1.args, expected, "{kind}");
    }
    for (kind, body) in [
        ("toml", "phone = 7\nname = \"n\"\npassword = 888888"),
        ("json", r#"{"phone":7,"name":"n","password":888888}"#),
    ] {
        let headers = format!("content-type: application/{kind}\r\n");
        assert_eq!(api.ask("POST", "/user", &headers, body.as_bytes()).await.status, 200);
        assert_eq!(api.last().1.args["password"], "888888");
    }
    assert_eq!(api.ask("GET", "/user/phone/%2B49%20151", COOKIE, b"").await.status, 200);
    assert_eq!(api.last().1.args["phone"], "+49 151");
    assert_eq!(api.ask("GET", "/user/phone/+49", COOKIE, b"").await.status, 200);
    assert_eq!(api.last().1.args["phone"], "+49", "a + in a path is a +");
}

#[tokio::test]
async fn bad_arguments_are_refused_before_any_worker_hears_of_them() {
    let api = Api::start(fine).await;
    let long = format!("phone=1&password={}", "x".repeat(990));
    for (body, status, code, reason) in [
        ("phone=1", 400, "invalid", "argument password, found none"),
        ("", 400, "invalid", "argument phone, found none"),
        (
            "phone=1&password=2&colour=red",
            400,
            "invalid",
            "phone, password, device, found the argument colour",
        ),
        ("phone=1&phone=1&password=2", 400, "invalid", "phone once"),
        ("phone=1&password=a%00b", 400, "invalid", "U+0000"),
        ("phone=1&password=50%", 400, "malformed", "hex digits after each % in password"),
        ("phone=1&password=%zz", 400, "malformed", "hex digits"),
        ("phone=1&password=%+1", 400, "malformed", "hex digits"),
        ("phone=1&password=%ff", 400, "malformed", "UTF-8 in password"),
        (&long, 413, "too_long", "at most 1000 bytes"),
    ] {
        api.form("/server/login", body).await.refused(status, code, reason);
    }
    for (kind, body, code, reason) in [
        ("application/toml", "phone = ", "malformed", "expected TOML"),
        ("application/toml", "phone = 1\nphone = 2\npassword = 3", "malformed", "duplicate key"),
        ("application/toml", "phone = 1.5\npassword = 3", "invalid", "string or a whole number in phone"),
        ("application/toml", "phone = \"a\\u0000\"\npassword = 3", "invalid", "U+0000"),
        ("application/json", "[1]", "malformed", "JSON object"),
        ("application/json", r#"{"phone":1,"phone":2,"password":3}"#, "invalid", "phone once"),
        ("application/json", r#"{"phone":null,"password":3}"#, "invalid", "null"),
        ("multipart/form-data; boundary=x", "--x", "malformed", "found multipart/form-data"),
    ] {
        let headers = format!("content-type: {kind}\r\n");
        api.ask("POST", "/server/login", &headers, body.as_bytes()).await.refused(400, code, reason);
    }
    for (target, reason) in [
        ("/history?with=1&with=2", "with once"),
        ("/history?until=1", "with, group, before, limit"),
        ("/history?with=%e5", "UTF-8 in with"),
        ("/group?x=1", "one of after"),
        ("/user/id/%2", "hex digits"),
        ("/user/id/%ff", "UTF-8"),
        ("/user/id/1?id=2", "id once"),
    ] {
        let seen = api.ask("GET", target, COOKIE, b"").await;
        let code = if reason.contains("UTF-8") || reason.contains("hex") { "malformed" } else { "invalid" };
        seen.refused(400, code, reason);
    }
    api.ask("POST", "/server/logout?x=1", COOKIE, b"").await.refused(400, "invalid", "no arguments");
    let value = format!("/history?with={}", "9".repeat(args::VALUE_BYTES + 1));
    api.ask("GET", &value, COOKIE, b"").await.refused(
        400,
        "invalid",
        "at most 4096 bytes in the argument with",
    );
    assert_eq!(api.calls(), 0);
}

#[tokio::test]
async fn no_secret_comes_back_in_a_reason() {
    let api = Api::start(fine).await;
    for (kind, body) in [
        ("application/x-www-form-urlencoded", "phone=1&password=hunter2%"),
        ("application/toml", "phone = 1\npassword = \"hunter2"),
        ("application/json", "\"hunter2\""),
        ("application/json", "{\"phone\":1,\"password\":\"hunter2}"),
    ] {
        let seen =
            api.ask("POST", "/server/login", &format!("content-type: {kind}\r\n"), body.as_bytes()).await;
        assert_eq!(seen.status, 400);
        assert!(!seen.body.contains("hunter2"), "{seen:?}");
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_answered_in_the_same_shape() {
    let api = Api::start(fine).await;
    api.ask("GET", "/nowhere", "", b"").await.refused(404, "unknown", "/nowhere");
    api.ask("GET", "/user/phone/", COOKIE, b"").await.refused(404, "unknown", "/user/phone/");
    let seen = api.ask("PATCH", "/user", COOKIE, b"").await;
    seen.refused(405, "unknown", "found PATCH");
    assert_eq!(seen.headers["allow"], "POST,PUT");
    let seen = api.ask(&"BREW".repeat(1000), "/user", COOKIE, b"").await;
    seen.refused(405, "unknown", "found BREWBREW");
    assert!(seen.body.len() < 300, "an answer that repeats {} bytes", seen.body.len());
    assert_eq!(api.ask("HEAD", "/offline", COOKIE, b"").await.status, 405, "it would move the watermark");
    assert_eq!(api.calls(), 0);
    let json = api.ask("GET", "/nowhere", "accept: application/json\r\n", b"").await;
    let body: serde_json::Value = serde_json::from_str(&json.body).unwrap();
    assert_eq!((json.status, &body["response"][0]["code"]), (404, &serde_json::json!("unknown")));
}

#[tokio::test]
async fn json_carries_the_same_tables() {
    let api = Api::start(fine).await;
    let seen = api.ask("GET", "/group", &format!("{COOKIE}accept: application/json\r\n"), b"").await;
    assert_eq!(seen.headers["content-type"], "application/json");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&seen.body).unwrap(),
        serde_json::json!({"response": [{"status": 0, "server": "192.168.3.5", "port": "1987", "user": {"id": 1}}]})
    );
}

#[tokio::test]
async fn a_workers_status_and_waiting_time_pass_through() {
    let api = Api::start(|_, _| {
        let body = "[[response]]\nstatus = 1\nr = \"slow down\"\ncode = \"rate_limited\"\n";
        Ok(HttpReply { status: 429, retry_after: Some(17), body: toml::from_str(body).unwrap() })
    })
    .await;
    let seen = api.form("/server/login", "phone=1&password=2").await;
    assert_eq!((seen.status, seen.headers["retry-after"].as_str()), (429, "17"));
}

#[tokio::test]
async fn without_workers_the_answer_is_503_and_when_to_try_again() {
    let errors: [Answer; 4] = [
        |call, _| Err(CallError::NoWorkers { call }.into()),
        |call, _| Err(CallError::TimedOut { call, after: Duration::from_secs(10) }.into()),
        |call, _| Err(CallError::Broken { call, reason: "cut".into() }.into()),
        |call, _| {
            Err(CallError::Refused { call, code: "unavailable".into(), reason: "expected PostgreSQL".into() }
                .into())
        },
    ];
    for answer in errors {
        let api = Api::start(answer).await;
        let seen = api.form("/server/login", "phone=1&password=2").await;
        seen.refused(503, "unavailable", "expected");
        assert_eq!(seen.headers["retry-after"], "1");
    }
    let api = Api::start(|call, _| {
        Err(CallError::Refused {
            call,
            code: "token".into(),
            reason: "expected a token in force, found none".into(),
        }
        .into())
    })
    .await;
    api.ask("GET", "/group", COOKIE, b"").await.refused(401, "token", "in force");
}

#[tokio::test]
async fn health_is_told() {
    let api = Api::start(fine).await;
    assert_eq!(api.ask("GET", "/livez", "", b"").await.body, "[[response]]\nstatus = 0\n");
    api.ask("GET", "/readyz", "", b"").await.refused(503, "unavailable", "a worker");
    api.ready.set(true);
    assert_eq!(api.ask("GET", "/readyz", "", b"").await.status, 200);
}

#[tokio::test]
async fn routes_can_be_added() {
    let extra = Router::new().route("/ws", axum::routing::get(|| async { "later" }));
    let state =
        HttpState::new(Fake { asked: Arc::default(), answer: fine }, Limits::default(), Readiness::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(serve(listener, state.with_routes(extra), shutdown.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("later"), "{answer}");
    shutdown.cancel();
    served.await.unwrap();
}

#[tokio::test]
async fn silent_connections_lose_their_place_and_shutdown_ends() {
    let limits = Limits { connections: 1, idle: Duration::from_millis(50), ..Limits::default() };
    let api = Api::with(fine, limits).await;
    let mut silent = TcpStream::connect(api.address).await.unwrap();
    silent.write_all(b"GET /liv").await.unwrap();
    let next = api.ask("GET", "/livez", "", b"").await;
    assert_eq!(next.status, 200, "the one place was given back");
    let mut rest = Vec::new();
    let closed = silent.read_to_end(&mut rest).await;
    assert!(closed.is_err() || rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"), "{closed:?} {rest:?}");
    api.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), api.served).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_awaited_for_ever() {
    let limits = Limits { body_time: Duration::from_millis(50), ..Limits::default() };
    let api = Api::with(fine, limits).await;
    let headers = "content-length: 100\r\n";
    api.ask("POST", "/server/login", headers, b"").await.refused(400, "malformed", "whole body within");
}
