//! Cached bodies for users with no device online: `offline_{user}`, a list of keys, and
//! `offline_{user}_{conversation}_{seq}`, the bodies. What is owed, and in what order, is PostgreSQL's to say alone.

use std::collections::BTreeMap;

use bytes::Bytes;
use redis::Pipeline;
use shared::ids::{Conversation, Seq, UserId};

use super::{Directory, Unreachable};

/// The newest keys that a user's list names.
pub const NAMED: usize = 10_000;

/// Takes every key up to the given places out of a user's list, and gives them.
const CLEAR: &str = "local upto = {}
for i = 1, #ARGV, 2 do upto[ARGV[i]] = tonumber(ARGV[i + 1]) end
local keep, gone = {}, {}
for _, key in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  local conv, seq = string.match(key, '_([^_]+)_(%d+)$')
  if conv and upto[conv] and tonumber(seq) <= upto[conv] then gone[#gone + 1] = key else keep[#keep + 1] = key end
end
if #gone > 0 then
  local ttl = redis.call('TTL', KEYS[1])
  redis.call('DEL', KEYS[1])
  for i = 1, #keep, 1000 do redis.call('RPUSH', KEYS[1], unpack(keep, i, math.min(i + 999, #keep))) end
  if ttl > 0 and #keep > 0 then redis.call('EXPIRE', KEYS[1], ttl) end
end
return gone";

impl Directory {
    /// Keeps bodies for users who are away, in one pipeline; in another one lists that have grown too long are cut.
    ///
    /// # Errors
    /// [`Unreachable`]: nothing is lost by it, PostgreSQL has them.
    pub async fn offline_put(
        &self,
        bodies: &[(UserId, Conversation, Seq, Bytes)],
    ) -> Result<(), Unreachable> {
        if bodies.is_empty() {
            return Ok(());
        }
        let expiry = self.inner.offline_days * 86_400;
        let mut pipeline = Pipeline::with_capacity(bodies.len() * 2);
        let mut named: BTreeMap<UserId, Vec<String>> = BTreeMap::new();
        for (user, conversation, seq, body) in bodies {
            let key = self.body_key(*user, conversation, *seq);
            pipeline.cmd("SET").arg(&key).arg(body.as_ref()).arg("EX").arg(expiry).ignore();
            named.entry(*user).or_default().push(key);
        }
        let mut lists = Vec::with_capacity(named.len());
        for (user, keys) in named {
            let list = self.list_key(user);
            pipeline.cmd("RPUSH").arg(&list).arg(keys);
            pipeline.cmd("EXPIRE").arg(&list).arg(expiry).ignore();
            lists.push(list);
        }
        let lengths: Vec<usize> = self.link().send(&pipeline).await?;
        let long: Vec<&String> =
            lists.iter().zip(lengths).filter(|(_, length)| *length > NAMED).map(|(list, _)| list).collect();
        if long.is_empty() {
            return Ok(());
        }
        let mut pipeline = Pipeline::with_capacity(long.len());
        for list in long {
            pipeline.cmd("LTRIM").arg(list).arg(-(NAMED as isize)).arg(-1).ignore();
        }
        self.link().send(&pipeline).await
    }

    /// Removes a user's bodies up to these places.
    ///
    /// # Errors
    /// [`Unreachable`]: they end by their expiry.
    pub async fn offline_clear(&self, user: UserId, upto: &[(Conversation, Seq)]) -> Result<(), Unreachable> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("EVAL").arg(CLEAR).arg(1).arg(self.list_key(user));
        for (conversation, seq) in upto {
            pipeline.arg(conversation.to_string()).arg(seq.0);
        }
        let (gone,): (Vec<String>,) = self.link().send(&pipeline).await?;
        if gone.is_empty() {
            return Ok(());
        }
        let mut pipeline = Pipeline::with_capacity(gone.len());
        for key in gone {
            pipeline.cmd("UNLINK").arg(key).ignore();
        }
        self.link().send(&pipeline).await
    }

    fn list_key(&self, user: UserId) -> String {
        self.key(&format!("offline_{user}"))
    }

    fn body_key(&self, user: UserId, conversation: &Conversation, seq: Seq) -> String {
        self.key(&format!("offline_{user}_{conversation}_{seq}"))
    }
}
