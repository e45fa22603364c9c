//! `GET /ws`: the same sessions over WebSocket, where one message is one frame.
//!
//! | module | holds |
//! |---|---|
//! | [`handshake`] | what has to be right before the connection changes hands |
//! | [`wire`] | messages to counted frames and back, by the trait that a session needs |

pub mod handshake;
pub mod wire;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::StatusCode,
    response::Response,
    routing::get,
};
use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::{rt::TokioIo, server::conn::auto::upgrade};
use tokio_util::sync::CancellationToken;

use self::{handshake::Shaken, wire::WebSocket};
use crate::{
    context::Context,
    http::{
        backend::Failure,
        body::{self, Format},
        limits::{Guarded, Peer},
        origin::Origins,
        peer::Proxies,
    },
    listener::{self, Door, Open},
    session::{connection, wire::Wire},
    tls::{http::Stream, wire::Secured},
};

/// What upgrading needs.
#[derive(Debug, Clone)]
pub struct WebSockets {
    /// The node.
    pub context: Arc<Context>,
    /// Where its connections go.
    pub door: Door,
    /// Whose pages are ours.
    pub origins: Origins,
    /// The proxies that say whom they speak for.
    pub proxies: Proxies,
    /// Ends those that have not logged in.
    pub shutdown: CancellationToken,
}

/// The route.
pub fn routes(sockets: WebSockets) -> Router {
    Router::new().route("/ws", get(answer)).with_state(sockets)
}

async fn answer(
    State(sockets): State<WebSockets>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    mut request: Request,
) -> Response {
    let taken = request.extensions_mut().remove::<OnUpgrade>();
    let admitted = handshake::check(&request, &sockets.origins).and_then(|shaken| {
        let upgrade = taken.ok_or_else(handshake::no_upgrade)?;
        Ok((shaken, upgrade, admit(&sockets)?))
    });
    match admitted {
        Ok((shaken, upgrade, open)) => {
            let response = shaken.response();
            let peer = sockets.proxies.caller(peer, request.headers());
            let door = sockets.door.clone();
            door.serve(Box::pin(run(sockets, shaken, upgrade, peer, open))).await;
            response
        }
        Err(failure) => {
            let mut response = body::failure(Format::of(request.headers()), &failure);
            if failure.status == StatusCode::UPGRADE_REQUIRED {
                handshake::ask(response.headers_mut());
            }
            response
        }
    }
}

fn admit(sockets: &WebSockets) -> Result<Open, Failure> {
    if sockets.context.is_draining() {
        return Err(Failure::unavailable(
            "expected a node that stays, found this one about to stop; try another",
        ));
    }
    sockets.door.enter().ok_or_else(|| {
        Failure::unavailable(
            "expected a node with room for one more connection, found this one full; try another",
        )
    })
}

/// One connection, from the upgrade to its end.
async fn run(sockets: WebSockets, shaken: Shaken, upgrade: OnUpgrade, peer: IpAddr, open: Open) {
    let patience = sockets.context.limits.login_seconds.get();
    // Boxed, so that nothing of it stays with the session.
    let upgraded = Box::pin(async { tokio::time::timeout(patience, upgrade).await.ok()?.ok() }).await;
    let Some((stream, read)) = upgraded.and_then(taken) else {
        return sockets.context.metrics.closed("reset");
    };
    if let Err(error) = stream.tcp().map_or(Ok(()), listener::keepalive) {
        tracing::debug!(%error, "a connection that is gone already");
    }
    // Each of a kind of its own, so that those without TLS carry nothing of it.
    match stream {
        Stream::Plain(tcp) => serve(tcp, read, sockets, shaken, peer, open).await,
        Stream::Secured(stream) => serve(Secured::new(*stream), read, sockets, shaken, peer, open).await,
        // It has sent a request, so its handshake is done.
        Stream::Shaking(_) | Stream::Refused => sockets.context.metrics.closed("reset"),
    }
}

async fn serve<W: Wire>(wire: W, read: Bytes, sockets: WebSockets, shaken: Shaken, peer: IpAddr, open: Open) {
    let WebSockets { context, shutdown, .. } = sockets;
    let wire = WebSocket::new(wire, &read, shaken, context.limits.frame_bytes);
    drop(read);
    connection::run(wire, peer, context, shutdown, open).await;
}

/// The connection itself, and what was read of it behind the request.
fn taken(upgraded: hyper::upgrade::Upgraded) -> Option<(Stream, Bytes)> {
    match upgrade::downcast::<TokioIo<Guarded>>(upgraded) {
        Ok(parts) => Some((parts.io.into_inner().into_inner(), parts.read_buf)),
        Err(_) => {
            tracing::error!("a connection to be upgraded is none of this node's HTTP listener");
            None
        }
    }
}

#[cfg(test)]
mod tests;
