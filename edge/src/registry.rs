//! Which sessions a user has on this node.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use shared::ids::UserId;

use crate::{
    hash::ById,
    outbox::{Close, Outbox},
};

const SHARDS: usize = 64;

type Shard = HashMap<UserId, Vec<Arc<Outbox>>, ById>;

/// All sessions of the node. Bounded by `limits.connections`.
#[derive(Debug)]
pub struct Registry {
    shards: Box<[Mutex<Shard>]>,
    count: AtomicUsize,
    /// Which of the broker's streams sessions begin with.
    stream: AtomicU32,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            count: AtomicUsize::new(0),
            stream: AtomicU32::new(0),
        }
    }
}

impl Registry {
    /// Adds a session. Of two sessions of one device only the one with the higher number stays: the other is told
    /// to close, whichever came first.
    pub fn add(self: &Arc<Self>, session: Arc<Outbox>) -> Entry {
        let mut shard = self.shard(session.who.user);
        let sessions = shard.entry(session.who.user).or_insert_with(|| Vec::with_capacity(1));
        for other in sessions.iter().filter(|other| other.who.device == session.who.device) {
            let older = if other.who.session < session.who.session { other } else { &session };
            older.close(Close::Replaced);
        }
        // Under the shard's lock: a session is seen by `end_older`, or begins with the stream that came before that.
        session.begin(self.stream.load(Ordering::Acquire));
        sessions.push(session.clone());
        self.count.fetch_add(1, Ordering::Relaxed);
        drop(shard);
        Entry { registry: Some(self.clone()), session }
    }

    /// Calls `each` for every session of a user; returns how many there are.
    pub fn of_user(&self, user: UserId, mut each: impl FnMut(&Arc<Outbox>)) -> usize {
        let shard = self.shard(user);
        let Some(sessions) = shard.get(&user) else { return 0 };
        sessions.iter().for_each(&mut each);
        sessions.len()
    }

    /// Calls `each` for every session of the node. Sessions that come meanwhile may be left out.
    pub fn for_all(&self, mut each: impl FnMut(&Arc<Outbox>)) {
        for shard in &self.shards {
            lock(shard).values().flatten().for_each(&mut each);
        }
    }

    /// Sessions from now on begin with another one of the broker's streams; which.
    pub fn next_stream(&self) -> u32 {
        self.stream.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Ends every session that began before this one of the broker's streams; how many that are.
    pub fn end_older(&self, stream: u32) -> usize {
        let mut ended = 0;
        self.for_all(|session| {
            if session.stream() < stream {
                session.close(Close::Wiped);
                ended += 1;
            }
        });
        ended
    }

    /// Sessions now.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, user: UserId) -> MutexGuard<'_, Shard> {
        lock(&self.shards[user.0.unsigned_abs() as usize % SHARDS])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session's place in the registry: it leaves when this is dropped, however the session ends.
#[derive(Debug)]
pub struct Entry {
    /// `None` once it has left.
    registry: Option<Arc<Registry>>,
    session: Arc<Outbox>,
}

impl Entry {
    /// Whose place it is.
    pub fn session(&self) -> &Arc<Outbox> {
        &self.session
    }

    /// Leaves. False: it had.
    pub fn leave(&mut self) -> bool {
        let Some(registry) = self.registry.take() else { return false };
        let user = self.session.who.user;
        let mut shard = registry.shard(user);
        if let Some(sessions) = shard.get_mut(&user) {
            sessions.retain(|other| !Arc::ptr_eq(other, &self.session));
            if sessions.is_empty() {
                shard.remove(&user);
            }
        }
        drop(shard);
        registry.count.fetch_sub(1, Ordering::Relaxed);
        self.session.gone();
        true
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::session;

    #[test]
    fn a_device_keeps_its_newest_session_whichever_comes_first() {
        let registry = Arc::new(Registry::default());
        let (old, new, other) = (session(1, "pad", 5), session(1, "pad", 9), session(1, "phone", 7));
        let _other = registry.add(other.clone());
        let _new = registry.add(new.clone());
        let late = registry.add(old.clone());
        assert_eq!(old.take().close, Some(Close::Replaced));
        assert_eq!((new.take().close, other.take().close), (None, None));
        drop(late);
        assert!(old.is_gone());
        assert_eq!((registry.len(), registry.of_user(UserId(1), |_| ())), (2, 2));
    }

    #[test]
    fn sessions_of_an_earlier_stream_end_and_those_of_this_one_stay() {
        let registry = Arc::new(Registry::default());
        let (old, new) = (session(1, "pad", 1), session(2, "pad", 2));
        let _old = registry.add(old.clone());
        let stream = registry.next_stream();
        let _new = registry.add(new.clone());
        assert_eq!(registry.end_older(stream), 1);
        assert_eq!((old.take().close, new.take().close), (Some(Close::Wiped), None));
        assert_eq!((old.stream(), new.stream()), (stream - 1, stream));
    }
}
