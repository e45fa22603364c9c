//! Messages: numbered in the statement that inserts them; looked up by digest when the unique key objects.

use shared::ids::{Conversation, Seq, UserId};

use std::collections::HashMap;

use tokio_postgres::{Row, types::ToSql};

use crate::store::{
    Session, StoreError,
    lanes::{self, Mark},
};

/// Continues every conversation from its newest row, or begins it: at 1, or, where a backup was restored, direct ones above
/// what clients may have seen. `$1` are the distinct conversations; each row names its own by place in `$1` and carries its
/// rank in it. The array of heads is computed once, so that no join is left to a planner that cannot see how long the
/// arrays are. A head that is not above 0 is that of a conversation that begins, and its distance to 0 is the floor, which
/// is looked up for none but those: rows pay for it with one `abs`.
macro_rules! inserting {
    ($($more:literal)?) => {
        concat!(
            "
WITH heads AS MATERIALIZED (
    SELECT array_agg(coalesce(newest.seq, CASE WHEN c.conv LIKE 'dm:%' THEN -(SELECT floor FROM numbering) ELSE 0 END)
                     ORDER BY c.place) AS seqs
    FROM unnest($1::text[]) WITH ORDINALITY AS c(conv, place)
    LEFT JOIN LATERAL (
        SELECT m.seq FROM messages m WHERE m.conv = c.conv ORDER BY m.seq DESC LIMIT 1
    ) newest ON true
), added AS (
    INSERT INTO messages (conv, seq, sender, ts, kind, want, device, id, content, digest, version_sender, version_target)
    SELECT r.conv, abs(((SELECT seqs FROM heads))[r.place]) + r.rank, r.sender, r.ts, r.kind, r.want, r.device, r.id,
           r.content, r.digest, r.version_sender, r.version_target
    FROM unnest($2::text[], $3::int4[], $4::int8[], $5::int8[], $6::int8[], $7::int2[], $8::int2[], $9::text[],
                $10::text[], $11::text[], $12::bytea[], $13::int8[], $14::int8[])
         AS r(conv, place, rank, sender, ts, kind, want, device, id, content, digest, version_sender, version_target)
)",
            $($more,)?
            "
SELECT seqs FROM heads"
        )
    };
}

const INSERT: &str = inserting!();

/// The same with all that a chunk of new texts changes besides: who takes part in conversations that begin with it, and
/// its lanes' marks. One statement is one transaction, and one way to the server and back.
const INSERT_ALL: &str = inserting!(
    ", begun AS (
    INSERT INTO participants (user_id, conv, from_seq, to_seq, group_id)
    SELECT p.user_id, ($1::text[])[p.place], 1, NULL, NULL
    FROM unnest($15::int8[], $16::int4[]) AS p(user_id, place)
    WHERE ((SELECT seqs FROM heads))[p.place] <= 0
    ON CONFLICT (user_id, conv, from_seq) DO NOTHING
), marked AS (
    INSERT INTO lanes (lane, stream, committed, stored, duplicate, refused, dead)
    SELECT * FROM unnest($17::int4[], $18::text[], $19::int8[], $20::int8[], $21::int8[], $22::int8[], $23::int8[])
    ON CONFLICT (lane) DO UPDATE SET
        stream = excluded.stream, committed = excluded.committed,
        stored = lanes.stored + excluded.stored, duplicate = lanes.duplicate + excluded.duplicate,
        refused = lanes.refused + excluded.refused, dead = lanes.dead + excluded.dead
)"
);

/// One index probe a digest, whatever the planner thinks of the arrays.
const LOOK_UP: &str = "
SELECT i.place, found.seq, found.ts
FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS i(conv, digest, place)
CROSS JOIN LATERAL (
    SELECT m.seq, m.ts FROM messages m WHERE m.conv = i.conv AND m.digest = i.digest LIMIT 1
) found";

const PARTICIPATE: &str = "
INSERT INTO participants (user_id, conv, from_seq, to_seq, group_id)
SELECT user_id, conv, from_seq, NULL, group_id
FROM unnest($1::int8[], $2::text[], $3::int8[], $4::int8[]) AS p(user_id, conv, from_seq, group_id)
ON CONFLICT (user_id, conv, from_seq) DO NOTHING";

/// A row to be inserted.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the columns of the row")]
pub struct NewRow<'a> {
    pub conversation: Conversation,
    pub sender: UserId,
    pub ts: i64,
    pub kind: i16,
    pub want: i16,
    pub device: &'a str,
    pub id: &'a str,
    pub content: &'a str,
    pub digest: Digest,
    pub version_sender: Option<i64>,
    pub version_target: Option<i64>,
}

/// What makes a retry recognisable.
pub type Digest = [u8; 16];

/// Where an inserted row came to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stands {
    /// Its number.
    pub seq: Seq,
    /// It is the conversation's first.
    pub first: bool,
}

/// Inserts rows in their order and says where each came to stand.
///
/// # Errors
/// The session's. [`is_duplicate`] tells the one that means "one of these is stored already".
pub async fn insert(session: &Session, rows: &[NewRow<'_>]) -> Result<Vec<Stands>, StoreError> {
    let places = Places::of(rows);
    let columns = Columns::of(rows, &places);
    let found = session.query(INSERT, &columns.params()).await?;
    Ok(places.stands(&found))
}

/// [`insert`], [`participate`] and [`lanes::mark`] as one transaction of its own. `may_begin` says whether a direct
/// conversation may have nothing stored yet: then its two sides take part from the first one on.
///
/// # Errors
/// As [`insert`]; nothing is changed then, or, if the connection broke in it, nothing or all.
pub async fn insert_all(
    session: &Session,
    rows: &[NewRow<'_>],
    may_begin: impl Fn(&Conversation) -> bool,
    marks: &[Mark],
) -> Result<Vec<Seq>, StoreError> {
    let places = Places::of(rows);
    let columns = Columns::of(rows, &places);
    let (mut users, mut at): (Vec<i64>, Vec<i32>) = (Vec::new(), Vec::new());
    for (place, conversation) in (1..).zip(&places.conversations) {
        if may_begin(conversation)
            && let Conversation::Direct(low, high) = conversation
        {
            users.push(low.0);
            at.push(place);
            if high != low {
                users.push(high.0);
                at.push(place);
            }
        }
    }
    let marks = lanes::Columns::of(marks);
    let mut params = columns.params();
    params.extend([&users as &(dyn ToSql + Sync), &at]);
    params.extend(marks.params());
    let found = session.query(INSERT_ALL, &params).await?;
    Ok(places.stands(&found).into_iter().map(|stands| stands.seq).collect())
}

/// The distinct conversations of a set of rows, and each row's place among its own's.
struct Places {
    conversations: Vec<Conversation>,
    heads: Vec<String>,
    place: Vec<i32>,
    rank: Vec<i64>,
}

impl Places {
    fn of(rows: &[NewRow<'_>]) -> Self {
        let (mut conversations, mut counts) = (Vec::new(), HashMap::<Conversation, (i32, i64)>::new());
        let (mut places, mut ranks) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for row in rows {
            let (place, rank) = counts.entry(row.conversation).or_insert_with(|| {
                conversations.push(row.conversation);
                (conversations.len() as i32, 0)
            });
            *rank += 1;
            places.push(*place);
            ranks.push(*rank);
        }
        let heads = conversations.iter().map(Conversation::to_string).collect();
        Self { conversations, heads, place: places, rank: ranks }
    }

    /// From the conversations' newest before them, as the statement gives them.
    fn stands(&self, found: &[Row]) -> Vec<Stands> {
        let heads: Vec<i64> = found.first().map(|row| row.get(0)).unwrap_or_default();
        let stands = |(place, rank): (&i32, &i64)| {
            let head = heads[*place as usize - 1];
            Stands { seq: Seq(head.abs() + rank), first: head <= 0 && *rank == 1 }
        };
        self.place.iter().zip(&self.rank).map(stands).collect()
    }
}

/// The first fourteen parameters of both statements.
struct Columns<'a> {
    places: &'a Places,
    conversations: Vec<&'a str>,
    senders: Vec<i64>,
    ts: Vec<i64>,
    kinds: Vec<i16>,
    wants: Vec<i16>,
    devices: Vec<&'a str>,
    ids: Vec<&'a str>,
    contents: Vec<&'a str>,
    digests: Vec<&'a [u8]>,
    versions_sender: Vec<Option<i64>>,
    versions_target: Vec<Option<i64>>,
}

impl<'a> Columns<'a> {
    fn of(rows: &'a [NewRow<'a>], places: &'a Places) -> Self {
        Self {
            places,
            conversations: places.place.iter().map(|at| places.heads[*at as usize - 1].as_str()).collect(),
            senders: column(rows, |row| row.sender.0),
            ts: column(rows, |row| row.ts),
            kinds: column(rows, |row| row.kind),
            wants: column(rows, |row| row.want),
            devices: column(rows, |row| row.device),
            ids: column(rows, |row| row.id),
            contents: column(rows, |row| row.content),
            digests: column(rows, |row| row.digest.as_slice()),
            versions_sender: column(rows, |row| row.version_sender),
            versions_target: column(rows, |row| row.version_target),
        }
    }

    fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![
            &self.places.heads,
            &self.conversations,
            &self.places.place,
            &self.places.rank,
            &self.senders,
            &self.ts,
            &self.kinds,
            &self.wants,
            &self.devices,
            &self.ids,
            &self.contents,
            &self.digests,
            &self.versions_sender,
            &self.versions_target,
        ]
    }
}

fn column<'a, T>(rows: &'a [NewRow<'a>], value: impl Fn(&'a NewRow<'a>) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

/// Whether an insert failed because a digest is stored already: then the chunk is redone with a look-up.
pub fn is_duplicate(error: &StoreError) -> bool {
    match error {
        StoreError::Database(error) => error.as_db_error().is_some_and(|db| {
            *db.code() == tokio_postgres::error::SqlState::UNIQUE_VIOLATION
                && db.constraint().is_some_and(|name| name.contains("digest"))
        }),
        _ => false,
    }
}

/// Where digests are stored already, by their place in the argument.
///
/// # Errors
/// The session's.
pub async fn look_up(
    session: &Session,
    digests: &[(Conversation, Digest)],
) -> Result<Vec<(usize, Seq, i64)>, StoreError> {
    if digests.is_empty() {
        return Ok(Vec::new());
    }
    let conversations: Vec<String> =
        digests.iter().map(|(conversation, _)| conversation.to_string()).collect();
    let keys: Vec<&[u8]> = digests.iter().map(|(_, digest)| digest.as_slice()).collect();
    let rows = session.query(LOOK_UP, &[&conversations, &keys]).await?;
    Ok(rows.iter().map(|row| (row.get::<_, i64>(0) as usize - 1, Seq(row.get(1)), row.get(2))).collect())
}

/// A participant to be written.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the columns of the row")]
pub struct Participant {
    pub user: UserId,
    pub conversation: Conversation,
    pub from: Seq,
}

/// Writes who takes part from where on.
///
/// # Errors
/// The session's.
pub async fn participate(session: &Session, who: &[Participant]) -> Result<(), StoreError> {
    if who.is_empty() {
        return Ok(());
    }
    let users: Vec<i64> = who.iter().map(|p| p.user.0).collect();
    let conversations: Vec<String> = who.iter().map(|p| p.conversation.to_string()).collect();
    let from: Vec<i64> = who.iter().map(|p| p.from.0).collect();
    let groups: Vec<Option<i64>> = who
        .iter()
        .map(|p| match p.conversation {
            Conversation::Group(group) => Some(group.0),
            Conversation::Direct(..) => None,
        })
        .collect();
    session.execute(PARTICIPATE, &[&users, &conversations, &from, &groups]).await.map(drop)
}

/// [`crate::store::rows::COLUMNS`] of one row.
const STORED: &str = "
SELECT m.conv, m.seq, m.sender, m.ts, m.kind, m.want, m.device, m.id, m.content, m.version_sender, m.version_target
FROM messages m WHERE m.conv = $1 AND m.seq = $2";

/// A stored row, to be read for whoever is shown it; `None`: retention has removed it.
///
/// # Errors
/// The session's.
pub async fn stored(
    session: &Session,
    conversation: Conversation,
    seq: Seq,
) -> Result<Option<tokio_postgres::Row>, StoreError> {
    session.query_opt(STORED, &[&conversation.to_string(), &seq.0]).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rows;

    #[test]
    fn the_columns_are_those_that_rows_are_read_by() {
        assert!(STORED.contains(rows::COLUMNS), "{STORED}");
    }
}
