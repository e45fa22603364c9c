//! What a device has not acknowledged: of each of its user's conversations what lies beyond its cursor, within the
//! intervals in which the user takes part.

use std::collections::BTreeMap;

use shared::{
    ids::{Conversation, Device, Seq, SessionNo, UserId},
    message::Stored,
};
use tokio_postgres::Row;

use super::{Session, StoreError, rows};

/// For each read, by its place in the arrays: walks the user's conversations in order and stops when there is enough; one
/// that is read to its end costs one look into the index. All three columns of the order are needed: a sort by fewer
/// leaves the rest to chance. `after` holds places further than the cursors, as a JSON object: a hash of them would lose
/// the order. It is read once a user, not once a conversation: that is what `OFFSET 0` is for.
const OWED: &str = "SELECT r.place, o.conv, o.seq, o.sender, o.ts, o.kind, o.want, o.device, o.id, o.content,
       o.version_sender, o.version_target
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY r(user_id, device, after, wanted, place)
CROSS JOIN LATERAL (SELECT r.after::jsonb AS after OFFSET 0) g
CROSS JOIN LATERAL (
    SELECT p.from_seq, m.* FROM participants p
    LEFT JOIN cursors c ON c.user_id = p.user_id AND c.device = r.device AND c.conv = p.conv
    CROSS JOIN LATERAL (
        SELECT m.* FROM messages m
        WHERE m.conv = p.conv
          AND m.seq > greatest(coalesce(c.seq, 0), coalesce((g.after ->> p.conv)::bigint, 0), p.from_seq - 1)
          AND m.seq <= coalesce(p.to_seq, 9223372036854775807)
          AND NOT (m.sender = r.user_id AND m.device = r.device) AND m.kind >= 0
        ORDER BY m.seq LIMIT r.wanted) m
    WHERE p.user_id = r.user_id
    ORDER BY p.conv, p.from_seq, m.seq
    LIMIT r.wanted) o
ORDER BY r.place, o.conv, o.from_seq, o.seq";

/// Where each conversation of a user stands for a device that comes to it anew, as a table of `conv` and `seq`: the
/// furthest of the user's devices, and past what the user sent right after that. Devices' own frames move their cursors
/// only seconds later.
macro_rules! furthest {
    ($user:literal) => {
        concat!(
            "SELECT p.conv, coalesce(
    (SELECT m.seq - 1 FROM messages m WHERE m.conv = p.conv AND m.seq > coalesce(k.seq, 0) AND m.kind >= 0
       AND m.sender <> ",
            $user,
            " ORDER BY m.seq LIMIT 1),
    (SELECT m.seq FROM messages m WHERE m.conv = p.conv AND m.seq > coalesce(k.seq, 0) ORDER BY m.seq DESC LIMIT 1),
    k.seq) AS seq
FROM (SELECT DISTINCT conv FROM participants WHERE user_id = ",
            $user,
            ") p
LEFT JOIN (SELECT conv, max(seq) AS seq FROM cursors WHERE user_id = ",
            $user,
            " GROUP BY conv) k ON k.conv = p.conv"
        )
    };
}
pub(super) use furthest;

/// Where a device begins that does not exist yet: see [`furthest`], and what the token has cleared.
const START: &str = concat!(
    "SELECT conv, max(seq) FROM (",
    furthest!("$1"),
    " UNION ALL SELECT conv, seq FROM offline_marks WHERE digest = $2) known WHERE seq > 0 GROUP BY conv"
);

const NUMBER: &str = "SELECT session FROM devices WHERE user_id = $1 AND device = $2";

/// Places in conversations.
pub type Places = BTreeMap<Conversation, Seq>;

/// One to be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Read<'a> {
    /// Whose.
    pub user: UserId,
    /// `None` is a device yet to be made.
    pub device: Option<&'a Device>,
    /// Places further than the device's cursors.
    pub after: &'a Places,
    /// The most rows.
    pub limit: usize,
}

/// What one read has found.
#[derive(Debug, Default)]
pub struct Found {
    rows: Vec<Row>,
    limit: usize,
}

impl Found {
    /// Stored frames that the device is owed, conversation by conversation, in order; what it sent itself is not among
    /// them.
    ///
    /// # Errors
    /// [`StoreError::Row`].
    pub fn stored(&self, user: UserId) -> Result<Vec<Stored>, StoreError> {
        self.rows.iter().take(self.limit).map(|row| rows::stored_at(row, 1, user)).collect()
    }

    /// How many these are.
    pub fn len(&self) -> usize {
        self.rows.len().min(self.limit)
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is more.
    pub fn more(&self) -> bool {
        self.rows.len() > self.limit
    }
}

/// What many devices are owed, in one statement; one answer a read, in order.
///
/// # Errors
/// [`StoreError`].
pub async fn owed_all(session: &Session, reads: &[Read<'_>]) -> Result<Vec<Found>, StoreError> {
    let users: Vec<i64> = reads.iter().map(|read| read.user.0).collect();
    // No device is called so.
    let devices: Vec<&str> = reads.iter().map(|read| read.device.map_or("", Device::as_str)).collect();
    let after: Vec<Option<String>> = reads.iter().map(|read| places_json(read.after)).collect();
    let wanted: Vec<i64> =
        reads.iter().map(|read| i64::try_from(read.limit + 1).unwrap_or(i64::MAX)).collect();
    let mut found: Vec<Found> =
        reads.iter().map(|read| Found { rows: Vec::new(), limit: read.limit }).collect();
    for row in session.query(OWED, &[&users, &devices, &after, &wanted]).await? {
        let place = usize::try_from(row.get::<_, i64>(0)).unwrap_or(0);
        if let Some(found) = place.checked_sub(1).and_then(|nth| found.get_mut(nth)) {
            found.rows.push(row);
        }
    }
    Ok(found)
}

/// What one device is owed, and whether there is more; `None` is a device yet to be made.
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
    let found = owed_all(session, &[Read { user, device, after, limit }]).await?;
    let found = found.into_iter().next().unwrap_or_default();
    Ok((found.stored(user)?, found.more()))
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

/// A JSON object; conversations hold nothing that JSON would escape. `None`: nothing stands in it.
fn places_json(places: &Places) -> Option<String> {
    let pairs: Vec<String> = places.iter().map(|(conv, seq)| format!("\"{conv}\":{seq}")).collect();
    (!pairs.is_empty()).then(|| format!("{{{}}}", pairs.join(",")))
}

#[cfg(test)]
mod tests {
    use shared::ids::GroupId;

    use super::*;

    #[test]
    fn places_are_a_json_object() {
        let talk = Conversation::direct(UserId(1), UserId(2));
        let places = Places::from([(talk, Seq(7)), (Conversation::Group(GroupId(9)), Seq(1))]);
        assert_eq!(places_json(&places).as_deref(), Some(r#"{"dm:1:2":7,"g:9":1}"#));
        assert_eq!(places_json(&Places::new()), None);
    }
}
