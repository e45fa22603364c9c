//! Users: who they are and what proves it.

use shared::{
    command::Code,
    ids::{TokenDigest, UserId},
};
use tokio_postgres::Row;

use super::{
    Pool, StoreError, again,
    tokens::{self, Ended},
};

const CREATE: &str = "INSERT INTO users (phone, name, avatar, password) VALUES ($1, $2, $3, $4)
ON CONFLICT (phone) DO NOTHING RETURNING id";
const PASSWORD_BY_PHONE: &str = "SELECT id, password, disabled_at IS NOT NULL FROM users WHERE phone = $1";
const PASSWORD_BY_ID: &str = "SELECT id, password FROM users WHERE id = $1";
const BY_PHONE: &str = "SELECT id, phone, name, avatar FROM users WHERE phone = $1";
const BY_ID: &str = "SELECT id, phone, name, avatar FROM users WHERE id = $1";
const UPDATE: &str = "UPDATE users
SET name = coalesce($2, name), avatar = coalesce($3, avatar), password = coalesce($4, password)
WHERE id = $1 AND ($5::text IS NULL OR password = $5)";

/// A user as others may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of the row")]
pub struct User {
    pub id: UserId,
    pub phone: String,
    pub name: String,
    pub avatar: String,
}

/// Makes a user; `None` when the phone is taken.
///
/// # Errors
/// [`StoreError`].
pub async fn create(
    pool: &Pool,
    phone: &str,
    name: &str,
    avatar: &str,
    password: &str,
) -> Result<Option<UserId>, StoreError> {
    let row = pool.get().await?.query_opt(CREATE, &[&phone, &name, &avatar, &password]).await?;
    Ok(row.map(|row| UserId(row.get(0))))
}

/// What a login by phone and password is decided with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Who it is.
    pub user: UserId,
    /// The digest of its password.
    pub digest: String,
    /// Whether an operator has shut the account.
    pub disabled: bool,
}

/// The user with this phone.
///
/// # Errors
/// [`StoreError`].
pub async fn password_by_phone(pool: &Pool, phone: &str) -> Result<Option<Known>, StoreError> {
    let row = pool.get().await?.query_opt(PASSWORD_BY_PHONE, &[&phone]).await?;
    Ok(row.map(|row| Known { user: UserId(row.get(0)), digest: row.get(1), disabled: row.get(2) }))
}

/// The refusal of a login to a disabled account; only for who knows its password.
pub fn disabled() -> (Code, String) {
    (Code::Forbidden, "this account is disabled".to_owned())
}

/// The digest of this user's password.
///
/// # Errors
/// [`StoreError`].
pub async fn password_of(pool: &Pool, user: UserId) -> Result<Option<String>, StoreError> {
    let row = pool.get().await?.query_opt(PASSWORD_BY_ID, &[&user.0]).await?;
    Ok(row.map(|row| row.get(1)))
}

/// The user with this phone.
///
/// # Errors
/// [`StoreError`].
pub async fn by_phone(pool: &Pool, phone: &str) -> Result<Option<User>, StoreError> {
    Ok(pool.get().await?.query_opt(BY_PHONE, &[&phone]).await?.as_ref().map(user))
}

/// The user with this id.
///
/// # Errors
/// [`StoreError`].
pub async fn by_id(pool: &Pool, id: UserId) -> Result<Option<User>, StoreError> {
    Ok(pool.get().await?.query_opt(BY_ID, &[&id.0]).await?.as_ref().map(user))
}

/// What is to be changed of a user; what is absent stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'a> {
    /// The name.
    pub name: Option<&'a str>,
    /// The avatar.
    pub avatar: Option<&'a str>,
    /// The password.
    pub password: Option<NewPassword<'a>>,
}

/// A password that takes another's place.
#[derive(Debug, Clone, Copy)]
pub struct NewPassword<'a> {
    /// Its digest.
    pub digest: &'a str,
    /// The digest that the old password was checked against: if it is another by now, nothing is changed.
    pub old: &'a str,
    /// The one token that outlives the old password.
    pub keep: &'a TokenDigest,
}

/// Changes what is given, and with the password ends the other tokens: all of it or nothing. `None` when the old
/// password is no longer the user's.
///
/// # Errors
/// [`StoreError`]; then nothing was changed.
pub async fn update(pool: &Pool, id: UserId, change: Change<'_>) -> Result<Option<Ended>, StoreError> {
    let (new, old) = (change.password.map(|new| new.digest), change.password.map(|new| new.old));
    again!({
        let mut lease = pool.get().await?;
        let tx = lease.begin().await?;
        if tx.execute(UPDATE, &[&id.0, &change.name, &change.avatar, &new, &old]).await? == 0 {
            return Ok(None);
        }
        let ended = match change.password {
            Some(new) => tokens::revoke_others(&tx, id, new.keep).await?,
            None => Ended::default(),
        };
        tx.commit().await?;
        Ok(Some(ended))
    })
}

/// A row of id, phone, name, avatar.
pub(super) fn user(row: &Row) -> User {
    User { id: UserId(row.get(0)), phone: row.get(1), name: row.get(2), avatar: row.get(3) }
}
