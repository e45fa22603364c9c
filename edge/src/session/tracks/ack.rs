//! Which delivery a client's acknowledgement means.

use shared::{
    delivery::ReceiptKey,
    ids::{Conversation, MessageId, Seq, UserId},
    message::{Ack, Sender, Target},
    rpc::{Cursors, Read},
};

use super::{Tracks, track::Pending};

impl Tracks {
    /// Applies an acknowledgement. False: nothing waited for it.
    pub fn ack(&mut self, ack: &Ack, who: &Sender, notes: &mut Cursors) -> bool {
        if ack.read {
            return self.read(ack, who, notes);
        }
        let Some((conversation, at)) = self.find(ack, who) else { return false };
        self.remove(conversation, at, who, notes);
        true
    }

    /// Everything up to there is read, and so acknowledged where it was delivered.
    fn read(&mut self, ack: &Ack, who: &Sender, notes: &mut Cursors) -> bool {
        let place = match (ack.seq, addressed(ack, who.user)) {
            (Some(seq), Some(conversation)) => Some((conversation, seq)),
            _ => self
                .find(ack, who)
                .map(|(conversation, at)| (conversation, self.tracks[&conversation].pending[at].seq)),
        };
        let Some((conversation, seq)) = place else { return false };
        notes.reads.push(Read { user: who.user, conv: conversation, seq });
        while let Some(track) = self.tracks.get(&conversation)
            && track.pending.front().is_some_and(|first| first.seq <= seq)
        {
            self.remove(conversation, 0, who, notes);
        }
        true
    }

    fn remove(&mut self, conversation: Conversation, at: usize, who: &Sender, notes: &mut Cursors) {
        let Some(track) = self.tracks.get_mut(&conversation) else { return };
        let Some(acked) = track.pending.remove(at) else { return };
        self.unacked -= 1;
        // Its sender asked whether it arrived; the sender's own other devices do not count, unless it wrote to itself.
        let to_another = acked.from != who.user || conversation == Conversation::direct(who.user, who.user);
        if acked.receipt && to_another {
            notes.delivered.push(ReceiptKey { conversation, seq: acked.seq, by: who.user, read: false });
        }
        self.settle(conversation, who, false, notes);
    }

    /// The delivery that is meant, as its conversation and its index there.
    fn find(&self, ack: &Ack, who: &Sender) -> Option<(Conversation, usize)> {
        let Some(seq) = ack.seq else {
            // A bare id: the oldest of that id.
            let id = ack.id.as_ref()?;
            return self.oldest(|_, pending| pending.id == *id);
        };
        if let Some(conversation) = addressed(ack, who.user) {
            let track = self.tracks.get(&conversation);
            let at =
                track.and_then(|track| track.pending.binary_search_by_key(&seq, |pending| pending.seq).ok());
            if let Some(at) = at {
                return Some((conversation, at));
            }
        }
        self.loosely(ack.id.as_ref(), seq, ack.from, who.user)
    }

    /// Where the address is not enough: a group's message acknowledged by its sender, a copy of one's own message
    /// without `to`, or no address at all. Then its id must fit as well, so that no other one is meant by mistake.
    fn loosely(
        &self,
        id: Option<&MessageId>,
        seq: Seq,
        from: Option<Target>,
        me: UserId,
    ) -> Option<(Conversation, usize)> {
        let from = match from {
            None => None,
            Some(Target::User(user)) => Some(user),
            Some(Target::Group(_)) => return None,
        };
        if id.is_none() && from != Some(me) {
            return None;
        }
        self.oldest(|_, pending| {
            pending.seq == seq
                && id.is_none_or(|id| pending.id == *id)
                && from.is_none_or(|from| pending.from == from)
        })
    }

    fn oldest(&self, fits: impl Fn(Conversation, &Pending) -> bool) -> Option<(Conversation, usize)> {
        let first = |(conversation, track): (&Conversation, &super::Track)| {
            let at = track.pending.iter().position(|pending| fits(*conversation, pending))?;
            Some((track.pending[at].order, *conversation, at))
        };
        let (_, conversation, at) = self.tracks.iter().filter_map(first).min_by_key(|found| found.0)?;
        Some((conversation, at))
    }
}

/// The conversation that an acknowledgement names.
fn addressed(ack: &Ack, me: UserId) -> Option<Conversation> {
    match (ack.from, ack.to) {
        (Some(Target::Group(group)), _) => Some(Conversation::Group(group)),
        (Some(Target::User(from)), _) if from != me => Some(Conversation::direct(me, from)),
        // A copy of one's own message: only its recipient tells the conversation.
        (_, Some(to)) => Some(Conversation::direct(me, to)),
        (_, None) => None,
    }
}
