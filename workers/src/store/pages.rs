//! What `GET /offline` has shown to a token, so that `DELETE /offline` clears exactly that.

use shared::ids::{Device, Seq, TokenDigest, UserId};

use super::{Pool, Session, StoreError, again, owed::Places, rows};

/// The pages of a token that are remembered.
const REMEMBERED: i64 = 8;

const NOTE: &str = "WITH number AS (SELECT nextval('offline_page_numbers') AS page)
INSERT INTO offline_pages (digest, page, conv, seq)
SELECT $1, n.page, u.conv, u.seq FROM unnest($2::text[], $3::bigint[]) u(conv, seq), number n
RETURNING page";
const TRIM: &str = "DELETE FROM offline_pages WHERE digest = $1 AND page < (
    SELECT min(page) FROM (SELECT DISTINCT page FROM offline_pages WHERE digest = $1 ORDER BY page DESC LIMIT $2) kept)";

/// Up to a page, or the newest alone.
const SHOWN: &str = "SELECT conv, max(seq) FROM offline_pages
WHERE digest = $1 AND CASE WHEN $2::bigint IS NULL
    THEN page = (SELECT max(page) FROM offline_pages WHERE digest = $1) ELSE page <= $2 END
GROUP BY conv";
const KNOWN: &str = "SELECT 1 FROM offline_pages WHERE digest = $1 AND page = $2 LIMIT 1";
/// The token may have been bound since the page was shown; locked, so that it is not bound in between. A device that
/// was forgotten is none.
const DEVICE: &str = "SELECT s.user_id, d.device
FROM sessions s LEFT JOIN devices d ON d.user_id = s.user_id AND d.device = s.device
WHERE s.digest = $1 FOR UPDATE OF s";
const MOVE_CURSORS: &str = "INSERT INTO cursors (user_id, device, conv, seq)
SELECT $1, $2, u.conv, u.seq FROM unnest($3::text[], $4::bigint[]) u(conv, seq) ORDER BY 3
ON CONFLICT (user_id, device, conv) DO UPDATE SET seq = excluded.seq WHERE cursors.seq < excluded.seq";
/// They begin where the user's furthest device is by now: it can only have moved on since the page was shown. Where it
/// has passed the older mark, the new one begins anew.
const MOVE_MARKS: &str = "INSERT INTO offline_marks (digest, conv, start_seq, seq)
SELECT $1, u.conv, coalesce((SELECT max(c.seq) FROM cursors c WHERE c.user_id = $4 AND c.conv = u.conv), 0), u.seq
FROM unnest($2::text[], $3::bigint[]) u(conv, seq)
ON CONFLICT (digest, conv) DO UPDATE SET seq = excluded.seq,
    start_seq = CASE WHEN excluded.start_seq > offline_marks.seq THEN excluded.start_seq
                     ELSE offline_marks.start_seq END
WHERE offline_marks.seq < excluded.seq";
const FORGET: &str = "DELETE FROM offline_pages
WHERE digest = $1 AND page <= coalesce($2, (SELECT max(page) FROM offline_pages WHERE digest = $1))";

/// Notes how far a page went; gives its number, or `None` when it showed nothing.
///
/// # Errors
/// [`StoreError`].
pub async fn note(
    session: &mut Session,
    digest: &TokenDigest,
    shown: &Places,
) -> Result<Option<i64>, StoreError> {
    if shown.is_empty() {
        return Ok(None);
    }
    let (convs, seqs) = columns(shown);
    let tx = session.begin().await?;
    let rows = tx.query(NOTE, &[&digest.as_str(), &convs, &seqs]).await?;
    tx.execute(TRIM, &[&digest.as_str(), &REMEMBERED]).await?;
    tx.commit().await?;
    Ok(rows.first().map(|row| row.get(0)))
}

/// What clearing came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Cleared {
    /// Everything up to these places.
    Upto(Places),
    /// No such page was shown to this token, or it is no longer remembered.
    NoSuchPage,
}

/// Clears what the newest page showed, or what every page up to `upto` did.
///
/// # Errors
/// [`StoreError`]; then nothing was cleared.
pub async fn clear(
    pool: &Pool,
    user: UserId,
    digest: &TokenDigest,
    upto: Option<i64>,
) -> Result<Cleared, StoreError> {
    let name = digest.as_str();
    again!({
        let mut lease = pool.get().await?;
        let tx = lease.begin().await?;
        let holder = tx.query(DEVICE, &[&name]).await?;
        let Some(row) = holder.first().filter(|row| row.get::<_, i64>(0) == user.0) else {
            return Ok(Cleared::Upto(Places::new()));
        };
        let device: Option<Device> = row.get::<_, Option<&str>>(1).map(rows::device).transpose()?;
        if let Some(page) = upto
            && tx.query(KNOWN, &[&name, &page]).await?.is_empty()
        {
            return Ok(Cleared::NoSuchPage);
        }
        let rows = tx.query(SHOWN, &[&name, &upto]).await?;
        let shown: Places = rows
            .iter()
            .map(|row| Ok((rows::conversation(row.get(0))?, Seq(row.get(1)))))
            .collect::<Result<_, StoreError>>()?;
        let (convs, seqs) = columns(&shown);
        match &device {
            Some(device) => tx.execute(MOVE_CURSORS, &[&user.0, &device.as_str(), &convs, &seqs]).await?,
            None => tx.execute(MOVE_MARKS, &[&name, &convs, &seqs, &user.0]).await?,
        };
        tx.execute(FORGET, &[&name, &upto]).await?;
        tx.commit().await?;
        Ok(Cleared::Upto(shown))
    })
}

fn columns(places: &Places) -> (Vec<String>, Vec<i64>) {
    places.iter().map(|(conv, seq)| (conv.to_string(), seq.0)).unzip()
}
