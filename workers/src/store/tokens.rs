//! Tokens outside a batch of logins: made over HTTP, checked for a call, revoked.

use shared::{
    command::Code,
    ids::{Device, SessionNo, TokenDigest, UserId},
};
use tokio_postgres::Row;

use super::{
    Pool, StoreError, Tx, again,
    logins::{self, DeviceLimits},
    rows,
};

/// Tokens kept of one device that has not connected with them, and of a user without any: the oldest beyond them go when
/// another is made.
const KEPT: i64 = 50;

const CHECK: &str = "SELECT user_id, device FROM sessions WHERE digest = $1";
/// Not for a password that was changed, or an account that was disabled, meanwhile: that has ended the tokens there were.
const CREATE: &str = "INSERT INTO sessions (digest, user_id, device)
SELECT $1, id, $3 FROM users WHERE id = $2 AND password = $4 AND disabled_at IS NULL FOR SHARE";
const DISABLED: &str = "SELECT 1 FROM users WHERE id = $1 AND password = $2 AND disabled_at IS NOT NULL";
const TRIM: &str = "DELETE FROM sessions WHERE digest IN (
    SELECT digest FROM sessions WHERE user_id = $1 AND device IS NOT DISTINCT FROM $2
    ORDER BY created_at DESC, digest OFFSET $3)
RETURNING digest";
const REVOKE: &str = "DELETE FROM sessions WHERE digest = $1 RETURNING device, user_id";
const REVOKE_OTHERS: &str = "DELETE FROM sessions WHERE user_id = $1 AND digest <> $2 RETURNING digest";
/// Raises the fence of devices whose newest connection was made with another token, be it long gone.
const END_OTHERS: &str = "UPDATE devices SET session = nextval('session_numbers'), digest = NULL
WHERE user_id = $1 AND digest <> $2 RETURNING device, session";
/// The same of the device whose newest connection was made with this token; and the number that it had.
const END: &str = "UPDATE devices d SET session = nextval('session_numbers'), digest = NULL
FROM (SELECT session FROM devices WHERE user_id = $1 AND device = $2 AND digest = $3 FOR UPDATE) was
WHERE d.user_id = $1 AND d.device = $2 RETURNING d.session, was.session";

const REVOKE_ALL: &str =
    "DELETE FROM sessions WHERE user_id = $1 AND ($2::text IS NULL OR device = $2) RETURNING digest";
const END_ALL: &str = "UPDATE devices SET session = nextval('session_numbers'), digest = NULL
WHERE user_id = $1 AND ($2::text IS NULL OR device = $2) RETURNING device, session";

/// Whose a token is, and the device it is bound to.
pub type Holder = (UserId, Option<Device>);

/// Whose this token is.
///
/// # Errors
/// [`StoreError`].
pub async fn check(pool: &Pool, digest: &TokenDigest) -> Result<Option<Holder>, StoreError> {
    let row = pool.get().await?.query_opt(CHECK, &[&digest.as_str()]).await?;
    row.map(|row| Ok((UserId(row.get(0)), device(&row, 1)?))).transpose()
}

/// Notes a new token, and makes its device if that is new, as long as `password` is the digest of the user's password.
/// Gives the tokens that are gone, so that their number stays bounded; the inner error is a refusal.
///
/// # Errors
/// [`StoreError`].
pub async fn create(
    pool: &Pool,
    digest: &TokenDigest,
    (user, password): (UserId, &str),
    device: Option<&Device>,
    limits: DeviceLimits,
) -> Result<Result<Vec<TokenDigest>, (Code, String)>, StoreError> {
    let name = device.map(Device::as_str);
    again!({
        let mut lease = pool.get().await?;
        let tx = lease.begin().await?;
        if let Some(device) = device
            && let Err(refused) = logins::make_device(&tx, user, device, limits).await?
        {
            return Ok(Err(refused));
        }
        if tx.execute(CREATE, &[&digest.as_str(), &user.0, &name, &password]).await? == 0 {
            let disabled = !tx.query(DISABLED, &[&user.0, &password]).await?.is_empty();
            return Ok(Err(if disabled { super::users::disabled() } else { do_not_fit() }));
        }
        let gone = tx.query(TRIM, &[&user.0, &name, &KEPT]).await?;
        tx.commit().await?;
        Ok(Ok(gone.iter().filter_map(digest_of).collect()))
    })
}

fn do_not_fit() -> (Code, String) {
    (Code::Credentials, "phone or password do not fit".to_owned())
}

/// A device whose newest connection was made with a token that is now gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedSession {
    /// The device.
    pub device: Device,
    /// That connection's number.
    pub session: SessionNo,
    /// Its connections with a number below this one are over, and logins with one are refused.
    pub below: SessionNo,
}

/// Ends a token. Gives its device's newest connection, if that was made with this token.
///
/// # Errors
/// [`StoreError`]; then it has not ended.
pub async fn revoke(pool: &Pool, digest: &TokenDigest) -> Result<Option<EndedSession>, StoreError> {
    again!({
        let mut lease = pool.get().await?;
        let tx = lease.begin().await?;
        let ended = revoke_in(&tx, digest).await?;
        tx.commit().await?;
        Ok(ended)
    })
}

async fn revoke_in(tx: &Tx<'_>, digest: &TokenDigest) -> Result<Option<EndedSession>, StoreError> {
    let rows = tx.query(REVOKE, &[&digest.as_str()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let Some(device) = device(row, 0)? else { return Ok(None) };
    let user: i64 = row.get(1);
    let rows = tx.query(END, &[&user, &device.as_str(), &digest.as_str()]).await?;
    let numbers = rows.first().map(|row| (SessionNo(row.get(0)), SessionNo(row.get(1))));
    Ok(numbers.map(|(below, session)| EndedSession { device, session, below }))
}

/// What a changed password, or an operator, has ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// Tokens; they are gone.
    pub tokens: Vec<TokenDigest>,
    /// Devices whose newest connection was made with another token than the one that stays: those with a number below
    /// this one are over.
    pub devices: Vec<(Device, SessionNo)>,
}

/// Ends every token of a user but one.
pub(super) async fn revoke_others(
    tx: &Tx<'_>,
    user: UserId,
    keep: &TokenDigest,
) -> Result<Ended, StoreError> {
    let rows = tx.query(REVOKE_OTHERS, &[&user.0, &keep.as_str()]).await?;
    let tokens = rows.iter().filter_map(digest_of).collect();
    let rows = tx.query(END_OTHERS, &[&user.0, &keep.as_str()]).await?;
    let below = |row: &Row| Ok((rows::device(row.get(0))?, SessionNo(row.get(1))));
    Ok(Ended { tokens, devices: rows.iter().map(below).collect::<Result<_, StoreError>>()? })
}

/// Ends a user's tokens; with `device` those of that device alone. If no device is among what has ended, the user has
/// none of that name.
///
/// # Errors
/// [`StoreError`]; then none has ended.
pub async fn end(pool: &Pool, user: UserId, device: Option<&Device>) -> Result<Ended, StoreError> {
    again!({
        let mut lease = pool.get().await?;
        let tx = lease.begin().await?;
        let ended = revoke_all(&tx, user, device).await?;
        tx.commit().await?;
        Ok(ended)
    })
}

/// Ends every token of a user; with `device` those of that device alone. A token that no device has bound yet is no
/// device's.
pub(super) async fn revoke_all(
    tx: &Tx<'_>,
    user: UserId,
    device: Option<&Device>,
) -> Result<Ended, StoreError> {
    let device = device.map(Device::as_str);
    let rows = tx.query(REVOKE_ALL, &[&user.0, &device]).await?;
    let tokens = rows.iter().filter_map(digest_of).collect();
    let rows = tx.query(END_ALL, &[&user.0, &device]).await?;
    let below = |row: &Row| Ok((rows::device(row.get(0))?, SessionNo(row.get(1))));
    Ok(Ended { tokens, devices: rows.iter().map(below).collect::<Result<_, StoreError>>()? })
}

pub(super) fn digest_of(row: &Row) -> Option<TokenDigest> {
    TokenDigest::try_from(row.get::<_, String>(0)).ok()
}

fn device(row: &Row, column: usize) -> Result<Option<Device>, StoreError> {
    row.get::<_, Option<&str>>(column).map(rows::device).transpose()
}
