//! The calls that list: groups, conversations, history. Each gives a page and says whether there is more.

use serde::Deserialize;
use toml::{Table, Value};

use super::{
    Api, ApiError, Reply, User,
    api::{unreadable, users},
};
use crate::{
    client::{Delivery, incoming},
    ids::{Conversation, GroupId, Seq, UserId},
    message::Target,
};

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// What it holds, in the order of the call.
    pub rows: Vec<T>,
    /// Whether the list goes on: ask again from the last one of this page.
    pub more: bool,
}

/// A group as its members see it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the keys of [[group]]")]
pub struct Group {
    pub id: GroupId,
    #[serde(default)]
    pub name: String,
    pub creator: UserId,
    /// How many members it has.
    pub count: i64,
    /// Who they are; empty in a list of groups.
    #[serde(default)]
    pub members: Vec<UserId>,
}

/// A contact request that waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The other side.
    pub user: User,
    /// Whether this user has made it.
    pub own: bool,
    /// The word with it.
    pub message: String,
    /// When, Unix seconds.
    pub ts: i64,
}

/// A conversation as one of its people has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Talk {
    /// Which one.
    pub conversation: Conversation,
    /// The `seq` up to which this user has read; 0: nothing.
    pub read: i64,
    /// How many of others' messages lie beyond, counted to 1,000.
    pub unread: i64,
    /// A group that this user is no longer in.
    pub left: bool,
    /// The newest frame that this user may see.
    pub last: Option<Delivery>,
}

impl Api {
    /// The groups this user is in, by id, from the one after `after`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn groups(&self, token: &str, after: Option<GroupId>) -> Result<Page<Group>, ApiError> {
        let after = after.map(|group| group.to_string());
        let reply = self.call("GET", "/group", Some(token), &given("after", &after)).await?.success()?;
        Ok(Page { rows: groups(&reply)?, more: more(&reply) })
    }

    /// A group and its members. A very large group names all its members by id and describes the first ones.
    ///
    /// # Errors
    /// [`ApiError`]; `not_member` for who is none.
    pub async fn group(&self, token: &str, id: GroupId) -> Result<(Group, Vec<User>), ApiError> {
        let reply = self.call("GET", &format!("/group/{id}"), Some(token), &[]).await?.success()?;
        let group = groups(&reply)?.into_iter().next().ok_or_else(|| unreadable("[[group]]", &reply))?;
        Ok((group, users(&reply)?))
    }

    /// The contact requests that wait, of others and of this user, by the other side's id, from the one after `after`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn requests(&self, token: &str, after: Option<UserId>) -> Result<Page<Request>, ApiError> {
        let after = after.map(|user| user.to_string());
        let args = given("after", &after);
        let reply = self.call("GET", "/contact/request", Some(token), &args).await?.success()?;
        let rows: Option<Vec<Request>> = reply.rows("request").map(request).collect();
        let rows = rows.ok_or_else(|| unreadable("[[request]] with id, name and phone", &reply))?;
        Ok(Page { rows, more: more(&reply) })
    }

    /// Whom this user has blocked, by id, from the one after `after`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn blocked(&self, token: &str, after: Option<UserId>) -> Result<Page<User>, ApiError> {
        let after = after.map(|user| user.to_string());
        let args = given("after", &after);
        let reply = self.call("GET", "/contact/blocked", Some(token), &args).await?.success()?;
        Ok(Page { rows: users(&reply)?, more: more(&reply) })
    }

    /// The conversations of this user, by name, from the one after `after`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn conversations(
        &self,
        token: &str,
        after: Option<Conversation>,
    ) -> Result<Page<Talk>, ApiError> {
        let after = after.map(|conversation| conversation.to_string());
        let reply =
            self.call("GET", "/conversation", Some(token), &given("after", &after)).await?.success()?;
        let rows: Option<Vec<Talk>> = reply.rows("conversation").map(talk).collect();
        let rows = rows.ok_or_else(|| unreadable("[[conversation]] with its name", &reply))?;
        Ok(Page { rows, more: more(&reply) })
    }

    /// The newest `limit` frames of a conversation, oldest first; with `before` those that are further back.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn history(
        &self,
        token: &str,
        of: Target,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Page<Delivery>, ApiError> {
        let (kind, id) = match of {
            Target::User(user) => ("with", user.to_string()),
            Target::Group(group) => ("group", group.to_string()),
        };
        let (before, limit) = (before.map(|seq| seq.to_string()), limit.to_string());
        let mut args = vec![(kind, id.as_str()), ("limit", limit.as_str())];
        args.extend(given("before", &before));
        let reply = self.call("GET", "/history", Some(token), &args).await?.success()?;
        let mut rows = incoming::deliveries(&reply.body);
        // The answer has one list a kind.
        rows.sort_by_key(|delivery| delivery.seq);
        Ok(Page { rows, more: more(&reply) })
    }
}

fn given<'a>(key: &'a str, value: &'a Option<String>) -> Vec<(&'a str, &'a str)> {
    value.iter().map(|value| (key, value.as_str())).collect()
}

fn more(reply: &Reply) -> bool {
    reply.response().and_then(|response| response.get("more")?.as_integer()) == Some(1)
}

fn groups(reply: &Reply) -> Result<Vec<Group>, ApiError> {
    let groups: Result<_, _> = reply.rows("group").map(|row| row.clone().try_into::<Group>()).collect();
    groups.map_err(|_| unreadable("[[group]] with id, name, creator and count", reply))
}

fn request(row: &Table) -> Option<Request> {
    let number = |key: &str| row.get(key).and_then(Value::as_integer).unwrap_or(0);
    let message = row.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(Request { user: row.clone().try_into().ok()?, own: number("own") == 1, message, ts: number("ts") })
}

fn talk(row: &Table) -> Option<Talk> {
    let number = |key: &str| row.get(key).and_then(Value::as_integer).unwrap_or(0);
    let last = || {
        let kind = row.get("kind")?.as_str()?.to_owned();
        let document = Table::from_iter([(kind, Value::Array(vec![row.get("last")?.clone()]))]);
        incoming::deliveries(&document).pop()
    };
    Some(Talk {
        conversation: row.get("conversation")?.as_str()?.parse().ok()?,
        read: number("read"),
        unread: number("unread"),
        left: number("left") == 1,
        last: last(),
    })
}
