//! What a device has not acknowledged: of each of its user's conversations what lies beyond its cursor, within the
//! intervals in which the user takes part.

use std::collections::BTreeMap;

use shared::{
    ids::{Conversation, Device, Seq, SessionNo, UserId},
    message::Stored,
};

use super::{Session, StoreError, rows};

/// Walks the user's conversations in order and stops when there is enough; one that is read to its end costs one look
/// into the index. All three columns of the order are needed: a sort by fewer leaves the rest to chance. `$3` holds places further than the cursors, as a JSON object: a hash of them would lose the order.
const OWED: &str = "WITH given AS MATERIALIZED (SELECT $3::text::jsonb AS after)
SELECT m.conv, m.seq, m.sender, m.ts, m.kind, m.want, m.device, m.id, m.content, m.version_sender, m.version_target
FROM participants p
CROSS JOIN given g
LEFT JOIN cursors c ON c.user_id = p.user_id AND c.device = $2 AND c.conv = p.conv
CROSS JOIN LATERAL (
    SELECT m.* FROM messages m
    WHERE m.conv = p.conv
      AND m.seq > greatest(coalesce(c.seq, 0), coalesce((g.after ->> p.conv)::bigint, 0), p.from_seq - 1)
      AND m.seq <= coalesce(p.to_seq, 9223372036854775807)
      AND NOT (m.sender = $1 AND m.device = $2)
    ORDER BY m.seq LIMIT $4) m
WHERE p.user_id = $1
ORDER BY p.conv, p.from_seq, m.seq
LIMIT $4";

/// Where a device begins that does not exist yet: the user's furthest, and what the token has cleared.
const START: &str = "SELECT conv, max(seq) FROM (
    SELECT conv, seq FROM cursors WHERE user_id = $1
    UNION ALL SELECT conv, seq FROM offline_marks WHERE digest = $2) known
GROUP BY conv";

const NUMBER: &str = "SELECT session FROM devices WHERE user_id = $1 AND device = $2";

/// Places in conversations.
pub type Places = BTreeMap<Conversation, Seq>;

/// Stored frames that a device is owed, conversation by conversation, in order; what it sent itself is not among them.
/// `None` is a device yet to be made. Whether there is more.
///
/// # Errors
/// [`StoreError`].
pub async fn owed(
    session: &Session,
    user: UserId,
    device: Option<&Device>,
    after: &Places,
    limit: usize,
) -> Result<(Vec<Stored>, bool), StoreError> {
    // No device is called so.
    let device = device.map_or("", Device::as_str);
    let after = places_json(after);
    let wanted = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let rows = session.query(OWED, &[&user.0, &device, &after, &wanted]).await?;
    let stored = rows.iter().take(limit).map(|row| rows::stored(row, user));
    Ok((stored.collect::<Result<_, _>>()?, rows.len() > limit))
}

/// Where a device of this user would begin that binds this token.
///
/// # Errors
/// [`StoreError`].
pub async fn start(session: &Session, user: UserId, digest: &str) -> Result<Places, StoreError> {
    let rows = session.query(START, &[&user.0, &digest]).await?;
    rows.iter().map(|row| Ok((rows::conversation(row.get(0))?, Seq(row.get(1))))).collect()
}

/// The number of a device's newest session; `None` for one that does not exist.
///
/// # Errors
/// [`StoreError`].
pub async fn newest_session(
    session: &Session,
    user: UserId,
    device: &Device,
) -> Result<Option<SessionNo>, StoreError> {
    let row = session.query_opt(NUMBER, &[&user.0, &device.as_str()]).await?;
    Ok(row.map(|row| SessionNo(row.get(0))))
}

/// A JSON object; conversations hold nothing that JSON would escape.
fn places_json(places: &Places) -> String {
    let pairs: Vec<String> = places.iter().map(|(conv, seq)| format!("\"{conv}\":{seq}")).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use shared::ids::GroupId;

    use super::*;

    #[test]
    fn places_are_a_json_object() {
        let talk = Conversation::direct(UserId(1), UserId(2));
        let places = Places::from([(talk, Seq(7)), (Conversation::Group(GroupId(9)), Seq(1))]);
        assert_eq!(places_json(&places), r#"{"dm:1:2":7,"g:9":1}"#);
        assert_eq!(places_json(&Places::new()), "{}");
    }
}
