//! The HTTP API: takes calls apart, has a worker answer them over the broker, and writes the answers.
//!
//! | module | holds |
//! |---|---|
//! | [`backend`] | who answers a call, and what becomes of a failure |
//! | [`args`] | the arguments of path, query and body, merged and checked against the call table |
//! | [`input`] | bodies and percent-encoding, read strictly |
//! | [`token`] | the token of a cookie or an `Authorization` header |
//! | [`cookie`], [`origin`] | a browser's token, and whose pages may use it |
//! | [`describe`] | the OpenAPI description |
//! | [`page`] | the web page's files |
//! | [`body`] | answers as standard TOML or JSON |
//! | [`limits`] | what one connection and all of them together may use |
//! | [`peer`] | whose call it is, behind proxies too |

pub mod args;
pub mod backend;
pub mod body;
pub mod cookie;
pub mod describe;
pub mod input;
pub mod limits;
pub mod origin;
pub mod page;
pub mod peer;
pub mod token;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{Method, StatusCode, header::SET_COOKIE},
    middleware::{self, Next},
    response::Response,
    routing::{MethodFilter, MethodRouter},
};
use shared::{
    command::{CALLS, Call, Caller, Code},
    rpc::HttpCall,
    telemetry::{self, Metric},
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use self::{
    backend::{Backend, Failure},
    body::Format,
    cookie::ByCookie,
    limits::{Bounded, Limits, Peer},
    origin::Origins,
    peer::Proxies,
};
use crate::{ready::Readiness, tls::Tls};

/// What the HTTP side needs. Cheap to clone.
#[derive(Clone)]
pub struct HttpState {
    /// Who answers the calls: the workers, by way of the [`crate::context::Context`], or a fake in tests.
    pub backend: Arc<dyn Backend>,
    /// What connections may use.
    pub limits: Limits,
    /// The proxies that say whom they speak for.
    pub proxies: Proxies,
    /// Whose pages are ours.
    pub origins: Origins,
    /// What `/readyz` tells.
    pub ready: Readiness,
    /// What connections are encrypted by, if anything.
    pub tls: Option<Arc<Tls>>,
    /// How many connections there may be, on all listeners together.
    pub places: Arc<Semaphore>,
    /// Whether its callers are simple_im's original clients.
    pub original: bool,
    /// Routes beside the table's (`GET /ws`, the web page): merged in as they are.
    pub extra: Router,
}

impl HttpState {
    /// The API answered by `backend`, with no further routes.
    pub fn new(backend: impl Backend, limits: Limits, ready: Readiness) -> Self {
        let places = limits.connections.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            backend: Arc::new(backend),
            limits,
            places: Arc::new(Semaphore::new(places)),
            original: false,
            proxies: Proxies::default(),
            origins: Origins::default(),
            ready,
            tls: None,
            extra: Router::new(),
        }
    }

    /// Believing these proxies.
    #[must_use]
    pub fn behind(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// With pages of these origins beside the own one.
    #[must_use]
    pub fn with_origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// Over TLS, if there is one.
    #[must_use]
    pub fn over(mut self, tls: Option<Arc<Tls>>) -> Self {
        self.tls = tls;
        self
    }

    /// For simple_im's original clients, without TLS and on another listener: the places are shared with this one.
    #[must_use]
    pub fn for_originals(&self) -> Self {
        Self { original: true, tls: None, extra: Router::new(), ..self.clone() }
    }

    /// With more routes; their paths must differ from the table's.
    #[must_use]
    pub fn with_routes(mut self, routes: Router) -> Self {
        self.extra = self.extra.merge(routes);
        self
    }
}

/// Serves until `shutdown`, then lets calls under way finish for as long as the limits say.
pub async fn serve(listener: TcpListener, state: HttpState, shutdown: CancellationToken) {
    let drain = state.limits.drain;
    let listener = Bounded::new(listener, state.places.clone(), state.limits.idle, state.tls.clone());
    let service = router(state).into_make_service_with_connect_info::<Peer>();
    let served = axum::serve(listener, service).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let deadline = async {
        shutdown.cancelled().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        result = served.into_future() => if let Err(error) = result {
            tracing::error!(%error, "the HTTP listener has ended");
        },
        () = deadline => tracing::warn!(after = ?drain, "HTTP calls were still under way at the deadline"),
    }
}

/// Every route of the table, health, and the answers to everything else.
pub fn router(state: HttpState) -> Router {
    let mut paths: Vec<(&'static str, MethodRouter<HttpState>)> = Vec::new();
    for call in CALLS {
        let filter = match call.method {
            "POST" => MethodFilter::POST,
            "PUT" => MethodFilter::PUT,
            "DELETE" => MethodFilter::DELETE,
            _ => MethodFilter::GET,
        };
        let handler = move |State(state): State<HttpState>,
                            ConnectInfo(peer): ConnectInfo<Peer>,
                            request: Request| { answer(call, state, peer, request) };
        match paths.iter_mut().find(|(path, _)| *path == call.path) {
            Some((_, methods)) => *methods = std::mem::take(methods).on(filter, handler),
            None => paths.push((call.path, axum::routing::on(filter, handler))),
        }
    }
    let mut router = Router::new();
    for (path, methods) in paths {
        router = router.route(path, methods);
    }
    let extra = state.extra.clone();
    router
        .route("/livez", axum::routing::get(livez))
        .route("/readyz", axum::routing::get(readyz))
        .method_not_allowed_fallback(no_such_method)
        .fallback(no_such_path)
        .with_state(state)
        .merge(extra)
        .layer(middleware::from_fn(measure))
}

/// One call from start to end.
async fn answer(call: &'static Call, state: HttpState, peer: Peer, request: Request) -> Response {
    let format = Format::of(request.headers());
    // axum lets GET handlers answer HEAD; but here a GET may move a watermark, which nobody would see.
    if request.method() == Method::HEAD && call.method == "GET" {
        return body::failure(format, &no_method(&Method::HEAD, call.path));
    }
    let secure = state.tls.is_some() || state.proxies.says_secure(peer.0, request.headers());
    let by_cookie = match ByCookie::of(request.headers(), &state.origins, secure) {
        Ok(by_cookie) => by_cookie,
        Err(failure) => return body::failure(format, &failure),
    };
    match ask(call, &state, peer, by_cookie, request).await {
        Ok(mut reply) => {
            let cookie = by_cookie.and_then(|by_cookie| by_cookie.after(call, &mut reply));
            let mut response = body::reply(format, reply);
            if let Some(cookie) = cookie {
                response.headers_mut().insert(SET_COOKIE, cookie);
            }
            response
        }
        Err(failure) => body::failure(format, &failure),
    }
}

async fn ask(
    call: &'static Call,
    state: &HttpState,
    peer: Peer,
    by_cookie: Option<ByCookie>,
    request: Request,
) -> Result<shared::rpc::HttpReply, Failure> {
    // The token comes first: who has none is told so whatever else is wrong, and its body is not read.
    let token = match (call.caller, by_cookie) {
        (Caller::Anyone, _) => None,
        (Caller::Token, None) => Some(token::digest(request.headers())?),
        (Caller::Token, Some(_)) => Some(token::own_session(request.headers())?),
    };
    let caller = state.proxies.caller(peer.0, request.headers());
    let args = args::gather(call, request, &state.limits).await?;
    let asked = HttpCall { token, peer: caller, original: state.original, args };
    state.backend.call(call.name, asked).await
}

async fn livez(request: Request) -> Response {
    body::done(Format::of(request.headers()))
}

async fn readyz(State(state): State<HttpState>, request: Request) -> Response {
    let format = Format::of(request.headers());
    if state.ready.is_ready() {
        return body::done(format);
    }
    let reason = "expected the broker and a worker to answer, found that one of them does not, or that this node drains";
    body::failure(format, &Failure::unavailable(reason))
}

async fn no_such_path(request: Request) -> Response {
    let reason = format!("expected a path of this API, found {}", input::shown(request.uri().path()));
    let failure = Failure::new(Code::Unknown, reason).with_status(StatusCode::NOT_FOUND);
    body::failure(Format::of(request.headers()), &failure)
}

async fn no_such_method(request: Request) -> Response {
    let failure = no_method(request.method(), request.uri().path());
    body::failure(Format::of(request.headers()), &failure)
}

fn no_method(method: &Method, path: &str) -> Failure {
    let (path, method) = (input::shown(path), input::shown(method.as_str()));
    let reason = format!("expected another method for {path}, found {method}");
    Failure::new(Code::Unknown, reason).with_status(StatusCode::METHOD_NOT_ALLOWED)
}

/// Counts and times every request under its route (`GET /offline`), never under the path that was asked for.
async fn measure(request: Request, next: Next) -> Response {
    let route = match request.extensions().get::<MatchedPath>() {
        Some(path) => format!("{} {}", known(request.method()), path.as_str()),
        None => "none".to_owned(),
    };
    let began = Instant::now();
    let response = next.run(request).await;
    let status = response.status();
    telemetry::count(Metric::EdgeHttpRequests, &[("route", &route), ("status", status.as_str())], 1);
    telemetry::observe(Metric::EdgeHttpSeconds, &[("route", &route)], began.elapsed().as_secs_f64());
    response
}

/// Methods are the caller's own text: an unknown one must not become a series.
fn known(method: &Method) -> &str {
    match *method {
        Method::GET | Method::POST | Method::PUT | Method::DELETE => method.as_str(),
        _ => "other",
    }
}
