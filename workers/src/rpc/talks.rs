//! `api.conversations` and `api.history`.

use shared::{
    command::Code,
    ids::{Conversation, GroupId, Seq, UserId},
    message::write,
    rpc::HttpCall,
};
use toml::{Table, Value};

use super::{
    ANSWER_BYTES, Calls, Fault,
    http::{Reply, arg, caller, frames, id, invalid, number},
};
use crate::store::{
    history::{self, Listed},
    lists, users,
};

/// `GET /conversation`: by name, `after` one of them.
pub(super) async fn conversations(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    let caller = caller(calls, call).await?;
    let limit = number(call, "limit", 100, 1, 200)?;
    let after = arg(call, "after").unwrap_or_default();
    if !after.is_empty() {
        after.parse::<Conversation>().map_err(|error| invalid(format!("argument after: {error}")))?;
    }
    let session = calls.desk.pool.get().await?;
    let (listed, mut more) =
        history::list(&session, caller.user, after, usize::try_from(limit).unwrap_or(1)).await?;
    let (mut rows, mut bytes) = (Vec::with_capacity(listed.len()), 0);
    for one in &listed {
        if bytes > ANSWER_BYTES {
            more = true;
            break;
        }
        let mut frame = Vec::new();
        write::stored(&one.last, &mut frame);
        bytes += frame.len();
        rows.push(row(caller.user, one, frames(&frame)?));
    }
    Ok(Reply::ok().with("more", i64::from(more)).rows("conversation", rows))
}

/// `GET /history`: the newest before `before`, the newest last.
pub(super) async fn history(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    let caller = caller(calls, call).await?;
    let limit = number(call, "limit", 50, 1, 200)?;
    let before: Option<Seq> = id(call, "before")?;
    let conversation = match (id::<UserId>(call, "with")?, id::<GroupId>(call, "group")?) {
        (Some(user), None) => Conversation::direct(caller.user, user),
        (None, Some(group)) => Conversation::Group(group),
        _ => {
            return Err(invalid(
                "expected one of the arguments with and group, found none or both".to_owned(),
            ));
        }
    };
    let session = calls.desk.pool.get().await?;
    let limit = usize::try_from(limit).unwrap_or(1);
    let (rows, mut more) = history::page(&session, caller.user, &conversation, before, limit).await?;
    if rows.is_empty() && !history::takes_part(&session, caller.user, &conversation).await? {
        match conversation {
            Conversation::Group(group) if lists::group_exists(&session, group).await? => {
                let reason = format!("expected a member of group {group}, found another user");
                return Err(Fault::refused(Code::NotMember, reason));
            }
            Conversation::Group(group) => {
                return Err(Fault::refused(
                    Code::NotFound,
                    format!("expected a group with id {group}, found none"),
                ));
            }
            Conversation::Direct(..) => {
                // The conversation is the caller's by its name; it only has no message yet.
                drop(session);
                let peer = conversation.peer(caller.user).unwrap_or(caller.user);
                if users::by_id(&calls.desk.pool, peer).await?.is_none() {
                    let reason = format!("expected a registered user, found none with id {peer}");
                    return Err(Fault::refused(Code::NotFound, reason));
                }
            }
        }
    }
    let written = newest_within(&rows, &mut more);
    Ok(Reply::ok().with("more", i64::from(more)).beside(frames(&written)?))
}

/// The newest frames that one answer carries; `more` when older ones were left out.
fn newest_within(rows: &[shared::message::Stored], more: &mut bool) -> Vec<u8> {
    let mut kept = Vec::with_capacity(rows.len());
    let mut bytes = 0;
    for row in rows.iter().rev() {
        if bytes > ANSWER_BYTES {
            *more = true;
            break;
        }
        let mut frame = Vec::new();
        write::stored(row, &mut frame);
        bytes += frame.len();
        kept.push(frame);
    }
    kept.reverse();
    kept.concat()
}

/// Who it is with, what was said last, and how far it was read.
fn row(user: UserId, listed: &Listed, frame: Table) -> Table {
    let conversation = listed.last.conversation;
    let mut table = Table::from_iter([("conversation".to_owned(), Value::from(conversation.to_string()))]);
    let mut put = |key: &str, value: Value| {
        table.insert(key.to_owned(), value);
    };
    match conversation {
        Conversation::Direct(..) => put("user", conversation.peer(user).unwrap_or(user).0.into()),
        Conversation::Group(group) => put("group", group.0.into()),
    }
    put("read", listed.read.into());
    put("unread", listed.unread.into());
    if !listed.open {
        put("left", 1.into());
    }
    // One frame is one array with one table.
    for (kind, tables) in frame {
        if let Value::Array(tables) = tables
            && let Some(last) = tables.into_iter().next()
        {
            put("kind", kind.into());
            put("last", last);
        }
    }
    table
}
