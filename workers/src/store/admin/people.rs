//! Accounts, tokens and devices, as operators see and change them.

use shared::ids::{Device, SessionNo, TokenDigest, UserId};
use tokio_postgres::Row;

use crate::store::{
    Pool, StoreError, again, rows,
    tokens::{self, Ended},
};

const USERS: &str = r#"SELECT u.id, u.phone, u.name, u.disabled_at IS NOT NULL,
       to_char(u.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
       (SELECT count(*) FROM sessions s WHERE s.user_id = u.id),
       (SELECT to_char(max(d.seen_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') FROM devices d WHERE d.user_id = u.id)
FROM users u
WHERE u.id > $1 AND ($2::bigint IS NULL OR u.id = $2) AND ($3::text IS NULL OR u.phone = $3)
ORDER BY u.id LIMIT $4"#;

const DISABLE: &str = "UPDATE users SET disabled_at = coalesce(disabled_at, now()) WHERE id = $1";
const ENABLE: &str = "UPDATE users SET disabled_at = NULL WHERE id = $1";
const PASSWORD: &str = "UPDATE users SET password = $2 WHERE id = $1";

/// Devices with the tokens bound to each; and, with no device, the tokens that none has bound.
const SESSIONS: &str = r#"SELECT d.device, d.session, d.digest IS NOT NULL,
       to_char(d.seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
       ARRAY(SELECT s.digest FROM sessions s WHERE s.user_id = d.user_id AND s.device = d.device ORDER BY s.created_at, s.digest)
FROM devices d WHERE d.user_id = $1
UNION ALL
SELECT s.device, NULL, false, to_char(max(s.used_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
       array_agg(s.digest::text ORDER BY s.created_at, s.digest)
FROM sessions s
WHERE s.user_id = $1 AND NOT EXISTS (SELECT 1 FROM devices d WHERE d.user_id = $1 AND d.device = s.device)
GROUP BY s.device
ORDER BY 1 NULLS LAST"#;

const TOKENS: &str =
    "SELECT digest FROM sessions WHERE user_id = $1 AND starts_with(digest, $2) ORDER BY digest LIMIT 2";

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of the row; times in UTC")]
pub struct Account {
    pub id: UserId,
    pub phone: String,
    pub name: String,
    pub disabled: bool,
    pub created: String,
    pub tokens: i64,
    pub seen: Option<String>,
}

/// Which accounts.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'a> {
    /// Only those with a higher id.
    pub after: i64,
    /// This one alone.
    pub id: Option<UserId>,
    /// The one with this phone alone.
    pub phone: Option<&'a str>,
}

/// Accounts by id, at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub async fn users(pool: &Pool, wanted: Wanted<'_>, limit: i64) -> Result<Vec<Account>, StoreError> {
    let id = wanted.id.map(|id| id.0);
    let rows = pool.get().await?.query(USERS, &[&wanted.after, &id, &wanted.phone, &limit]).await?;
    let account = |row: &Row| Account {
        id: UserId(row.get(0)),
        phone: row.get(1),
        name: row.get(2),
        disabled: row.get(3),
        created: row.get(4),
        tokens: row.get(5),
        seen: row.get(6),
    };
    Ok(rows.iter().map(account).collect())
}

/// Shuts an account: no login from now on, and every token ends. `None`: no such user.
///
/// # Errors
/// [`StoreError`]; then nothing was changed.
pub async fn disable(pool: &Pool, user: UserId) -> Result<Option<Ended>, StoreError> {
    again!({
        let mut lease = pool.get().await?;
        let tx = lease.begin().await?;
        if tx.execute(DISABLE, &[&user.0]).await? == 0 {
            return Ok(None);
        }
        let ended = tokens::revoke_all(&tx, user, None).await?;
        tx.commit().await?;
        Ok(Some(ended))
    })
}

/// Opens it again. Whether there is such a user.
///
/// # Errors
/// [`StoreError`].
pub async fn enable(pool: &Pool, user: UserId) -> Result<bool, StoreError> {
    Ok(pool.get().await?.execute(ENABLE, &[&user.0]).await? > 0)
}

/// Gives an account another password, by its digest; every token ends. `None`: no such user.
///
/// # Errors
/// [`StoreError`]; then nothing was changed.
pub async fn set_password(pool: &Pool, user: UserId, digest: &str) -> Result<Option<Ended>, StoreError> {
    again!({
        let mut lease = pool.get().await?;
        let tx = lease.begin().await?;
        if tx.execute(PASSWORD, &[&user.0, &digest]).await? == 0 {
            return Ok(None);
        }
        let ended = tokens::revoke_all(&tx, user, None).await?;
        tx.commit().await?;
        Ok(Some(ended))
    })
}

/// A device with its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its name; `None` stands for tokens that no device has bound.
    pub device: Option<String>,
    /// The number of its newest connection, or the one that fenced it off.
    pub session: Option<SessionNo>,
    /// Whether that connection's token still counts.
    pub valid: bool,
    /// When it was last seen, in UTC.
    pub seen: Option<String>,
    /// Its tokens, by their digests, the oldest first.
    pub tokens: Vec<TokenDigest>,
}

/// A user's devices by name, and last the tokens without one.
///
/// # Errors
/// [`StoreError`].
pub async fn sessions(pool: &Pool, user: UserId) -> Result<Vec<Session>, StoreError> {
    let rows = pool.get().await?.query(SESSIONS, &[&user.0]).await?;
    let session = |row: &Row| Session {
        device: row.get(0),
        session: row.get::<_, Option<i64>>(1).map(SessionNo),
        valid: row.get(2),
        seen: row.get(3),
        tokens: row.get::<_, Vec<String>>(4).into_iter().filter_map(|one| one.try_into().ok()).collect(),
    };
    Ok(rows.iter().map(session).collect())
}

/// The user's token whose digest begins so, if it is one and only one.
///
/// # Errors
/// [`StoreError`].
pub async fn token(pool: &Pool, user: UserId, begins: &str) -> Result<Option<TokenDigest>, StoreError> {
    let rows = pool.get().await?.query(TOKENS, &[&user.0, &begins]).await?;
    Ok(match &rows[..] {
        [one] => tokens::digest_of(one),
        _ => None,
    })
}

/// The device that is called so.
///
/// # Errors
/// [`StoreError::Row`]: nothing can be called so.
pub fn device(name: &str) -> Result<Device, StoreError> {
    rows::device(name)
}
