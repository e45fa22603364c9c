//! Under which epoch of the directory this node's sessions stand there, and writing them again when it changes.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shared::{
    rpc::{Register, Registered, Registration},
    telemetry::{self, Metric},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{backoff::Backoff, context::Context, outbox::Outbox};

/// Sessions of one call.
const PER_CALL: usize = 1000;
/// With fewer sessions than these nobody looks for those that are gone.
const SWEEP: usize = 64;

/// What is known of the directory.
#[derive(Debug, Default)]
pub struct Epochs {
    state: Mutex<State>,
    work: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The directory's epoch, as last heard.
    current: Option<String>,
    /// The epoch under which every session stands there.
    registered: Option<String>,
    /// Sessions that do not, one by one: their login found the directory away or under another epoch. Bounded by
    /// `limits.connections`: those that are gone are forgotten.
    missing: Vec<Arc<Outbox>>,
    /// When to look for those that are gone.
    sweep_at: usize,
}

impl Epochs {
    /// The epoch under which all sessions are registered.
    pub fn registered(&self) -> Option<String> {
        self.state().registered.clone()
    }

    /// A worker named the directory's epoch.
    pub fn seen(&self, epoch: String) {
        let mut state = self.state();
        state.current = Some(epoch);
        let work = state.registered != state.current || !state.missing.is_empty();
        drop(state);
        if work {
            self.work.notify_one();
        }
    }

    /// A session that stands in the registry connected with this epoch: if it is not the directory's, it is written
    /// there again.
    pub fn connected(&self, session: &Arc<Outbox>, epoch: Option<&str>) {
        let mut state = self.state();
        if epoch.is_none() || epoch != state.current.as_deref() {
            if state.missing.len() >= state.sweep_at {
                state.missing.retain(|session| !session.is_gone());
                state.sweep_at = SWEEP.max(state.missing.len() * 2);
            }
            state.missing.push(session.clone());
            drop(state);
            self.work.notify_one();
        }
    }

    /// Registers what needs it until `shutdown`.
    pub async fn run(context: Arc<Context>, shutdown: CancellationToken) {
        let epochs = &context.epochs;
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = epochs.work.notified() => {}
            }
            while let Some(work) = epochs.next(&context) {
                let done = tokio::select! {
                    () = shutdown.cancelled() => return,
                    done = register(&context, &work) => done,
                };
                epochs.finish(work, done);
                if done {
                    backoff.reset();
                } else {
                    tokio::time::sleep(backoff.pause()).await;
                }
            }
        }
    }

    /// What is to be registered now.
    fn next(&self, context: &Context) -> Option<Work> {
        let mut state = self.state();
        let epoch = state.current.clone()?;
        let complete = state.registered.as_ref() != Some(&epoch);
        let mut sessions = std::mem::take(&mut state.missing);
        drop(state);
        if complete {
            // Whoever comes after this snapshot compares its login's epoch with the current one by itself.
            sessions.clear();
            context.registry.for_all(|session| sessions.push(session.clone()));
        }
        (complete || !sessions.is_empty()).then_some(Work { epoch, complete, sessions })
    }

    fn finish(&self, work: Work, done: bool) {
        let mut state = self.state();
        match (done, work.complete) {
            (true, true) => {
                tracing::info!(
                    epoch = work.epoch,
                    sessions = work.sessions.len(),
                    "every session is in the directory"
                );
                state.registered = Some(work.epoch);
            }
            (true, false) => {}
            // A complete one takes its snapshot again.
            (false, true) => {}
            (false, false) => {
                state.missing.extend(work.sessions.into_iter().filter(|session| !session.is_gone()))
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Work {
    epoch: String,
    /// All sessions of the node, rather than some.
    complete: bool,
    sessions: Vec<Arc<Outbox>>,
}

/// Registers the sessions; each then reads its backlog, since until then deliveries may not have found it.
async fn register(context: &Context, work: &Work) -> bool {
    let parts: Vec<&[Arc<Outbox>]> = match work.sessions.len() {
        0 => vec![&[]],
        _ => work.sessions.chunks(PER_CALL).collect(),
    };
    let last = parts.len() - 1;
    for (at, part) in parts.into_iter().enumerate() {
        let sessions = part.iter().filter(|session| !session.is_gone()).map(|session| Registration {
            user: session.who.user,
            device: session.who.device.clone(),
            session: session.who.session,
        });
        let call = Register {
            node: context.node.clone(),
            epoch: work.epoch.clone(),
            complete: work.complete && at == last,
            sessions: sessions.collect(),
        };
        let result =
            context.calls.call::<_, Registered>("session.register", &call, context.calls.timeout()).await;
        let done = matches!(&result, Ok(Registered { epoch: Some(epoch) }) if *epoch == work.epoch);
        telemetry::count(Metric::EdgeRegisters, &[("result", if done { "ok" } else { "error" })], 1);
        match result {
            _ if done => part.iter().for_each(|session| session.behind("registered")),
            // Under another epoch by now: begin again under that one.
            Ok(Registered { epoch: Some(epoch) }) => {
                context.epochs.state().current = Some(epoch);
                return false;
            }
            Ok(Registered { epoch: None }) => return false,
            Err(error) => {
                tracing::warn!(%error, "sessions could not be registered; trying again");
                return false;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::session;

    #[test]
    fn sessions_that_come_and_go_while_the_directory_is_away_are_forgotten() {
        let epochs = Epochs::default();
        let mut live = Vec::new();
        for number in 1..=10_000 {
            let session = session(number, "pad", number);
            epochs.connected(&session, None);
            if number % 100 == 0 {
                live.push(session);
            } else {
                session.gone();
            }
        }
        let state = epochs.state();
        assert!(state.missing.len() <= 300, "{} for {} sessions", state.missing.len(), live.len());
        let kept = |session: &Arc<Outbox>| state.missing.iter().any(|one| Arc::ptr_eq(one, session));
        assert!(live.iter().all(kept), "none that lives is forgotten");
    }
}
