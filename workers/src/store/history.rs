//! What was said: a page of one conversation, and the list of a user's conversations.

use shared::{
    ids::{Conversation, Seq, UserId},
    message::Stored,
};

use super::{Session, StoreError, rows};

/// The newest ones before a place, within each interval in which the user takes part.
const PAGE: &str = "SELECT m.conv, m.seq, m.sender, m.ts, m.kind, m.want, m.device, m.id, m.content, m.version_sender, m.version_target
FROM participants p CROSS JOIN LATERAL (
    SELECT m.* FROM messages m
    WHERE m.conv = p.conv AND m.seq >= p.from_seq AND m.seq <= coalesce(p.to_seq, 9223372036854775807) AND m.seq < $3
      AND m.kind >= 0
    ORDER BY m.seq DESC LIMIT $4) m
WHERE p.user_id = $1 AND p.conv = $2
ORDER BY m.seq DESC LIMIT $4";

const TAKES_PART: &str = "SELECT 1 FROM participants WHERE user_id = $1 AND conv = $2 LIMIT 1";

/// The newest message that the user may see, how much is unread (counted to 1,000), and the read position.
const LIST: &str = "SELECT m.conv, m.seq, m.sender, m.ts, m.kind, m.want, m.device, m.id, m.content, m.version_sender, m.version_target,
       coalesce(r.seq, 0), u.unread, p.open
FROM (SELECT conv, max(from_seq) AS from_seq, bool_or(to_seq IS NULL) AS open,
             CASE WHEN bool_or(to_seq IS NULL) THEN 9223372036854775807 ELSE max(to_seq) END AS to_seq
      FROM participants WHERE user_id = $1 AND conv > $2 GROUP BY conv ORDER BY conv) p
CROSS JOIN LATERAL (SELECT m.* FROM messages m
                    WHERE m.conv = p.conv AND m.seq BETWEEN p.from_seq AND p.to_seq AND m.kind >= 0
                    ORDER BY m.seq DESC LIMIT 1) m
LEFT JOIN reads r ON r.user_id = $1 AND r.conv = p.conv
CROSS JOIN LATERAL (
    SELECT count(*) AS unread FROM (
        SELECT 1 FROM messages n
        WHERE n.conv = p.conv AND n.seq > greatest(coalesce(r.seq, 0), p.from_seq - 1) AND n.seq <= p.to_seq
          AND n.sender <> $1 AND n.kind >= 0
        ORDER BY n.seq LIMIT 1000) counted) u
ORDER BY p.conv LIMIT $3";

/// One of a user's conversations.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The newest message that the user may see.
    pub last: Stored,
    /// Its read position; 0: nothing.
    pub read: i64,
    /// Others' messages beyond that, counted to 1,000.
    pub unread: i64,
    /// Whether the user still takes part.
    pub open: bool,
}

/// The newest messages before `before` that this user may see, the newest last; and whether there are older ones.
///
/// # Errors
/// [`StoreError`].
pub async fn page(
    session: &Session,
    user: UserId,
    conversation: &Conversation,
    before: Option<Seq>,
    limit: usize,
) -> Result<(Vec<Stored>, bool), StoreError> {
    let wanted = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let before = before.map_or(i64::MAX, |seq| seq.0);
    let rows = session.query(PAGE, &[&user.0, &conversation.to_string(), &before, &wanted]).await?;
    let stored = rows.iter().take(limit).rev().map(|row| rows::stored(row, user));
    Ok((stored.collect::<Result<_, _>>()?, rows.len() > limit))
}

/// Whether the user takes part in the conversation, or did.
///
/// # Errors
/// [`StoreError`].
pub async fn takes_part(
    session: &Session,
    user: UserId,
    conversation: &Conversation,
) -> Result<bool, StoreError> {
    Ok(session.query_opt(TAKES_PART, &[&user.0, &conversation.to_string()]).await?.is_some())
}

/// A user's conversations whose names follow `after`, by name; and whether there are more.
///
/// # Errors
/// [`StoreError`].
pub async fn list(
    session: &Session,
    user: UserId,
    after: &str,
    limit: usize,
) -> Result<(Vec<Listed>, bool), StoreError> {
    let wanted = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let rows = session.query(LIST, &[&user.0, &after, &wanted]).await?;
    let listed = rows.iter().take(limit).map(|row| {
        let last = rows::stored(row, user)?;
        Ok(Listed { last, read: row.get(11), unread: row.get(12), open: row.get(13) })
    });
    Ok((listed.collect::<Result<_, StoreError>>()?, rows.len() > limit))
}
