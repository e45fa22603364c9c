//! The task of one connection, from its accept to its end.

use std::{net::IpAddr, sync::Arc, time::Duration};

use shared::frame::Decoder;
use tokio_util::sync::CancellationToken;

use super::{
    driver::Session,
    end::End,
    login,
    wire::{self, Wire},
};
use crate::context::Context;

/// How long an ended connection may take to read what was written last.
const FAREWELL: Duration = Duration::from_millis(500);

/// Serves a connection until it ends. `shutdown` ends it only before its login; afterwards its outbox does.
pub async fn run<W: Wire>(wire: W, peer: IpAddr, context: Arc<Context>, shutdown: CancellationToken) {
    // Boxed, so that no idle session keeps the memory of its login.
    let Some(mut session) = Box::pin(begin(wire, peer, context.clone(), shutdown)).await else { return };
    let end = session.serve().await;
    session.leave();
    Box::pin(finish(session.wire(), end, &context)).await;
}

async fn begin<W: Wire>(
    mut wire: W,
    peer: IpAddr,
    context: Arc<Context>,
    shutdown: CancellationToken,
) -> Option<Box<Session<W>>> {
    let mut decoder = Decoder::new(context.limits.frame_bytes);
    match login::run(&mut wire, peer, &mut decoder, &context, &shutdown).await {
        Ok(begun) => Some(Box::new(Session::new(wire, decoder, begun, context))),
        Err(end) => {
            finish(&mut wire, end, &context).await;
            None
        }
    }
}

async fn finish<W: Wire>(wire: &mut W, end: End, context: &Context) {
    context.metrics.closed(end.as_str());
    if end.is_ours() {
        wire::end(wire, FAREWELL).await;
    }
}

#[cfg(test)]
mod tests;
