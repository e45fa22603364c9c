//! `api.user_*`, `api.contacts`, `api.requests`, `api.blocked`, `api.group*`.

use std::time::Duration;

use shared::{
    command::Code,
    ids::{GroupId, UserId},
    rpc::HttpCall,
};
use toml::{Table, Value};

use super::{
    ANSWER_BYTES, Calls, Fault,
    http::{Reply, caller, id, invalid, number, required},
};
use crate::store::{
    lists::{self, Group},
    users::{self, User},
};

/// Contacts in one answer, if their bytes allow; the rest follows from the version that it gives. So for requests that
/// wait and for who is blocked, which follow after the last one.
const CONTACTS: i64 = 2000;

/// Groups in one answer, likewise; the rest follows after the last one.
const GROUPS: i64 = 2000;

/// `GET /user/phone/{phone}`.
pub(super) async fn by_phone(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    let caller = caller(calls, call).await?;
    let limit = calls.desk.config.account.phone_lookups;
    let counted =
        calls.desk.directory.count("phone", &caller.user.to_string(), limit, Duration::from_secs(60)).await;
    counted.map_err(|limited| Fault::Refused {
        code: Code::RateLimited,
        reason: format!("expected at most {limit} look-ups by phone a minute, found more"),
        retry_after: Some(limited.retry_after),
    })?;
    shown(users::by_phone(&calls.desk.pool, required(call, "phone")?).await?)
}

/// `GET /user/id/{id}`.
pub(super) async fn by_id(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    caller(calls, call).await?;
    let id = id(call, "id")?.ok_or_else(|| invalid("expected the argument id, found none".to_owned()))?;
    shown(users::by_id(&calls.desk.pool, id).await?)
}

/// `GET /contact/version/{version}`: what changed since.
pub(super) async fn contacts(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    let caller = caller(calls, call).await?;
    required(call, "version")?;
    let since = number(call, "version", 0, 0, i64::MAX)?;
    let session = calls.desk.pool.get().await?;
    let (version, changed) = lists::contacts(&session, caller.user, since, CONTACTS + 1).await?;
    let versions: Vec<i64> = changed.iter().map(|contact| contact.version).collect();
    let (rows, more) = page(CONTACTS, changed, |contact| {
        let mut table = table(contact.user);
        if contact.deleted {
            table.insert("deleted".to_owned(), 1.into());
        }
        table
    });
    // With more to come, the next delta begins after the last one shown.
    let last = rows.len().checked_sub(1).map(|at| versions[at]);
    let version = if more { last.unwrap_or(since) } else { version.max(last.unwrap_or(0)) };
    let reply = Reply::ok().with("contact_version", version).rows("user", rows);
    Ok(if more { reply.with("more", 1) } else { reply })
}

/// `GET /contact/request`: those that wait, for the caller or by it.
pub(super) async fn requests(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    let caller = caller(calls, call).await?;
    let after: Option<UserId> = id(call, "after")?;
    let session = calls.desk.pool.get().await?;
    let waiting = lists::requests(&session, caller.user, after, CONTACTS + 1).await?;
    let (rows, more) = page(CONTACTS, waiting, |request| {
        let mut table = table(request.user);
        if request.own {
            table.insert("own".to_owned(), 1.into());
        }
        table.insert("message".to_owned(), request.message.into());
        table.insert("ts".to_owned(), request.ts.into());
        table
    });
    Ok(Reply::ok().with("more", i64::from(more)).rows("request", rows))
}

/// `GET /contact/blocked`: whom the caller blocks.
pub(super) async fn blocked(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    let caller = caller(calls, call).await?;
    let after: Option<UserId> = id(call, "after")?;
    let session = calls.desk.pool.get().await?;
    let blocked = lists::blocked(&session, caller.user, after, CONTACTS + 1).await?;
    let (rows, more) = page(CONTACTS, blocked, table);
    Ok(Reply::ok().with("more", i64::from(more)).rows("user", rows))
}

/// `GET /group`: the caller's, by id, `after` one of them.
pub(super) async fn groups(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    let caller = caller(calls, call).await?;
    let after = id(call, "after")?;
    let session = calls.desk.pool.get().await?;
    let groups = lists::groups(&session, caller.user, after, GROUPS + 1).await?;
    let (rows, more) = page(GROUPS, groups, group_table);
    let reply = Reply::ok().rows("group", rows);
    Ok(if more { reply.with("more", 1) } else { reply })
}

/// The first rows as tables, at most `most` of them and as many as one answer carries; and whether some were left out.
fn page<T>(most: i64, rows: Vec<T>, table: impl Fn(T) -> Table) -> (Vec<Table>, bool) {
    let (all, most) = (rows.len(), usize::try_from(most).unwrap_or(usize::MAX));
    let mut room = ANSWER_BYTES;
    let mut kept: Vec<Table> = Vec::with_capacity(all.min(most));
    for row in rows.into_iter().take(most) {
        let table = table(row);
        let Some(left) = room.checked_sub(written(&table)) else { break };
        room = left;
        kept.push(table);
    }
    let more = kept.len() < all;
    (kept, more)
}

/// A table's bytes as they are sent: escapes can make a text several times as long as it is.
fn written(table: &Table) -> usize {
    /// Around each: `[[user]]` and the like.
    const HEADER: usize = 16;
    toml::to_string(table).map_or(ANSWER_BYTES, |text| text.len() + HEADER)
}

/// `GET /group/{id}`: for its members.
pub(super) async fn group(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    let caller = caller(calls, call).await?;
    let id: GroupId =
        id(call, "id")?.ok_or_else(|| invalid("expected the argument id, found none".to_owned()))?;
    let session = calls.desk.pool.get().await?;
    let Some(group) = lists::group_of(&session, caller.user, id).await? else {
        return Err(if lists::group_exists(&session, id).await? {
            Fault::refused(Code::NotMember, format!("expected a member of group {id}, found another user"))
        } else {
            Fault::refused(Code::NotFound, format!("expected a group with id {id}, found none"))
        });
    };
    let members = lists::members(&session, id).await?;
    let ids: Vec<Value> = members.iter().map(|member| member.id.0.into()).collect();
    let mut table = group_table(group);
    table.insert("members".to_owned(), Value::Array(ids));
    // Every id is told; the names of a very large group are to be looked up one by one.
    let (named, _) = page(i64::MAX, members, self::table);
    Ok(Reply::ok().rows("group", [table]).rows("user", named))
}

fn shown(user: Option<User>) -> Result<Reply, Fault> {
    let user =
        user.ok_or_else(|| Fault::refused(Code::NotFound, "expected a registered user, found none"))?;
    Ok(Reply::ok().rows("user", [table(user)]))
}

fn table(user: User) -> Table {
    Table::from_iter([
        ("id".to_owned(), Value::from(user.id.0)),
        ("name".to_owned(), user.name.into()),
        ("phone".to_owned(), user.phone.into()),
        ("avatar".to_owned(), user.avatar.into()),
    ])
}

fn group_table(group: Group) -> Table {
    Table::from_iter([
        ("id".to_owned(), Value::from(group.id.0)),
        ("name".to_owned(), group.name.into()),
        ("creator".to_owned(), group.creator.0.into()),
        ("count".to_owned(), group.members.into()),
    ])
}
