//! The edge's router with a fake in place of the workers, which answers with what it was asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request},
    http::HeaderMap,
};
use edge::{
    http::{
        HttpState,
        backend::{Backend, Failure},
        limits::{Limits, Peer},
        peer::Proxies,
        router,
    },
    ready::Readiness,
};
use futures::future::{BoxFuture, ready};
use shared::rpc::{HttpCall, HttpReply};
use tokio::runtime::{Builder, Runtime};
use toml::{Table, Value};
use tower_service::Service;

use crate::plain::Plain;

type Asked = (&'static str, HttpCall);

#[derive(Default, Clone)]
struct Fake(Arc<Mutex<Vec<Asked>>>);

impl Backend for Fake {
    fn call<'a>(&'a self, call: &'static str, asked: HttpCall) -> BoxFuture<'a, Result<HttpReply, Failure>> {
        let body = told(&asked, Value::Integer(7));
        self.0.lock().expect("one thread").push((call, asked));
        Box::pin(ready(Ok(HttpReply { status: 200, retry_after: None, body })))
    }
}

/// What the fake answers: every argument as a pair, as an entry of a list and as a table of its own. `port` is written
/// as text whatever it was.
pub fn told(asked: &HttpCall, port: Value) -> Table {
    let response = Table::from_iter([("status".to_owned(), Value::Integer(0)), ("port".to_owned(), port)]);
    let pairs = asked.args.iter().map(|(name, value)| (name.clone(), Value::String(value.clone())));
    let list = asked.args.values().cloned().map(Value::String).collect();
    let users = pairs.clone().map(|pair| Value::Table(Table::from_iter([pair]))).collect();
    Table::from_iter([
        ("list".to_owned(), Value::Array(list)),
        ("response".to_owned(), Value::Array(vec![Value::Table(response)])),
        ("args".to_owned(), Value::Table(pairs.collect())),
        ("user".to_owned(), Value::Array(users)),
    ])
}

/// What came of a request.
pub struct Seen {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// What a worker was asked, if any was.
    pub asked: Option<Asked>,
}

pub struct Api {
    runtime: Runtime,
    router: Router,
    fake: Fake,
}

impl Api {
    pub fn new(body_bytes: usize) -> Self {
        let fake = Fake::default();
        let limits = Limits { body_bytes, ..Limits::default() };
        let proxies = Proxies::parse("10.0.0.0/8").expect("a network");
        let state = HttpState::new(fake.clone(), limits, Readiness::default()).behind(proxies);
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        Self { runtime, router: router(state), fake }
    }

    /// The request as a trusted proxy would bring it.
    pub fn ask(&self, plain: &Plain) -> Seen {
        let mut request = Request::new(Body::from(plain.body.clone()));
        *request.method_mut() = plain.method.clone();
        *request.uri_mut() = plain.uri.clone();
        *request.headers_mut() = plain.headers.clone();
        request.extensions_mut().insert(ConnectInfo(Peer(SocketAddr::from(([10, 0, 0, 7], 1)))));
        let (head, body) = self.runtime.block_on(async {
            let Ok(response) = self.router.clone().call(request).await;
            let (head, body) = response.into_parts();
            (head, to_bytes(body, usize::MAX).await.expect("an answer's body"))
        });
        let mut asked = std::mem::take(&mut *self.fake.0.lock().expect("one thread"));
        assert!(asked.len() <= 1, "one request became {} calls", asked.len());
        Seen { status: head.status.as_u16(), headers: head.headers, body: body.into(), asked: asked.pop() }
    }
}
