//! Sessions come, are registered again, and go.

use shared::{
    command::Code,
    contract::Speaks,
    delivery::Delivery,
    ids::SessionNo,
    rpc::{
        Close, Connect, ConnectBatch, ConnectReply, ConnectResult, Done, Numbers, NumbersDrawn, Register,
        Registered, Registration, Seen,
    },
};

use super::{Calls, Fault, tell::ByNode};
use crate::{
    directory::{Client, Placed},
    store::{
        cursors,
        logins::{self, DeviceLimits, LoggedIn},
    },
};

impl Calls {
    /// Limits on a user's devices, as configured.
    pub fn device_limits(&self) -> DeviceLimits {
        let account = &self.desk.config.account;
        DeviceLimits { devices: account.devices, days: account.device_days }
    }
}

/// The most numbers of one draw.
const DRAWN: u32 = 1000;

/// `session.numbers`.
pub(super) async fn numbers(calls: &Calls, call: Numbers) -> Result<NumbersDrawn, Fault> {
    if !(1..=DRAWN).contains(&call.count) {
        let reason = format!("expected a count from 1 to {DRAWN}, found {}", call.count);
        return Err(Fault::refused(Code::Invalid, reason));
    }
    let numbers = logins::draw(&calls.desk.pool, call.count).await?;
    Ok(NumbersDrawn { numbers, worker: calls.name.clone() })
}

/// `session.connect`: PostgreSQL decides, then the routes are written; the sessions replaced by these are told. May come
/// twice, to two workers at once, or long after its edge has given it up: the numbers see to it.
pub(super) async fn connect(calls: &Calls, batch: ConnectBatch) -> Result<ConnectReply, Fault> {
    let (count, numbers) = (batch.logins.len(), batch.numbers.len());
    if numbers != count {
        let reason = format!("expected a number for each of {count} logins, found {numbers}");
        return Err(Fault::refused(Code::Invalid, reason));
    }
    if let Some(why) = batch.speaks.misfit() {
        return Err(Fault::Unavailable(why));
    }
    let pool = &calls.desk.pool;
    let done = logins::connect(pool, &batch.logins, &batch.numbers, calls.device_limits()).await?;
    // Who carried them out before may have written the routes and told nobody: then no route says who was replaced.
    let repeated = done.results.iter().any(|result| matches!(result, LoggedIn::Yes { again: true, .. }));
    let sessions: Vec<(&Connect, SessionNo)> = batch
        .logins
        .iter()
        .zip(&done.results)
        .filter_map(|(login, result)| match result {
            LoggedIn::Yes { session, .. } => Some((login, *session)),
            LoggedIn::No(..) => None,
        })
        .collect();
    let registrations: Vec<Registration> =
        sessions.iter().map(|(login, session)| registration(login, *session)).collect();
    let at = Some((batch.server.clone(), batch.port));
    let clients: Vec<_> = sessions
        .iter()
        .map(|(login, _)| {
            let client = Client { user: login.user, device: Some(login.device.clone()), at: at.clone() };
            (login.token.clone(), client)
        })
        .collect();
    let directory = &calls.desk.directory;
    let (placed, (), ()) = tokio::join!(
        place(calls, &batch, &registrations),
        directory.put_clients(&clients),
        directory.drop_clients(&done.revoked),
    );
    replaced(calls, &registrations, placed.as_ref().filter(|_| !repeated)).await;
    let epoch = placed.and_then(|placed| placed.epoch);
    let result = |result: &LoggedIn| match result {
        LoggedIn::Yes { session, .. } => {
            ConnectResult { session: Some(*session), epoch: epoch.clone(), code: None, reason: None }
        }
        LoggedIn::No(code, reason) => ConnectResult {
            session: None,
            epoch: None,
            code: Some(code.as_str().to_owned()),
            reason: Some(reason.clone()),
        },
    };
    Ok(ConnectReply { speaks: Speaks::this(), results: done.results.iter().map(result).collect() })
}

/// `session.register`.
pub(super) async fn register(calls: &Calls, call: Register) -> Result<Registered, Fault> {
    let complete = call.complete.then_some(call.epoch.as_str());
    let placed = calls.desk.directory.register(&call.node, &call.sessions, complete).await;
    let placed = placed.map_err(|error| Fault::Unavailable(error.to_string()))?;
    Ok(Registered { epoch: placed.epoch })
}

/// `session.seen`.
pub(super) async fn seen(calls: &Calls, call: Seen) -> Result<Done, Fault> {
    cursors::seen(&calls.desk.pool, &call.sessions).await?;
    Ok(Done {})
}

/// `session.close`.
pub(super) async fn close(calls: &Calls, call: Close) -> Result<Done, Fault> {
    cursors::seen(&calls.desk.pool, &call.sessions).await?;
    // A route that stays leads nowhere, and the next login of its device writes over it; the edge must not try this for
    // as long as Redis is away, with everything else that it has to tell behind it.
    if let Err(error) = calls.desk.directory.unregister(&call.sessions).await {
        tracing::debug!(%error, sessions = call.sessions.len(), "routes of ended sessions stay");
    }
    Ok(Done {})
}

async fn place(calls: &Calls, batch: &ConnectBatch, registrations: &[Registration]) -> Option<Placed> {
    if registrations.is_empty() {
        return None;
    }
    match calls.desk.directory.register(&batch.node, registrations, None).await {
        Ok(placed) => Some(placed),
        Err(error) => {
            tracing::debug!(%error, "logins without a route; their node registers them");
            None
        }
    }
}

/// Tells the nodes of the sessions before these; all of them where the routes cannot say.
async fn replaced(calls: &Calls, registrations: &[Registration], placed: Option<&Placed>) {
    let mut by_node = ByNode::new();
    for (at, new) in registrations.iter().enumerate() {
        let delivery = Delivery::Replaced { user: new.user, device: new.device.clone(), below: new.session };
        match placed.filter(|placed| placed.whole) {
            Some(placed) => {
                let before = placed.before.get(at).and_then(Option::as_ref);
                if let Some(before) = before.filter(|before| before.session < new.session) {
                    by_node.entry(before.node.clone()).or_default().push(delivery);
                }
            }
            None => {
                for node in calls.tell.everywhere() {
                    by_node.entry(node).or_default().push(delivery.clone());
                }
            }
        }
    }
    calls.tell.tell(by_node).await;
}

fn registration(login: &Connect, session: SessionNo) -> Registration {
    Registration { user: login.user, device: login.device.clone(), session }
}
