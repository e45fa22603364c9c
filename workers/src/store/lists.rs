//! Contacts and groups as the HTTP API shows them.

use shared::ids::{GroupId, UserId};
use tokio_postgres::Row;

use super::{
    Session, StoreError,
    users::{User, user},
};

/// Read before the rows: a change in between is shown again by the next delta, never left out.
const VERSION: &str = "SELECT version FROM contact_versions WHERE user_id = $1";

const CONTACTS: &str = "SELECT u.id, u.phone, u.name, u.avatar, c.deleted, c.version
FROM contacts c JOIN users u ON u.id = c.contact_id
WHERE c.user_id = $1 AND c.version > $2 ORDER BY c.version, c.contact_id LIMIT $3";

/// Both ways; there is never one each way between the same two.
const REQUESTS: &str = "SELECT u.id, u.phone, u.name, u.avatar, w.own, w.message, extract(epoch FROM w.created_at)::bigint
FROM (SELECT from_id AS other, false AS own, message, created_at FROM contact_requests WHERE to_id = $1 AND from_id > $2
      UNION ALL
      SELECT to_id, true, message, created_at FROM contact_requests WHERE from_id = $1 AND to_id > $2) w
JOIN users u ON u.id = w.other ORDER BY u.id LIMIT $3";

const BLOCKED: &str = "SELECT u.id, u.phone, u.name, u.avatar
FROM blocks b JOIN users u ON u.id = b.blocked_id
WHERE b.user_id = $1 AND b.blocked_id > $2 ORDER BY b.blocked_id LIMIT $3";

const GROUPS: &str = "SELECT g.id, g.name, g.creator_id,
       (SELECT count(*) FROM participants a WHERE a.group_id = g.id AND a.to_seq IS NULL)
FROM participants p JOIN groups g ON g.id = p.group_id
WHERE p.user_id = $1 AND p.group_id IS NOT NULL AND p.to_seq IS NULL AND NOT g.dissolved
  AND ($2::bigint IS NULL OR g.id = $2) AND g.id > $3
ORDER BY g.id LIMIT $4";

const GROUP_EXISTS: &str = "SELECT 1 FROM groups WHERE id = $1 AND NOT dissolved";

const MEMBERS: &str = "SELECT u.id, u.phone, u.name, u.avatar
FROM participants p JOIN users u ON u.id = p.user_id
WHERE p.group_id = $1 AND p.to_seq IS NULL ORDER BY u.id";

/// A group, as its members see it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of the row")]
pub struct Group {
    pub id: GroupId,
    pub name: String,
    pub creator: UserId,
    pub members: i64,
}

/// A contact that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Who it is.
    pub user: User,
    /// The version at which it changed.
    pub version: i64,
    /// Whether it is one no more.
    pub deleted: bool,
}

/// What changed among a user's contacts since a version, by version, at most `limit`; and the version now.
///
/// # Errors
/// [`StoreError`].
pub async fn contacts(
    session: &Session,
    user_id: UserId,
    since: i64,
    limit: i64,
) -> Result<(i64, Vec<Contact>), StoreError> {
    let version = session.query_opt(VERSION, &[&user_id.0]).await?.map_or(0, |row| row.get(0));
    let rows = session.query(CONTACTS, &[&user_id.0, &since, &limit]).await?;
    let contact = |row: &Row| Contact { user: user(row), version: row.get(5), deleted: row.get(4) };
    Ok((version, rows.iter().map(contact).collect()))
}

/// A contact request that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whom it is to or from.
    pub user: User,
    /// Whether the caller has made it.
    pub own: bool,
    /// What it said.
    pub message: String,
    /// Since when, Unix seconds.
    pub ts: i64,
}

/// The contact requests that wait for a user's answer or that it has made, by the other side's id: those after `after`,
/// at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub async fn requests(
    session: &Session,
    user_id: UserId,
    after: Option<UserId>,
    limit: i64,
) -> Result<Vec<Request>, StoreError> {
    let after = after.map_or(0, |user| user.0);
    let rows = session.query(REQUESTS, &[&user_id.0, &after, &limit]).await?;
    let request =
        |row: &Row| Request { user: user(row), own: row.get(4), message: row.get(5), ts: row.get(6) };
    Ok(rows.iter().map(request).collect())
}

/// Whom a user blocks, by id: those after `after`, at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub async fn blocked(
    session: &Session,
    user_id: UserId,
    after: Option<UserId>,
    limit: i64,
) -> Result<Vec<User>, StoreError> {
    let after = after.map_or(0, |user| user.0);
    Ok(session.query(BLOCKED, &[&user_id.0, &after, &limit]).await?.iter().map(user).collect())
}

/// The groups that a user is a member of, by id: those after `after`, at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub async fn groups(
    session: &Session,
    user: UserId,
    after: Option<GroupId>,
    limit: i64,
) -> Result<Vec<Group>, StoreError> {
    let after = after.map_or(0, |group| group.0);
    let rows = session.query(GROUPS, &[&user.0, &None::<i64>, &after, &limit]).await?;
    Ok(rows.iter().map(group).collect())
}

/// One group, for its members.
///
/// # Errors
/// [`StoreError`].
pub async fn group_of(session: &Session, user: UserId, only: GroupId) -> Result<Option<Group>, StoreError> {
    let row = session.query_opt(GROUPS, &[&user.0, &only.0, &0i64, &1i64]).await?;
    Ok(row.as_ref().map(group))
}

fn group(row: &Row) -> Group {
    Group { id: GroupId(row.get(0)), name: row.get(1), creator: UserId(row.get(2)), members: row.get(3) }
}

/// Whether there is such a group.
///
/// # Errors
/// [`StoreError`].
pub async fn group_exists(session: &Session, group: GroupId) -> Result<bool, StoreError> {
    Ok(session.query_opt(GROUP_EXISTS, &[&group.0]).await?.is_some())
}

/// The members of a group.
///
/// # Errors
/// [`StoreError`].
pub async fn members(session: &Session, group: GroupId) -> Result<Vec<User>, StoreError> {
    Ok(session.query(MEMBERS, &[&group.0]).await?.iter().map(user).collect())
}
