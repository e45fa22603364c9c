//! Contacts, contact requests, blocks and contact versions, as a chunk reads and writes them.

use shared::ids::UserId;

use crate::store::{Session, StoreError};

/// How two users stand to each other, from the first one's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "said by the names")]
pub struct Standing {
    pub exists: bool,
    pub contacts: bool,
    pub i_asked: bool,
    pub they_asked: bool,
    pub they_block_me: bool,
}

const STANDING: &str = "
SELECT EXISTS (SELECT 1 FROM users WHERE id = $2),
       EXISTS (SELECT 1 FROM contacts WHERE user_id = $1 AND contact_id = $2 AND NOT deleted),
       EXISTS (SELECT 1 FROM contact_requests WHERE to_id = $2 AND from_id = $1),
       EXISTS (SELECT 1 FROM contact_requests WHERE to_id = $1 AND from_id = $2),
       EXISTS (SELECT 1 FROM blocks WHERE user_id = $2 AND blocked_id = $1)";

/// Which of many (sender, recipient) pairs may talk: the recipient exists, and has not blocked the sender.
const PAIRS: &str = "
SELECT p.place, u.id IS NOT NULL, b.user_id IS NOT NULL
FROM unnest($1::int8[], $2::int8[]) WITH ORDINALITY AS p(sender, recipient, place)
LEFT JOIN LATERAL (SELECT id FROM users WHERE id = p.recipient LIMIT 1) u ON true
LEFT JOIN LATERAL (
    SELECT user_id FROM blocks WHERE user_id = p.recipient AND blocked_id = p.sender LIMIT 1
) b ON true";

/// In user-id order, so that two chunks that change the same users' versions cannot wait for each other.
const MAKE_VERSIONS: &str = "
INSERT INTO contact_versions (user_id, version)
SELECT id, 0 FROM users WHERE id = ANY($1::int8[]) ORDER BY id
ON CONFLICT (user_id) DO NOTHING";
const LOCK_VERSIONS: &str =
    "SELECT user_id FROM contact_versions WHERE user_id = ANY($1::int8[]) ORDER BY user_id FOR UPDATE";
const RAISE_VERSION: &str =
    "UPDATE contact_versions SET version = version + 1 WHERE user_id = $1 RETURNING version";
const SET_CONTACT: &str = "
INSERT INTO contacts (user_id, contact_id, version, deleted) VALUES ($1, $2, $3, $4)
ON CONFLICT (user_id, contact_id) DO UPDATE SET version = excluded.version, deleted = excluded.deleted";
const ASK: &str =
    "INSERT INTO contact_requests (to_id, from_id, message) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
const FORGET: &str =
    "DELETE FROM contact_requests WHERE (to_id = $1 AND from_id = $2) OR (to_id = $2 AND from_id = $1)";
const FORGET_ONE: &str = "DELETE FROM contact_requests WHERE to_id = $1 AND from_id = $2";
const BLOCK: &str = "INSERT INTO blocks (user_id, blocked_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
const UNBLOCK: &str = "DELETE FROM blocks WHERE user_id = $1 AND blocked_id = $2";

/// How `me` stands to `other`.
///
/// # Errors
/// The session's.
pub async fn standing(session: &Session, me: UserId, other: UserId) -> Result<Standing, StoreError> {
    let row = session.query(STANDING, &[&me.0, &other.0]).await?;
    let bit = |n: usize| row.first().is_some_and(|row| row.get(n));
    Ok(Standing {
        exists: bit(0),
        contacts: bit(1),
        i_asked: bit(2),
        they_asked: bit(3),
        they_block_me: bit(4),
    })
}

/// For each (sender, recipient): does the recipient exist, and has it blocked the sender?
///
/// # Errors
/// The session's.
pub async fn pairs(session: &Session, pairs: &[(UserId, UserId)]) -> Result<Vec<(bool, bool)>, StoreError> {
    let senders: Vec<i64> = pairs.iter().map(|(sender, _)| sender.0).collect();
    let recipients: Vec<i64> = pairs.iter().map(|(_, recipient)| recipient.0).collect();
    let mut found = vec![(false, false); pairs.len()];
    for row in session.query(PAIRS, &[&senders, &recipients]).await? {
        found[row.get::<_, i64>(0) as usize - 1] = (row.get(1), row.get(2));
    }
    Ok(found)
}

/// Locks the contact versions of these users until the end of the transaction.
///
/// # Errors
/// The session's.
pub async fn lock_versions(session: &Session, users: &[UserId]) -> Result<(), StoreError> {
    let ids: Vec<i64> = users.iter().map(|user| user.0).collect();
    session.execute(MAKE_VERSIONS, &[&ids]).await?;
    session.query(LOCK_VERSIONS, &[&ids]).await.map(drop)
}

/// Makes or ends a contact in both directions; gives back the new contact version of each.
///
/// # Errors
/// The session's.
pub async fn set_contact(
    session: &Session,
    me: UserId,
    other: UserId,
    deleted: bool,
) -> Result<(i64, i64), StoreError> {
    let mine = raise(session, me).await?;
    let theirs = if other == me { mine } else { raise(session, other).await? };
    session.execute(SET_CONTACT, &[&me.0, &other.0, &mine, &deleted]).await?;
    if other != me {
        session.execute(SET_CONTACT, &[&other.0, &me.0, &theirs, &deleted]).await?;
    }
    Ok((mine, theirs))
}

async fn raise(session: &Session, user: UserId) -> Result<i64, StoreError> {
    let row = session.query_opt(RAISE_VERSION, &[&user.0]).await?;
    row.map(|row| row.get(0)).ok_or_else(|| StoreError::Row {
        table: "contact_versions",
        expected: "a row made when it was locked".to_owned(),
        found: "none".to_owned(),
    })
}

/// Notes that `from` waits for `to`'s answer, and what it said.
///
/// # Errors
/// The session's.
pub async fn ask(session: &Session, from: UserId, to: UserId, message: &str) -> Result<(), StoreError> {
    session.execute(ASK, &[&to.0, &from.0, &message]).await.map(drop)
}

/// Forgets what either waited for.
///
/// # Errors
/// The session's.
pub async fn forget(session: &Session, one: UserId, other: UserId) -> Result<(), StoreError> {
    session.execute(FORGET, &[&one.0, &other.0]).await.map(drop)
}

/// From now on `me` refuses everything from `other`; what it asked is forgotten.
///
/// # Errors
/// The session's.
pub async fn block(session: &Session, me: UserId, other: UserId) -> Result<(), StoreError> {
    session.execute(BLOCK, &[&me.0, &other.0]).await?;
    session.execute(FORGET_ONE, &[&me.0, &other.0]).await.map(drop)
}

/// Ends a block.
///
/// # Errors
/// The session's.
pub async fn unblock(session: &Session, me: UserId, other: UserId) -> Result<(), StoreError> {
    session.execute(UNBLOCK, &[&me.0, &other.0]).await.map(drop)
}
