//! `POST /server/login`, `/server/reconnect`, `/server/failed`, `/server/logout`.

use base64::{Engine, engine::general_purpose::STANDARD};
use shared::{
    command::Code,
    delivery::Delivery,
    ids::{Device, TokenDigest, UserId},
    rpc::{HttpCall, Registration},
};
use toml::{Table, Value};

use super::rules;
use crate::{
    directory::{Client, Limited, Routes},
    nodes::NodeInfo,
    rpc::{
        Calls, Fault,
        http::{Caller, Reply, arg, caller, id, invalid, required},
        tell::ByNode,
    },
    store::{
        tokens::{self, EndedSession},
        users::{self, Known},
    },
};

/// `POST /server/login`.
pub(crate) async fn login(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    let (phone, password) = (required(call, "phone")?, required(call, "password")?);
    let device =
        arg(call, "device").map(Device::new).transpose().map_err(|error| invalid(error.to_string()))?;
    let Known { user, digest: known, disabled } = check(calls, call, phone, password).await?;
    if disabled {
        let (code, reason) = users::disabled();
        return Err(Fault::refused(code, reason));
    }
    let node = calls.door(None, call.original)?;
    let token = new_token()?;
    let digest = TokenDigest::of(&token);
    let (pool, limits) = (&calls.desk.pool, calls.device_limits());
    let made = tokens::create(pool, &digest, (user, &known), device.as_ref(), limits).await?;
    let gone = made.map_err(|(code, reason)| Fault::refused(code, reason))?;
    calls.desk.directory.drop_clients(&gone).await;
    sent_to(calls, &digest, user, device, &node).await;
    let user = Table::from_iter([("id".to_owned(), Value::from(user.0)), ("token".to_owned(), token.into())]);
    Ok(address(Reply::ok(), &node, call).with("user", user))
}

/// `POST /server/reconnect`: a node for who has a token already.
pub(crate) async fn reconnect(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    let caller = caller(calls, call).await?;
    if id::<UserId>(call, "id")? != Some(caller.user) {
        return Err(Fault::refused(Code::Token, "token error: not a token of this user"));
    }
    let node = calls.door(None, call.original)?;
    sent_to(calls, &caller.digest, caller.user, caller.device, &node).await;
    Ok(address(Reply::ok(), &node, call))
}

/// `POST /server/failed`: another node, if the caller's does not answer.
pub(crate) async fn failed(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    let caller = caller(calls, call).await?;
    if is_online(calls, &caller).await {
        return Ok(Reply::status(3).with("r", "IM is online"));
    }
    let node = calls.door(caller.at.as_ref(), call.original)?;
    sent_to(calls, &caller.digest, caller.user, caller.device, &node).await;
    Ok(address(Reply::ok(), &node, call))
}

/// `POST /server/logout`: the token ends, and with it the session that it opened. One that a newer token has opened on
/// that device goes on.
pub(crate) async fn logout(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    let caller = caller(calls, call).await?;
    let ended = tokens::revoke(&calls.desk.pool, &caller.digest).await?;
    calls.desk.directory.drop_clients(&[caller.digest]).await;
    if let Some(EndedSession { device, session, below }) = ended {
        let (on, below) = (Some(device.clone()), Some(below));
        let delivery = Delivery::Revoked { user: caller.user, device: on, below };
        calls.tell_user(caller.user, vec![delivery]).await;
        let session = Registration { user: caller.user, device, session };
        if let Err(error) = calls.desk.directory.unregister(&[session]).await {
            tracing::debug!(%error, "a route stays until its session ends");
        }
    }
    Ok(Reply::ok())
}

/// The user whose password it is, if phone and password do. Failures alone are counted, of the phone and of the caller's address.
async fn check(calls: &Calls, call: &HttpCall, phone: &str, password: &str) -> Result<Known, Fault> {
    let peer = call.peer.to_string();
    calls.check_failures("peer", &peer).await?;
    // A phone or password that nobody can have is not looked up, nor counted under a key of any length.
    let possible = rules::phone(phone).and(rules::password(password, "password")).is_ok();
    let known = if possible {
        calls.check_failures("login", phone).await?;
        users::password_by_phone(&calls.desk.pool, phone).await?
    } else {
        None
    };
    let digest = known.as_ref().map(|known| known.digest.as_str());
    // Cut, as digesting takes time with the length and a right one is no longer.
    let tried = if possible { password } else { "" };
    if calls.hashers.is(tried, digest).await?
        && let Some(known) = known
    {
        return Ok(known);
    }
    calls.count_failure("peer", &peer).await;
    if possible {
        calls.count_failure("login", phone).await;
    }
    Err(Fault::refused(Code::Credentials, "phone or password do not fit"))
}

impl Calls {
    /// Refuses when `what` failed too often for `key`.
    pub(super) async fn check_failures(&self, what: &str, key: &str) -> Result<(), Fault> {
        let limit = self.desk.config.account.login_failures;
        let limited = self.desk.directory.check_limit(what, key, limit).await;
        limited.map_err(|Limited { retry_after }| Fault::Refused {
            code: Code::RateLimited,
            reason: format!("expected fewer than {limit} failures, found them; wait {retry_after} s"),
            retry_after: Some(retry_after),
        })
    }

    /// Counts one failure.
    pub(super) async fn count_failure(&self, what: &str, key: &str) {
        let account = &self.desk.config.account;
        let window = account.login_window_seconds.get();
        if self.desk.directory.count(what, key, account.login_failures, window).await.is_err() {
            tracing::info!(what, "a limit on failures is reached");
        }
    }

    /// Tells the nodes where a user has sessions; all of them where the routes cannot say.
    pub(super) async fn tell_user(&self, user: UserId, deliveries: Vec<Delivery>) {
        if deliveries.is_empty() {
            return;
        }
        let nodes = match self.desk.directory.routes(&[user]).await {
            Routes::Unknown => self.tell.everywhere(),
            Routes::Known(routes) => routes.into_values().flatten().map(|route| route.node).collect(),
        };
        let by_node: ByNode = nodes.into_iter().map(|node| (node, deliveries.clone())).collect();
        self.tell.tell(by_node).await;
    }
}

/// Whether the caller's node answers: the one it was sent to or is on; once that is forgotten, its device's route.
async fn is_online(calls: &Calls, caller: &Caller) -> bool {
    if let Some((server, port)) = &caller.at {
        return calls.lives_at(server, *port);
    }
    match calls.desk.directory.routes(&[caller.user]).await {
        Routes::Unknown => false,
        Routes::Known(routes) => routes.into_values().flatten().any(|route| {
            Some(&route.device) == caller.device.as_ref() && calls.desk.nodes.is_live(&route.node)
        }),
    }
}

async fn sent_to(calls: &Calls, digest: &TokenDigest, user: UserId, device: Option<Device>, node: &NodeInfo) {
    let client = Client { user, device, at: Some((node.server.clone(), node.port)) };
    calls.desk.directory.put_clients(&[(digest.clone(), client)]).await;
}

/// As simple_im writes it: the port is a string. Its original clients go where they are told, to a port of their own.
fn address(reply: Reply, node: &NodeInfo, call: &HttpCall) -> Reply {
    let (server, port) = match &node.compat {
        Some(theirs) if call.original => (&theirs.server, theirs.port),
        _ => (&node.server, node.port),
    };
    reply.with("server", server.clone()).with("port", port.to_string())
}

/// 24 random bytes in base64.
fn new_token() -> Result<String, Fault> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes)
        .map_err(|error| Fault::Unavailable(format!("no randomness for a token: {error}")))?;
    Ok(STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_look_like_simple_ims_and_differ() {
        let (one, other) = (new_token().unwrap(), new_token().unwrap());
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
    }
}
