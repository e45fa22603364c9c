//! What operators do with accounts, by the same rules as their holders.

use shared::ids::UserId;

use super::{Hashers, rules};
use crate::{
    config,
    rpc::Fault,
    store::{Pool, StoreError, users},
};

/// Why an operator's wish was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Against a rule: give up, or wish for something else.
    #[error("{0}")]
    Rule(String),
    /// PostgreSQL.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Store(error) => Self::Store(error),
            Fault::Refused { reason, .. } => Self::Rule(reason),
            Fault::Unavailable(reason) => Self::Rule(reason),
        }
    }
}

/// An account to be made.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "as in POST /user")]
pub struct NewUser<'a> {
    pub phone: &'a str,
    pub name: &'a str,
    pub avatar: &'a str,
}

impl NewUser<'_> {
    /// Whether it keeps the rules; before a password is asked for.
    ///
    /// # Errors
    /// [`Refused::Rule`].
    pub fn check(&self) -> Result<(), Refused> {
        rules::phone(self.phone)?;
        rules::name(self.name)?;
        rules::avatar(self.avatar)?;
        Ok(())
    }
}

/// Makes an account; `digest` is from [`digest`].
///
/// # Errors
/// [`Refused`].
pub async fn create(pool: &Pool, user: NewUser<'_>, digest: &str) -> Result<UserId, Refused> {
    user.check()?;
    let made = users::create(pool, user.phone, user.name, user.avatar, digest).await?;
    made.ok_or_else(|| {
        Refused::Rule("expected a phone that is free, found one that is registered".to_owned())
    })
}

/// The digest of a new password, at the configured cost.
///
/// # Errors
/// [`Refused::Rule`]; it does not repeat the password.
pub async fn digest(account: &config::Account, password: &str) -> Result<String, Refused> {
    let password = rules::password(password, "password")?;
    Ok(Hashers::new(account).digest(password).await?)
}
