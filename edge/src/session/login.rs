//! A connection until its login: the deadline, the login call, the place in the registry.

use std::{
    future::{Future, poll_fn},
    net::IpAddr,
    sync::Arc,
    time::Instant,
};

use shared::{
    command::Code,
    frame::{Decoder, Form},
    ids::TokenDigest,
    message::{Entry, Login, Sender, write::moved},
    rpc::{Connect, Registration},
    telemetry::{self, Metric},
};
use tokio_util::sync::CancellationToken;

use super::{
    Output,
    end::End,
    frames::{self, Next},
    live::Live,
    waiting::Waiting,
    wire::{self, Wire},
};
use crate::{
    calls::CallError,
    context::Context,
    outbox::{Close, Outbox},
    publisher::pressure::RETRY_AFTER,
    registry,
};

/// Reads from a client whose login is under way.
const AHEAD: u32 = 4;

/// A session that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Its state.
    pub live: Live,
    /// Its place in the registry, where the node reaches it.
    pub place: registry::Entry,
    /// What stood in the login's frame after it.
    pub rest: Vec<Entry>,
}

impl Begun {
    /// Gives it up before it was ever served: its route goes.
    fn abandon(&self, context: &Context) {
        let Sender { user, device, session, .. } = &*self.place.session().who;
        context.notes.closed(Registration { user: *user, device: device.clone(), session: *session });
    }
}

/// Serves the connection until it has logged in.
///
/// # Errors
/// How it ended instead.
pub async fn run<W: Wire>(
    wire: &mut W,
    peer: IpAddr,
    decoder: &mut Decoder,
    context: &Arc<Context>,
    shutdown: &CancellationToken,
) -> Result<Begun, End> {
    let deadline = tokio::time::sleep(context.limits.login_seconds.get());
    tokio::pin!(deadline);
    let mut ended = None;
    loop {
        let mut out = Output::new(decoder.form().unwrap_or(Form::Text)).speaking(wire.dialect());
        let broken = loop {
            let mut entries = match frames::next(decoder, &mut out, context) {
                Next::Entries(entries) => entries.into_iter(),
                Next::Nothing => break false,
                Next::Broken => break true,
            };
            while let Some(entry) = entries.next() {
                let Some(login) = Waiting.entry(entry, &mut out) else { continue };
                if context.is_draining() {
                    turn_away(&login, context, &mut out).await;
                    write(wire, &out, context).await?;
                    return Err(End::Closed(Close::Drain));
                }
                let Some(token) = token(&login, wire, context, &mut out) else { continue };
                let asked = attempt(&login, token, peer, context, &mut out);
                if let Some((live, place)) = unless_gone(wire, decoder, asked).await? {
                    let session = Begun { live, place, rest: entries.collect() };
                    if let Err(end) = write(wire, &out, context).await {
                        session.abandon(context);
                        return Err(end);
                    }
                    return Ok(session);
                }
            }
        };
        write(wire, &out, context).await?;
        drop(out);
        if broken {
            return Err(End::BadStream);
        }
        if let Some(end) = ended {
            return Err(End::with(end, decoder));
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Err(End::Closed(Close::Drain)),
            () = &mut deadline => return Err(End::LoginDeadline),
            ready = poll_fn(|task| wire.poll_readable(task)) => ready?,
        }
        ended = frames::read(wire, decoder);
    }
}

/// Awaits a login's decision while the client is there to hear it. One that has left by now (this node stood still, or
/// the workers take long) may have logged in elsewhere since, and this login, the later one for the workers, would
/// throw that session out.
///
/// # Errors
/// How the connection has ended; the login is given up.
async fn unless_gone<T>(
    wire: &mut impl Wire,
    decoder: &mut Decoder,
    login: impl Future<Output = T>,
) -> Result<T, End> {
    tokio::pin!(login);
    // What a client sends ahead is kept, and bounded: beyond that its end is seen when it is read on.
    let mut ahead = AHEAD;
    loop {
        if let Some(end) = frames::read(wire, decoder) {
            return Err(end);
        }
        ahead -= 1;
        tokio::select! {
            biased;
            ready = poll_fn(|task| wire.poll_readable(task)), if ahead > 0 => ready?,
            done = &mut login => return Ok(done),
        }
    }
}

/// This node takes nobody any more: who comes is told who does.
async fn turn_away(login: &Login, context: &Context, out: &mut Output) {
    telemetry::count(Metric::EdgeLogins, &[("result", "unavailable")], 1);
    context.metrics.refused(Code::Unavailable);
    let to = context.drain.elsewhere().await;
    let after = if to.is_some() { 0 } else { RETRY_AFTER * 1000 };
    out.write(|frame| moved(to.as_ref().map(|peer| (peer.server.as_str(), peer.port)), after, frame));
    let reason = "expected a node that takes sessions, found one that is about to end";
    Waiting.refused(login, Code::Unavailable, reason, out);
}

/// The token in the login, or else the one that came with the connection. Without either it is refused.
fn token(login: &Login, wire: &impl Wire, context: &Context, out: &mut Output) -> Option<TokenDigest> {
    let token = login.token.as_ref().or_else(|| wire.token()).cloned();
    if token.is_none() {
        let (code, reason) = wire.without_token();
        telemetry::count(Metric::EdgeLogins, &[("result", "refused")], 1);
        context.metrics.refused(code);
        Waiting.refused(login, code, reason, out);
    }
    token
}

/// One login: the workers' decision, answered.
async fn attempt(
    login: &Login,
    token: TokenDigest,
    peer: IpAddr,
    context: &Arc<Context>,
    out: &mut Output,
) -> Option<(Live, registry::Entry)> {
    if context.publisher.is_held_up() {
        telemetry::count(Metric::EdgeLogins, &[("result", "unavailable")], 1);
        context.metrics.refused(Code::Unavailable);
        let reason = format!(
            "expected the broker to take frames, found it full or away; try again in {RETRY_AFTER} s"
        );
        Waiting.refused(login, Code::Unavailable, &reason, out);
        return None;
    }
    let asked = Connect { user: login.user, device: login.device.clone(), token, peer };
    let began = Instant::now();
    let result = context.logins.connect(asked).await.and_then(|result| match result.session {
        Some(session) => Ok((session, result.epoch)),
        None => Err(CallError::Broken {
            call: "session.connect",
            reason: "expected a session number or a code, found neither".into(),
        }),
    });
    context.metrics.login_seconds.record(began.elapsed().as_secs_f64());
    let outcome = match &result {
        Ok(_) => "ok",
        Err(CallError::TimedOut { .. }) => "timeout",
        Err(error) if error.for_login().0 == Code::Unavailable => "unavailable",
        Err(_) => "refused",
    };
    telemetry::count(Metric::EdgeLogins, &[("result", outcome)], 1);
    let (session, epoch) = match result {
        Ok(done) => done,
        Err(error) => {
            let (code, reason) = error.for_login();
            context.metrics.refused(code);
            Waiting.refused(login, code, reason, out);
            return None;
        }
    };
    let who = Sender { user: login.user, device: login.device.clone(), session, node: context.node.clone() };
    let who = Arc::new(who);
    let outbox = Arc::new(Outbox::new(who.clone()));
    // First where deliveries find it, then everything else: its backlog is read after this, so one of the two has
    // every message.
    let place = context.registry.add(outbox);
    context.epochs.connected(place.session(), epoch.as_deref());
    tracing::debug!(user = login.user.0, device = %login.device, session = session.0, "logged in");
    Some((Waiting.welcome(login, who, context.limits.unacked, out), place))
}

async fn write<W: Wire>(wire: &mut W, out: &Output, context: &Context) -> Result<(), End> {
    Ok(wire::write_all(wire, &out.bytes, context.limits.write_seconds.get()).await?)
}
