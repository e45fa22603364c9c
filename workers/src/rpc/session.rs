//! Sessions come, are registered again, and go.

use std::time::Duration;

use shared::{
    delivery::Delivery,
    ids::SessionNo,
    rpc::{
        Close, Connect, ConnectBatch, ConnectReply, ConnectResult, Done, Register, Registered, Registration,
    },
};
use tokio::time::timeout;

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

/// How long a login may take, less than an edge waits for it. One that is carried out after its edge has given it up
/// takes a newer number than the login that succeeded elsewhere meanwhile, and throws that session out.
const LOGIN: Duration = Duration::from_secs(4);

/// `session.connect`: PostgreSQL decides, then the routes are written; the sessions replaced by these are told.
pub(super) async fn connect(calls: &Calls, batch: ConnectBatch) -> Result<ConnectReply, Fault> {
    let done = timeout(LOGIN, logins::connect(&calls.desk.pool, &batch.logins, calls.device_limits())).await;
    let done =
        done.map_err(|_| Fault::Unavailable(format!("PostgreSQL has not answered within {LOGIN:?}")))??;
    let sessions: Vec<(&Connect, SessionNo)> = batch
        .logins
        .iter()
        .zip(&done.results)
        .filter_map(|(login, result)| match result {
            LoggedIn::Yes(session) => Some((login, *session)),
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
    replaced(calls, &registrations, placed.as_ref()).await;
    let epoch = placed.and_then(|placed| placed.epoch);
    let result = |result: &LoggedIn| match result {
        LoggedIn::Yes(session) => {
            ConnectResult { session: Some(*session), epoch: epoch.clone(), code: None, reason: None }
        }
        LoggedIn::No(code, reason) => ConnectResult {
            session: None,
            epoch: None,
            code: Some(code.as_str().to_owned()),
            reason: Some(reason.clone()),
        },
    };
    Ok(ConnectReply { results: done.results.iter().map(result).collect() })
}

/// `session.register`.
pub(super) async fn register(calls: &Calls, call: Register) -> Result<Registered, Fault> {
    let complete = call.complete.then_some(call.epoch.as_str());
    let placed = calls.desk.directory.register(&call.node, &call.sessions, complete).await;
    let placed = placed.map_err(|error| Fault::Unavailable(error.to_string()))?;
    Ok(Registered { epoch: placed.epoch })
}

/// `session.close`.
pub(super) async fn close(calls: &Calls, call: Close) -> Result<Done, Fault> {
    cursors::seen(&calls.desk.pool, &call.sessions).await?;
    let removed = calls.desk.directory.unregister(&call.sessions).await;
    removed.map_err(|error| Fault::Unavailable(error.to_string()))?;
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
