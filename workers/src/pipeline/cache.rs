//! What a committer may remember between chunks: blocks between two users and members of groups change only in the lane
//! of their conversation, so whoever owns the lane knows every change. Dropped when a lane is taken or a chunk fails.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use shared::ids::{Conversation, GroupId, UserId};

use crate::store::{Session, StoreError, chunk::contacts, chunk::groups};

/// Pairs, and conversations, remembered at most; over that all are forgotten and read again.
const MAX_PAIRS: usize = 100_000;
/// Members remembered at most, over all groups, each group as one more; over that all are forgotten and read again.
const MAX_MEMBERS: usize = 500_000;

/// Whether one user may write to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pair {
    /// Nothing is in the way.
    Open,
    /// The recipient has blocked the sender.
    Blocked,
    /// There is no such user; asked again each time, as it may come to be.
    Unknown,
}

/// A committer's memory.
#[derive(Debug, Default)]
pub struct Cache {
    pairs: HashMap<(UserId, UserId), Pair>,
    groups: HashMap<GroupId, Arc<groups::Group>>,
    members: usize,
    begun: HashSet<Conversation>,
}

impl Cache {
    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether something is known to be stored in this conversation.
    pub fn has_begun(&self, conversation: &Conversation) -> bool {
        self.begun.contains(conversation)
    }

    /// Something is stored in these conversations, and committed.
    pub fn have_begun(&mut self, conversations: impl IntoIterator<Item = Conversation>) {
        if self.begun.len() > MAX_PAIRS {
            self.begun.clear();
        }
        self.begun.extend(conversations);
    }

    /// Forgets how two users stand to each other.
    pub fn forget_pair(&mut self, one: UserId, other: UserId) {
        self.pairs.remove(&(one, other));
        self.pairs.remove(&(other, one));
    }

    /// Forgets a group's members.
    pub fn forget_group(&mut self, group: GroupId) {
        if let Some(group) = self.groups.remove(&group) {
            self.members -= weight(&group);
        }
    }

    /// Reads what is not known of these pairs, in one statement.
    ///
    /// # Errors
    /// The session's.
    pub async fn pairs(
        &mut self,
        session: &Session,
        wanted: impl IntoIterator<Item = (UserId, UserId)>,
    ) -> Result<(), StoreError> {
        let mut missing: Vec<_> = wanted.into_iter().collect();
        missing.sort_unstable();
        missing.dedup();
        if self.pairs.len() + missing.len() > MAX_PAIRS {
            self.pairs.clear();
        }
        missing.retain(|pair| self.pairs.get(pair).is_none_or(|state| *state == Pair::Unknown));
        if missing.is_empty() {
            return Ok(());
        }
        let found = contacts::pairs(session, &missing).await?;
        for (pair, (exists, blocked)) in missing.into_iter().zip(found) {
            let state = match (exists, blocked) {
                (false, _) => Pair::Unknown,
                (true, true) => Pair::Blocked,
                (true, false) => Pair::Open,
            };
            self.pairs.insert(pair, state);
        }
        Ok(())
    }

    /// What [`Self::pairs`] read.
    pub fn pair(&self, sender: UserId, recipient: UserId) -> Pair {
        self.pairs.get(&(sender, recipient)).copied().unwrap_or(Pair::Unknown)
    }

    /// Reads what is not known of these groups, in two statements.
    ///
    /// # Errors
    /// The session's.
    pub async fn groups(
        &mut self,
        session: &Session,
        wanted: impl IntoIterator<Item = GroupId>,
    ) -> Result<(), StoreError> {
        let mut missing: Vec<_> = wanted.into_iter().collect();
        missing.sort_unstable();
        missing.dedup();
        self.make_room();
        missing.retain(|group| !self.groups.contains_key(group));
        if missing.is_empty() {
            return Ok(());
        }
        for (id, group) in groups::load(session, &missing).await? {
            self.keep(id, group);
        }
        Ok(())
    }

    fn make_room(&mut self) {
        if self.members > MAX_MEMBERS {
            self.groups.clear();
            self.members = 0;
        }
    }

    fn keep(&mut self, id: GroupId, group: groups::Group) {
        self.members += weight(&group);
        if let Some(before) = self.groups.insert(id, Arc::new(group)) {
            self.members -= weight(&before);
        }
    }

    /// What [`Self::groups`] read; `None`: there is no such group.
    pub fn group(&self, group: GroupId) -> Option<Arc<groups::Group>> {
        self.groups.get(&group).cloned()
    }
}

/// A group that was dissolved has no members, and takes its room all the same.
fn weight(group: &groups::Group) -> usize {
    group.members.len() + 1
}

#[cfg(test)]
mod tests {
    use shared::ids::Seq;

    use super::*;

    fn group(members: i64) -> groups::Group {
        groups::Group {
            creator: UserId(1),
            dissolved: members == 0,
            members: (1..=members).map(|user| (UserId(user), Seq(1))).collect(),
            everyone: Arc::default(),
            newest: Seq(1),
        }
    }

    #[test]
    fn groups_without_members_are_bounded_too() {
        let mut cache = Cache::default();
        let mut most = 0;
        for id in 0..=2 * MAX_MEMBERS as i64 {
            cache.make_room();
            cache.keep(GroupId(id), group(0));
            most = most.max(cache.groups.len());
        }
        assert!(most <= MAX_MEMBERS + 1, "{most} groups were kept");
    }

    #[test]
    fn what_is_forgotten_or_replaced_is_not_counted() {
        let mut cache = Cache::default();
        for members in [3, 0, 7] {
            cache.keep(GroupId(1), group(members));
            cache.keep(GroupId(2), group(2));
            assert_eq!(cache.members, members as usize + 4);
        }
        cache.forget_group(GroupId(1));
        cache.forget_group(GroupId(1));
        assert_eq!(cache.members, 3);
        cache.forget_group(GroupId(2));
        assert_eq!(cache.members, 0);
    }
}
