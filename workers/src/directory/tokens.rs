//! Verified tokens: `client_{digest}`, simple_im's hash of ip, port and user id, with the device beside them.
//!
//! An entry is believed for `token_cache_seconds` and only under the start of Redis that it was written to: one restored
//! from a snapshot could hold tokens that were revoked since. A revoked one leaves a note for as long, so that a check
//! that began before cannot bring it back.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use redis::Pipeline;
use shared::ids::{Device, TokenDigest, UserId};

use super::{Directory, Unreachable};

/// The most tokens whose removal waits for Redis to come back. Full: the oldest is let go, and its entry ends by itself
/// within `token_cache_seconds`.
const DROPS: usize = 10_000;

/// Tokens to be dropped again, because Redis could not be reached when they were revoked.
#[derive(Debug, Default)]
pub(super) struct Drops(Mutex<VecDeque<TokenDigest>>);

/// What is known of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Whose it is.
    pub user: UserId,
    /// The device it is bound to.
    pub device: Option<Device>,
    /// The node that its holder was sent to, or is on: address and port.
    pub at: Option<(String, u16)>,
}

impl Directory {
    /// A token verified before, if Redis knows.
    pub async fn client(&self, digest: &TokenDigest) -> Option<Client> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("HGETALL").arg(self.client_key(digest));
        let ((mut fields,), start): ((HashMap<String, String>,), _) =
            self.link().send_to(&pipeline).await.ok()?;
        if fields.contains_key("revoked") || fields.get("start").map(String::as_str) != Some(&*start) {
            return None;
        }
        let at = fields.remove("ip").zip(fields.get("port").and_then(|port| port.parse().ok()));
        let device = fields.get("device").and_then(|device| Device::new(device).ok());
        Some(Client { user: fields.get("user_id")?.parse().ok()?, device, at })
    }

    /// Notes verified tokens. Not to be awaited for its effect: without Redis the next call asks PostgreSQL.
    pub async fn put_clients(&self, clients: &[(TokenDigest, Client)]) {
        let Some(start) = self.link().start() else { return };
        let mut pipeline = Pipeline::with_capacity(clients.len() * 2);
        for (digest, client) in clients {
            let key = self.client_key(digest);
            let user = client.user.0.to_string();
            pipeline.cmd("HSET").arg(&key).arg("user_id").arg(user).arg("start").arg(&*start);
            if let Some(device) = &client.device {
                pipeline.arg("device").arg(device.as_str());
            }
            if let Some((ip, port)) = &client.at {
                pipeline.arg("ip").arg(ip).arg("port").arg(*port);
            }
            pipeline.ignore();
            pipeline.cmd("EXPIRE").arg(&key).arg(self.inner.token_cache.as_secs()).ignore();
        }
        if let Err(error) = self.link().send::<()>(&pipeline).await {
            tracing::debug!(%error, "verified tokens were not cached");
        }
    }

    /// Forgets revoked tokens, now or once Redis can be reached again.
    pub async fn drop_clients(&self, digests: &[TokenDigest]) {
        if digests.is_empty() {
            return;
        }
        if let Err(error) = self.delete_clients(digests).await {
            tracing::warn!(%error, tokens = digests.len(), "revoked tokens stay cached until Redis is back");
            let mut drops = self.inner.drops.0.lock().unwrap_or_else(PoisonError::into_inner);
            for digest in digests {
                if drops.len() == DROPS {
                    drops.pop_front();
                }
                drops.push_back(digest.clone());
            }
        }
    }

    /// Forgets revoked tokens now, or says that they may stay cached until their entries end.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub async fn forget_clients(&self, digests: &[TokenDigest]) -> Result<(), Unreachable> {
        if digests.is_empty() {
            return Ok(());
        }
        self.delete_clients(digests).await
    }

    /// Once more for those that could not be dropped.
    pub(super) async fn drop_tokens_again(&self) {
        let waiting: Vec<TokenDigest> =
            self.inner.drops.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        if !waiting.is_empty() {
            self.drop_clients(&waiting).await;
        }
    }

    async fn delete_clients(&self, digests: &[TokenDigest]) -> Result<(), Unreachable> {
        let mut pipeline = Pipeline::with_capacity(digests.len() * 3);
        for digest in digests {
            let key = self.client_key(digest);
            pipeline.cmd("DEL").arg(&key).ignore();
            pipeline.cmd("HSET").arg(&key).arg("revoked").arg(1).ignore();
            pipeline.cmd("EXPIRE").arg(&key).arg(self.inner.token_cache.as_secs()).ignore();
        }
        self.link().send(&pipeline).await
    }

    fn client_key(&self, digest: &TokenDigest) -> String {
        self.key(&format!("client_{}", digest.as_str()))
    }
}
