//! What the HTTP calls have in common: who calls, arguments, answers.

use std::str::FromStr;

use shared::{
    command::Code,
    ids::{Device, InvalidId, TokenDigest, UserId},
    rpc::{HttpCall, HttpReply},
    telemetry::Metric,
};
use toml::{Table, Value};

use super::{Calls, Fault, offline, people, talks};
use crate::{account, directory::Client, store::tokens};

/// Answers one call of the table; a refusal is an answer too.
pub(super) async fn answer(calls: &Calls, name: &'static str, call: HttpCall) -> Result<HttpReply, Fault> {
    let done = match name {
        "account.register" => account::register(calls, &call).await,
        "account.update" => account::update(calls, &call).await,
        "account.login" => account::login(calls, &call).await,
        "api.reconnect" => account::reconnect(calls, &call).await,
        "api.failed" => account::failed(calls, &call).await,
        "api.logout" => account::logout(calls, &call).await,
        "api.offline" => offline::offline(calls, &call).await,
        "api.offline_clear" => offline::clear(calls, &call).await,
        "api.user_by_phone" => people::by_phone(calls, &call).await,
        "api.user_by_id" => people::by_id(calls, &call).await,
        "api.contacts" => people::contacts(calls, &call).await,
        "api.requests" => people::requests(calls, &call).await,
        "api.blocked" => people::blocked(calls, &call).await,
        "api.devices" => account::devices(calls, &call).await,
        "api.device_end" => account::end_device(calls, &call).await,
        "api.groups" => people::groups(calls, &call).await,
        "api.group" => people::group(calls, &call).await,
        "api.conversations" => talks::conversations(calls, &call).await,
        "api.history" => talks::history(calls, &call).await,
        other => Err(Fault::refused(Code::Unknown, format!("expected a call of the table, found {other}"))),
    };
    match done {
        Ok(reply) => Ok(reply.into()),
        Err(Fault::Refused { code, reason, retry_after }) => Ok(refusal(code, &reason, retry_after)),
        Err(fault) => Err(fault),
    }
}

/// Who makes a call, by its token.
#[derive(Debug)]
pub(crate) struct Caller {
    pub digest: TokenDigest,
    pub user: UserId,
    /// The device that the token is bound to.
    pub device: Option<Device>,
    /// The node that the caller was sent to, or is on, while that is known.
    pub at: Option<(String, u16)>,
}

/// The caller, from the cache of verified tokens or from PostgreSQL.
pub(crate) async fn caller(calls: &Calls, call: &HttpCall) -> Result<Caller, Fault> {
    let seen = |by: &'static str| Metric::WorkerTokenChecks.counter(&[("result", by)]).increment(1);
    let Some(digest) = call.token.clone() else {
        seen("refused");
        return Err(Fault::refused(Code::Token, "token error: expected a cookie named token, found none"));
    };
    if let Some(Client { user, device, at }) = calls.desk.directory.client(&digest).await {
        seen("cache");
        return Ok(Caller { digest, user, device, at });
    }
    let Some((user, device)) = tokens::check(&calls.desk.pool, &digest).await? else {
        seen("refused");
        return Err(Fault::refused(Code::Token, "token error: it is not, or no longer, valid"));
    };
    seen("store");
    let client = Client { user, device: device.clone(), at: None };
    calls.desk.directory.put_clients(&[(digest.clone(), client)]).await;
    Ok(Caller { digest, user, device, at: None })
}

/// An argument that may be absent.
pub(crate) fn arg<'a>(call: &'a HttpCall, name: &str) -> Option<&'a str> {
    call.args.get(name).map(String::as_str)
}

/// An argument that must be there.
pub(crate) fn required<'a>(call: &'a HttpCall, name: &str) -> Result<&'a str, Fault> {
    arg(call, name).ok_or_else(|| invalid(format!("expected the argument {name}, found none")))
}

/// An id among the arguments.
pub(crate) fn id<T: FromStr<Err = InvalidId>>(call: &HttpCall, name: &str) -> Result<Option<T>, Fault> {
    let id = arg(call, name).map(str::parse).transpose();
    id.map_err(|error: InvalidId| invalid(format!("argument {name}: {error}")))
}

/// A number among the arguments, within its range; `default` where it is absent.
pub(crate) fn number(call: &HttpCall, name: &str, default: i64, from: i64, to: i64) -> Result<i64, Fault> {
    let Some(text) = arg(call, name) else { return Ok(default) };
    text.parse().ok().filter(|number| (from..=to).contains(number)).ok_or_else(|| {
        let found: String = text.chars().take(32).collect();
        invalid(format!("argument {name}: expected a number from {from} to {to}, found {found:?}"))
    })
}

/// 400.
pub(crate) fn invalid(reason: String) -> Fault {
    Fault::refused(Code::Invalid, reason)
}

/// An answer under construction: `[[response]]` with `status = 0`, then what else there is.
#[derive(Debug)]
pub(crate) struct Reply {
    response: Table,
    rest: Table,
}

impl Reply {
    pub fn ok() -> Self {
        Self::status(0)
    }

    /// With another status; HTTP's is 200 all the same.
    pub fn status(status: i64) -> Self {
        Self { response: Table::from_iter([("status".to_owned(), status.into())]), rest: Table::new() }
    }

    /// A key of the response.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.response.insert(key.to_owned(), value.into());
        self
    }

    /// An array of tables after the response; none where it is empty.
    pub fn rows(mut self, key: &str, rows: impl IntoIterator<Item = Table>) -> Self {
        let rows: Vec<Value> = rows.into_iter().map(Value::Table).collect();
        if !rows.is_empty() {
            self.rest.insert(key.to_owned(), Value::Array(rows));
        }
        self
    }

    /// Tables that stand beside the response.
    pub fn beside(mut self, tables: Table) -> Self {
        self.rest.extend(tables);
        self
    }
}

impl From<Reply> for HttpReply {
    fn from(reply: Reply) -> Self {
        let response = Value::Array(vec![Value::Table(reply.response)]);
        let mut body = Table::from_iter([("response".to_owned(), response)]);
        body.extend(reply.rest);
        Self { status: 200, retry_after: None, body }
    }
}

fn refusal(code: Code, reason: &str, retry_after: Option<u64>) -> HttpReply {
    let reply: HttpReply = Reply::status(1).with("r", reason).with("code", code.as_str()).into();
    HttpReply { status: code.http(), retry_after, ..reply }
}

/// Frames as clients get them, as tables: `m`, `gm` and `r`, each an array.
pub(crate) fn frames(frames: &[u8]) -> Result<Table, Fault> {
    toml::from_slice(frames).map_err(|error| {
        tracing::error!(%error, "frames that were just written cannot be read");
        Fault::Unavailable("stored frames could not be shown".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(args: &[(&str, &str)]) -> HttpCall {
        let args = args.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        HttpCall { token: None, peer: std::net::IpAddr::from([127, 0, 0, 1]), original: false, args }
    }

    #[test]
    fn arguments_out_of_range_are_refused_with_what_was_found() {
        let call = call(&[("limit", "0"), ("id", "-3")]);
        let said = number(&call, "limit", 10, 1, 200).unwrap_err().to_string();
        assert!(said.contains("1 to 200") && said.contains("\"0\""), "{said}");
        assert_eq!(number(&call, "absent", 10, 1, 200).unwrap(), 10);
        assert!(id::<UserId>(&call, "id").is_err());
        assert_eq!(id::<UserId>(&call, "absent").unwrap(), None);
    }

    #[test]
    fn the_response_comes_first() {
        let reply: HttpReply = Reply::ok().rows("user", [Table::new()]).with("contact_version", 3).into();
        let keys: Vec<&String> = reply.body.keys().collect();
        assert_eq!(keys, ["response", "user"]);
        let text = toml::to_string(&reply.body).unwrap();
        assert!(text.starts_with("[[response]]\nstatus = 0\ncontact_version = 3\n"), "{text}");
    }
}
