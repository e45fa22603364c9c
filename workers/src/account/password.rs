//! Passwords: argon2id on threads of its own, `[account] hashers` at a time.

use std::{sync::Arc, time::Instant};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use crate::{
    config,
    metric::{Metrics, metrics},
    rpc::Fault,
};

/// Digests that may wait for a thread, a thread. Full: the call is refused, to be tried again; each waits well under
/// the calls' deadline.
pub(crate) const WAITING: usize = 32;

/// Digests and checks passwords.
#[derive(Clone)]
pub(crate) struct Hashers {
    argon: Argon2<'static>,
    threads: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Stands in for an unknown user's, so that an unknown phone takes as long as a wrong password.
    nobody: Arc<str>,
}

impl std::fmt::Debug for Hashers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hashers").field("free", &self.threads.available_permits()).finish()
    }
}

impl Hashers {
    /// With the configured cost.
    pub fn new(account: &config::Account) -> Self {
        // The configuration's ranges are within argon2's; its own defaults are at least as dear.
        let params = Params::new(account.argon2_kib, account.argon2_passes, 1, None).unwrap_or_default();
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody = digest(&argon, b"nobody has this password").unwrap_or_default();
        Self {
            argon,
            threads: Arc::new(Semaphore::new(account.hashers)),
            waiting: Arc::new(Semaphore::new(account.hashers * (WAITING + 1))),
            nobody: nobody.into(),
        }
    }

    /// A password's digest, PHC format, with a salt of its own.
    pub async fn digest(&self, password: &str) -> Result<String, Fault> {
        let (argon, password) = (self.argon.clone(), password.as_bytes().to_vec());
        let digest = self.on_thread(move || digest(&argon, &password)).await?;
        digest.ok_or_else(|| Fault::Unavailable("a password could not be digested".to_owned()))
    }

    /// Whether it is the password of that digest; `None` stands for no user, which takes as long and is never right.
    pub async fn is(&self, password: &str, digest: Option<&str>) -> Result<bool, Fault> {
        let known = digest.is_some();
        let digest = digest.unwrap_or(&self.nobody).to_owned();
        let (argon, password) = (self.argon.clone(), password.as_bytes().to_vec());
        let right = self.on_thread(move || verify(&argon, &password, &digest)).await?;
        Ok(right && known)
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let begun = Instant::now();
        let busy = || Fault::Unavailable("too many passwords are being checked".to_owned());
        let _waiting = self.waiting.try_acquire().map_err(|_| busy())?;
        let under_way = Metrics::one_more(&metrics().passwords_under_way);
        let permit = self.threads.clone().acquire_owned().await.map_err(|_| busy())?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            // Held until the thread is done, even when nobody waits for it any more.
            drop(permit);
            done
        })
        .await;
        drop(under_way);
        metrics().password_seconds.record(begun.elapsed());
        done.map_err(|_| Fault::Unavailable("a password could not be checked".to_owned()))
    }
}

fn digest(argon: &Argon2<'_>, password: &[u8]) -> Option<String> {
    argon.hash_password(password).ok().map(|digest| digest.to_string())
}

fn verify(argon: &Argon2<'_>, password: &[u8], digest: &str) -> bool {
    PasswordHash::new(digest).is_ok_and(|digest| argon.verify_password(password, &digest).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WorkerConfig;

    fn hashers() -> Hashers {
        let mut account = WorkerConfig::default().account;
        (account.argon2_kib, account.argon2_passes) = (8, 1);
        Hashers::new(&account)
    }

    #[tokio::test]
    async fn a_password_fits_its_own_digest_only() {
        let hashers = hashers();
        let digest = hashers.digest("888888").await.unwrap();
        assert!(digest.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{digest}");
        assert!(hashers.is("888888", Some(&digest)).await.unwrap());
        assert!(!hashers.is("888889", Some(&digest)).await.unwrap());
        assert_ne!(digest, hashers.digest("888888").await.unwrap(), "the same salt twice");
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        let hashers = hashers();
        assert!(!hashers.is("nobody has this password", None).await.unwrap());
        assert!(!hashers.is("x", Some("not a digest")).await.unwrap());
    }

    #[tokio::test]
    async fn what_waits_is_bounded() {
        let hashers = hashers();
        let all = u32::try_from(hashers.waiting.available_permits()).unwrap();
        let _full = hashers.waiting.clone().acquire_many_owned(all).await.unwrap();
        assert!(matches!(hashers.digest("x").await, Err(Fault::Unavailable(_))));
    }
}
