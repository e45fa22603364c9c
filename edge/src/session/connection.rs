//! The task of one connection, from its accept to its end.

use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{self, Poll, ready},
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt};
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

/// Serves a connection until it ends, and keeps `guard` for so long. `shutdown` ends it only before its login;
/// afterwards its outbox does.
pub fn run<W: Wire, G>(
    wire: W,
    peer: IpAddr,
    context: Arc<Context>,
    shutdown: CancellationToken,
    guard: G,
) -> Connection<W, G> {
    Connection { stage: Stage::Login(begin(wire, peer, context, shutdown).boxed()), _guard: guard }
}

/// One connection, as its task. Written by hand, so that an idle session has no other memory than its own in there: its
/// login's has been given back, and of its end's there is none.
#[derive(Debug)]
pub struct Connection<W: Wire, G> {
    stage: Stage<W>,
    _guard: G,
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly every connection is at this stage, in the memory of its task"
)]
enum Stage<W: Wire> {
    Login(BoxFuture<'static, Option<Session<W>>>),
    Serving(Session<W>),
    Ending(BoxFuture<'static, ()>),
    Over,
}

impl<W: Wire + Unpin, G: Unpin> Future for Connection<W, G> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            this.stage = match &mut this.stage {
                Stage::Login(login) => ready!(login.poll_unpin(task)).map_or(Stage::Over, Stage::Serving),
                Stage::Serving(session) => {
                    let end = ready!(session.poll_serve(task));
                    session.leave();
                    match std::mem::replace(&mut this.stage, Stage::Over) {
                        Stage::Serving(session) => Stage::Ending(leave(session, end).boxed()),
                        other => other,
                    }
                }
                Stage::Ending(ending) => {
                    ready!(ending.poll_unpin(task));
                    Stage::Over
                }
                Stage::Over => return Poll::Ready(()),
            };
        }
    }
}

async fn begin<W: Wire>(
    mut wire: W,
    peer: IpAddr,
    context: Arc<Context>,
    shutdown: CancellationToken,
) -> Option<Session<W>> {
    let mut decoder = Decoder::new(context.limits.frame_bytes);
    match login::run(&mut wire, peer, &mut decoder, &context, &shutdown).await {
        Ok(begun) => Some(Session::new(wire, decoder, begun, context)),
        Err(end) => {
            finish(&mut wire, end, &context).await;
            None
        }
    }
}

async fn leave<W: Wire>(mut session: Session<W>, end: End) {
    let context = session.context().clone();
    context.metrics.session_ended(end.as_str());
    finish(session.wire(), end, &context).await;
}

async fn finish<W: Wire>(wire: &mut W, end: End, context: &Context) {
    context.metrics.closed(end.as_str());
    if end.is_ours() {
        wire.ends(end);
        wire::end(wire, FAREWELL).await;
    }
}

impl<W: Wire> std::fmt::Debug for Stage<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Login(_) => "Login",
            Self::Serving(_) => "Serving",
            Self::Ending(_) => "Ending",
            Self::Over => "Over",
        })
    }
}

#[cfg(test)]
mod tests;
