//! `POST /user` and `PUT /user`.

use shared::{command::Code, delivery::Delivery, rpc::HttpCall};

use super::rules;
use crate::{
    rpc::{
        Calls, Fault,
        http::{Caller, Reply, arg, caller, invalid, required},
    },
    store::{
        tokens::Ended,
        users::{self, Change, NewPassword},
    },
};

/// `POST /user`.
pub(crate) async fn register(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    let phone = rules::phone(required(call, "phone")?)?;
    let name = rules::name(required(call, "name")?)?;
    let password = rules::password(required(call, "password")?, "password")?;
    let avatar = rules::avatar(arg(call, "avatar").unwrap_or_default())?;
    let taken = || Fault::refused(Code::Taken, "expected a phone that is free, found one that is registered");
    // Looked up first, so that a taken phone costs no digest.
    if users::by_phone(&calls.desk.pool, phone).await?.is_some() {
        return Err(taken());
    }
    let digest = calls.hashers.digest(password).await?;
    users::create(&calls.desk.pool, phone, name, avatar, &digest).await?.ok_or_else(taken)?;
    Ok(Reply::ok())
}

/// `PUT /user`: name, avatar, or the password by the old one. A changed password ends the user's other tokens,
/// and the connections that were not made with the caller's.
pub(crate) async fn update(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    let caller = caller(calls, call).await?;
    let name = arg(call, "name").map(rules::name).transpose()?;
    let avatar = arg(call, "avatar").map(rules::avatar).transpose()?;
    let password = arg(call, "password").map(|text| rules::password(text, "password")).transpose()?;
    if name.is_none() && avatar.is_none() && password.is_none() {
        return Err(invalid("expected one of name, avatar and password, found none".to_owned()));
    }
    let digests = match password {
        Some(password) => Some(change(calls, call, &caller, password).await?),
        None => None,
    };
    let password = digests.as_ref().map(|(old, digest)| NewPassword { digest, old, keep: &caller.digest });
    let ended = users::update(&calls.desk.pool, caller.user, Change { name, avatar, password }).await?;
    end(calls, &caller, ended.ok_or_else(does_not_fit)?).await;
    Ok(Reply::ok())
}

/// The old password's digest, which it fits, and the new one's.
async fn change(
    calls: &Calls,
    call: &HttpCall,
    caller: &Caller,
    password: &str,
) -> Result<(String, String), Fault> {
    let old = rules::password(required(call, "old_password")?, "old_password")?;
    let key = caller.user.to_string();
    calls.check_failures("password", &key).await?;
    let known = users::password_of(&calls.desk.pool, caller.user).await?;
    if !calls.hashers.is(old, known.as_deref()).await? {
        calls.count_failure("password", &key).await;
        return Err(does_not_fit());
    }
    let known = known.ok_or_else(does_not_fit)?;
    Ok((known, calls.hashers.digest(password).await?))
}

fn does_not_fit() -> Fault {
    Fault::refused(Code::Credentials, "old_password does not fit")
}

/// Forgets the tokens and closes the connections that have ended with a password, or with a device.
pub(super) async fn end(calls: &Calls, caller: &Caller, ended: Ended) {
    calls.desk.directory.drop_clients(&ended.tokens).await;
    let revoked =
        |(device, below)| Delivery::Revoked { user: caller.user, device: Some(device), below: Some(below) };
    calls.tell_user(caller.user, ended.devices.into_iter().map(revoked).collect()).await;
}
