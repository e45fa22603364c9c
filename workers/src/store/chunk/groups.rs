//! Groups and their members, as a chunk reads and writes them.

use std::{collections::HashMap, sync::Arc};

use shared::ids::{Conversation, GroupId, Seq, UserId};

use crate::store::{Session, StoreError};

const LOAD: &str = "SELECT id, creator_id, dissolved FROM groups WHERE id = ANY($1::int8[])";
const MEMBERS: &str = "
SELECT group_id, user_id, from_seq FROM participants
WHERE group_id = ANY($1::int8[]) AND to_seq IS NULL ORDER BY group_id, user_id";
const CREATE: &str = "INSERT INTO groups (name, creator_id) VALUES ($1, $2) RETURNING id";
const DISSOLVE: &str = "UPDATE groups SET dissolved = true WHERE id = $1";
const END: &str = "UPDATE participants SET to_seq = $3 WHERE user_id = $1 AND conv = $2 AND to_seq IS NULL";
const END_ALL: &str = "UPDATE participants SET to_seq = $2 WHERE group_id = $1 AND to_seq IS NULL";
/// Which of these do not exist, and which have blocked the one who names them.
const NAMED: &str = "
SELECT n.id, u.id IS NOT NULL, b.user_id IS NOT NULL
FROM unnest($1::int8[]) AS n(id)
LEFT JOIN users u ON u.id = n.id
LEFT JOIN blocks b ON b.user_id = n.id AND b.blocked_id = $2";
const SAW: &str = "
SELECT DISTINCT user_id FROM participants
WHERE conv = $1 AND from_seq <= $2 AND (to_seq IS NULL OR to_seq >= $2)";

/// A group as its lane's owner keeps it in memory.
#[derive(Debug, Clone)]
pub struct Group {
    /// Who made it, may remove members and dissolve it.
    pub creator: UserId,
    /// Nothing happens in it any more.
    pub dissolved: bool,
    /// Its members, each with where its membership began.
    pub members: HashMap<UserId, Seq>,
    /// The same, as a list to deliver to.
    pub everyone: Arc<[UserId]>,
    /// Where the newest membership began.
    pub newest: Seq,
}

/// Loads groups; one that does not exist is absent.
///
/// # Errors
/// The session's.
pub async fn load(session: &Session, ids: &[GroupId]) -> Result<HashMap<GroupId, Group>, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let (groups, members) = (session.query(LOAD, &[&ids]).await?, session.query(MEMBERS, &[&ids]).await?);
    let mut found: HashMap<GroupId, Group> = groups
        .iter()
        .map(|row| {
            let (creator, dissolved) = (UserId(row.get(1)), row.get(2));
            let group = Group {
                creator,
                dissolved,
                members: HashMap::new(),
                everyone: Arc::default(),
                newest: Seq(0),
            };
            (GroupId(row.get(0)), group)
        })
        .collect();
    for row in members {
        if let Some(group) = found.get_mut(&GroupId(row.get(0))) {
            group.members.insert(UserId(row.get(1)), Seq(row.get(2)));
        }
    }
    for group in found.values_mut() {
        let mut everyone: Vec<UserId> = group.members.keys().copied().collect();
        everyone.sort_unstable();
        group.everyone = everyone.into();
        group.newest = group.members.values().copied().max().unwrap_or(Seq(0));
    }
    Ok(found)
}

/// Makes a group without members.
///
/// # Errors
/// The session's.
pub async fn create(session: &Session, name: &str, creator: UserId) -> Result<GroupId, StoreError> {
    let row = session.query_opt(CREATE, &[&name, &creator.0]).await?;
    row.map(|row| GroupId(row.get(0))).ok_or_else(|| StoreError::Row {
        table: "groups",
        expected: "the id of the new row".to_owned(),
        found: "nothing".to_owned(),
    })
}

/// Ends a membership with the notice at `last`.
///
/// # Errors
/// The session's.
pub async fn end(session: &Session, group: GroupId, member: UserId, last: Seq) -> Result<(), StoreError> {
    session.execute(END, &[&member.0, &Conversation::Group(group).to_string(), &last.0]).await.map(drop)
}

/// Dissolves a group with the notice at `last`.
///
/// # Errors
/// The session's.
pub async fn dissolve(session: &Session, group: GroupId, last: Seq) -> Result<(), StoreError> {
    session.execute(DISSOLVE, &[&group.0]).await?;
    session.execute(END_ALL, &[&group.0, &last.0]).await.map(drop)
}

/// What stands against naming these users as members: `(unknown, blocking)`.
///
/// # Errors
/// The session's.
pub async fn objections(
    session: &Session,
    named: &[UserId],
    by: UserId,
) -> Result<(Vec<UserId>, Vec<UserId>), StoreError> {
    let ids: Vec<i64> = named.iter().map(|user| user.0).collect();
    let (mut unknown, mut blocking) = (Vec::new(), Vec::new());
    for row in session.query(NAMED, &[&ids, &by.0]).await? {
        let user = UserId(row.get(0));
        if !row.get::<_, bool>(1) {
            unknown.push(user);
        } else if row.get(2) {
            blocking.push(user);
        }
    }
    Ok((unknown, blocking))
}

/// Everyone whose part of a conversation covers `seq`.
///
/// # Errors
/// The session's.
pub async fn saw(session: &Session, conversation: Conversation, seq: Seq) -> Result<Vec<UserId>, StoreError> {
    let rows = session.query(SAW, &[&conversation.to_string(), &seq.0]).await?;
    Ok(rows.iter().map(|row| UserId(row.get(0))).collect())
}
