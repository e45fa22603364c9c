//! What devices acknowledge: cursors, read positions, receipts. Everything is idempotent and only moves up; what names a
//! conversation in which the user takes no part changes nothing, and nothing moves past the newest message.
//!
//! Look-ups stand in `LATERAL … LIMIT 1`, not in joins: one look into an index a row, where the planner, blind to the
//! arrays' length, would read whole tables.

use shared::{
    delivery::ReceiptKey,
    ids::{Device, MessageId, Seq, UserId},
    rpc::{Move, Read, Registration, Told},
};
use tokio_postgres::Row;

use super::{Pool, StoreError, Tx, again, rows};

/// Not waiting for the disk: a move that a crash of PostgreSQL takes back only repeats a delivery. A move that holds for
/// the device's newest session alone is left out where a newer one has connected.
const MOVES: &str = "INSERT INTO cursors (user_id, device, conv, seq)
SELECT m.user_id, m.device, m.conv, least(m.seq, n.seq)
FROM (SELECT set_config('synchronous_commit', 'off', true)) relaxed,
     (SELECT u.user_id, u.device, u.conv, max(u.seq) AS seq
      FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[]) u(user_id, device, conv, seq, newest)
      CROSS JOIN LATERAL (SELECT 1 FROM devices d WHERE d.user_id = u.user_id AND d.device = u.device
                          AND (u.newest IS NULL OR d.session <= u.newest) LIMIT 1) exists
      GROUP BY 1, 2, 3) m
CROSS JOIN LATERAL (SELECT seq FROM messages WHERE conv = m.conv ORDER BY seq DESC LIMIT 1) n
CROSS JOIN LATERAL (SELECT 1 FROM participants p WHERE p.user_id = m.user_id AND p.conv = m.conv LIMIT 1) takes_part
ORDER BY 1, 2, 3
ON CONFLICT (user_id, device, conv) DO UPDATE SET seq = excluded.seq WHERE cursors.seq < excluded.seq";

/// A device that acknowledges is seen, even when its connection lasts for weeks.
const SEEN: &str = "UPDATE devices d SET seen_at = now()
FROM unnest($1::bigint[], $2::text[]) m(user_id, device)
WHERE d.user_id = m.user_id AND d.device = m.device AND d.seen_at < now() - interval '1 hour'";

/// Owed to the device that sent it, while there is one: nobody else would ever fetch it.
const DELIVERED: &str = "INSERT INTO receipts (user_id, device, conv, seq, by_id, read, id)
SELECT DISTINCT m.sender, m.device, m.conv, m.seq, k.by_id, false, m.id
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) k(conv, seq, by_id)
CROSS JOIN LATERAL (SELECT m.* FROM messages m
                    WHERE m.conv = k.conv AND m.seq = k.seq AND m.want IN (2, 4) AND m.sender <> k.by_id LIMIT 1) m
CROSS JOIN LATERAL (SELECT 1 FROM participants p
                    WHERE p.user_id = k.by_id AND p.conv = k.conv AND p.from_seq <= k.seq
                      AND (p.to_seq IS NULL OR p.to_seq >= k.seq) LIMIT 1) took_part
CROSS JOIN LATERAL (SELECT 1 FROM devices d WHERE d.user_id = m.sender AND d.device = m.device LIMIT 1) not_forgotten
ORDER BY 1, 2, 3, 4, 5
ON CONFLICT DO NOTHING
RETURNING user_id, device, conv, seq, by_id, read, id";

/// The positions, clamped, that move; `old` is where each was.
const READS: &str = "WITH asked AS (
    SELECT a.user_id, a.conv, least(a.seq, n.seq) AS seq, coalesce(r.seq, 0) AS old
    FROM (SELECT user_id, conv, max(seq) AS seq FROM unnest($1::bigint[], $2::text[], $3::bigint[]) u(user_id, conv, seq)
          GROUP BY 1, 2) a
    CROSS JOIN LATERAL (SELECT seq FROM messages WHERE conv = a.conv ORDER BY seq DESC LIMIT 1) n
    CROSS JOIN LATERAL (SELECT 1 FROM participants p WHERE p.user_id = a.user_id AND p.conv = a.conv LIMIT 1) takes_part
    LEFT JOIN LATERAL (SELECT seq FROM reads WHERE user_id = a.user_id AND conv = a.conv LIMIT 1) r ON true),
  moved AS (SELECT * FROM asked WHERE seq > old),
  written AS (
    INSERT INTO reads (user_id, conv, seq) SELECT user_id, conv, seq FROM moved ORDER BY 1, 2
    ON CONFLICT (user_id, conv) DO UPDATE SET seq = excluded.seq WHERE reads.seq < excluded.seq)
INSERT INTO receipts (user_id, device, conv, seq, by_id, read, id)
SELECT m.sender, m.device, m.conv, m.seq, v.user_id, true, m.id
FROM moved v CROSS JOIN LATERAL (
    SELECT m.* FROM messages m
    WHERE m.conv = v.conv AND m.want >= 3 AND m.seq > v.old AND m.seq <= v.seq AND m.sender <> v.user_id
      AND EXISTS (SELECT 1 FROM participants p WHERE p.user_id = v.user_id AND p.conv = m.conv
                  AND p.from_seq <= m.seq AND (p.to_seq IS NULL OR p.to_seq >= m.seq))
    ORDER BY m.seq DESC LIMIT 1000) m
CROSS JOIN LATERAL (SELECT 1 FROM devices d WHERE d.user_id = m.sender AND d.device = m.device LIMIT 1) not_forgotten
ORDER BY 1, 2, 3, 4, 5
ON CONFLICT DO NOTHING
RETURNING user_id, device, conv, seq, by_id, read, id";

const TOLD: &str = "DELETE FROM receipts r
USING unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bool[])
      t(user_id, device, conv, seq, by_id, read)
WHERE r.user_id = t.user_id AND r.device = t.device AND r.conv = t.conv AND r.seq = t.seq
  AND r.by_id = t.by_id AND r.read = t.read";

const PENDING: &str = "SELECT p.*, r.place
FROM unnest($1::bigint[], $2::text[], $3::bigint[]) WITH ORDINALITY r(user_id, device, most, place)
CROSS JOIN LATERAL (
    SELECT user_id, device, conv, seq, by_id, read, id FROM receipts
    WHERE user_id = r.user_id AND device = r.device ORDER BY conv, seq, by_id, read LIMIT r.most) p
ORDER BY r.place, p.conv, p.seq, p.by_id, p.read";

const SEEN_NOW: &str = "UPDATE devices d SET seen_at = now()
FROM unnest($1::bigint[], $2::text[]) m(user_id, device) WHERE d.user_id = m.user_id AND d.device = m.device";

/// A receipt that its message's sender is owed.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    /// The sender.
    pub user: UserId,
    /// The device that sent the message.
    pub device: Device,
    /// Which receipt.
    pub key: ReceiptKey,
    /// The sender's id for the message.
    pub id: MessageId,
}

/// Moves devices' cursors up.
///
/// # Errors
/// [`StoreError`].
pub async fn advance(pool: &Pool, moves: &[Move]) -> Result<(), StoreError> {
    if moves.is_empty() {
        return Ok(());
    }
    let users: Vec<i64> = moves.iter().map(|m| m.user.0).collect();
    let devices: Vec<&str> = moves.iter().map(|m| m.device.as_str()).collect();
    let convs: Vec<String> = moves.iter().map(|m| m.conv.to_string()).collect();
    let seqs: Vec<i64> = moves.iter().map(|m| m.seq.0).collect();
    let newest: Vec<Option<i64>> = moves.iter().map(|m| m.newest.map(|session| session.0)).collect();
    again!({
        let session = pool.get().await?;
        session.execute(MOVES, &[&users, &devices, &convs, &seqs, &newest]).await?;
        session.execute(SEEN, &[&users, &devices]).await.map(drop)
    })
}

/// Notes that these devices were there until now.
///
/// # Errors
/// [`StoreError`].
pub async fn seen(pool: &Pool, sessions: &[Registration]) -> Result<(), StoreError> {
    let users: Vec<i64> = sessions.iter().map(|session| session.user.0).collect();
    let devices: Vec<&str> = sessions.iter().map(|session| session.device.as_str()).collect();
    again!({ pool.get().await?.execute(SEEN_NOW, &[&users, &devices]).await.map(drop) })
}

/// Notes deliveries and readings, forgets receipts that were told; gives the new receipts.
///
/// # Errors
/// [`StoreError`]; then nothing was noted.
pub async fn settle(
    pool: &Pool,
    delivered: &[ReceiptKey],
    reads: &[Read],
    told: &[Told],
) -> Result<Vec<Receipt>, StoreError> {
    if delivered.is_empty() && reads.is_empty() && told.is_empty() {
        return Ok(Vec::new());
    }
    again!({
        let mut lease = pool.get().await?;
        let tx = lease.begin().await?;
        let mut new = Vec::new();
        if !delivered.is_empty() {
            new.extend(note_delivered(&tx, delivered).await?);
        }
        if !reads.is_empty() {
            new.extend(note_reads(&tx, reads).await?);
        }
        if !told.is_empty() {
            forget(&tx, told).await?;
        }
        tx.commit().await?;
        new.iter().map(receipt).collect()
    })
}

/// Receipts that devices are owed, of each at most so many, in one statement; one answer each, in order.
///
/// # Errors
/// [`StoreError`].
pub async fn pending(
    session: &super::Session,
    asked: &[(UserId, &Device, i64)],
) -> Result<Vec<Vec<Receipt>>, StoreError> {
    let users: Vec<i64> = asked.iter().map(|(user, ..)| user.0).collect();
    let devices: Vec<&str> = asked.iter().map(|(_, device, _)| device.as_str()).collect();
    let most: Vec<i64> = asked.iter().map(|(.., most)| *most).collect();
    let mut found = vec![Vec::new(); asked.len()];
    for row in session.query(PENDING, &[&users, &devices, &most]).await? {
        let nth = usize::try_from(row.get::<_, i64>(7) - 1).unwrap_or(usize::MAX);
        if let Some(found) = found.get_mut(nth) {
            found.push(receipt(&row)?);
        }
    }
    Ok(found)
}

async fn note_delivered(tx: &Tx<'_>, delivered: &[ReceiptKey]) -> Result<Vec<Row>, StoreError> {
    let convs: Vec<String> = delivered.iter().map(|key| key.conversation.to_string()).collect();
    let seqs: Vec<i64> = delivered.iter().map(|key| key.seq.0).collect();
    let by: Vec<i64> = delivered.iter().map(|key| key.by.0).collect();
    tx.query(DELIVERED, &[&convs, &seqs, &by]).await
}

async fn note_reads(tx: &Tx<'_>, reads: &[Read]) -> Result<Vec<Row>, StoreError> {
    let users: Vec<i64> = reads.iter().map(|read| read.user.0).collect();
    let convs: Vec<String> = reads.iter().map(|read| read.conv.to_string()).collect();
    let seqs: Vec<i64> = reads.iter().map(|read| read.seq.0).collect();
    tx.query(READS, &[&users, &convs, &seqs]).await
}

async fn forget(tx: &Tx<'_>, told: &[Told]) -> Result<(), StoreError> {
    let users: Vec<i64> = told.iter().map(|told| told.user.0).collect();
    let devices: Vec<&str> = told.iter().map(|told| told.device.as_str()).collect();
    let convs: Vec<String> = told.iter().map(|told| told.receipt.conversation.to_string()).collect();
    let seqs: Vec<i64> = told.iter().map(|told| told.receipt.seq.0).collect();
    let by: Vec<i64> = told.iter().map(|told| told.receipt.by.0).collect();
    let read: Vec<bool> = told.iter().map(|told| told.receipt.read).collect();
    tx.execute(TOLD, &[&users, &devices, &convs, &seqs, &by, &read]).await.map(drop)
}

fn receipt(row: &Row) -> Result<Receipt, StoreError> {
    let id: &str = row.get(6);
    Ok(Receipt {
        user: UserId(row.get(0)),
        device: rows::device(row.get(1))?,
        key: ReceiptKey {
            conversation: rows::conversation(row.get(2))?,
            seq: Seq(row.get(3)),
            by: UserId(row.get(4)),
            read: row.get(5),
        },
        id: rows::message_id(id)?,
    })
}
