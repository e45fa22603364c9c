//! The rules of messages: anyone may write to anyone who exists and has not blocked them; a group hears its members.

use std::sync::Arc;

use shared::{
    command::Code,
    ids::{Conversation, Seq, UserId},
    message::{Accepted, Message, Refusal, Stored, StoredBody, Target, write},
};

use crate::pipeline::{
    cache::{Cache, Pair},
    effect::Show,
};

/// Whether a message may be stored.
pub type Verdict = Result<(), Refusal>;

/// Judges by what the cache has loaded.
pub fn judge(cache: &Cache, sender: UserId, to: Target) -> Verdict {
    match to {
        Target::User(user) => match cache.pair(sender, user) {
            Pair::Open => Ok(()),
            Pair::Blocked => {
                Err(Refusal::new(Code::Blocked, format!("user {user} does not accept messages from you")))
            }
            Pair::Unknown => Err(no_user(user)),
        },
        Target::Group(id) => match cache.group(id) {
            None => Err(Refusal::new(Code::NotFound, format!("there is no group {id}"))),
            Some(group) if group.dissolved => {
                Err(Refusal::new(Code::NotMember, format!("group {id} has been dissolved")))
            }
            Some(group) if !group.members.contains_key(&sender) => {
                Err(Refusal::new(Code::NotMember, format!("you are not a member of group {id}")))
            }
            Some(_) => Ok(()),
        },
    }
}

/// The refusal of something addressed to nobody.
pub fn no_user(user: UserId) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no user {user}"))
}

/// A stored message for its recipients; `again`: it was stored before. Whoever became a member after it is not shown it, even by a retry.
pub fn show(cache: &Cache, frame: &Accepted, message: &Message, seq: Seq, ts: i64, again: bool) -> Show {
    let sender = frame.from.user;
    let conversation = message.to.conversation(sender);
    let row = Stored {
        conversation,
        seq,
        sender,
        device: frame.from.device.clone(),
        id: message.id.clone(),
        ts,
        what: StoredBody::Text { content: message.content.clone(), ack: message.ack },
    };
    let mut body = Vec::with_capacity(128 + message.content.len());
    write::stored(&row, &mut body);
    Show {
        to: recipients(cache, message.to, sender, seq),
        conversation,
        seq,
        from: sender,
        id: message.id.clone(),
        skip: Some(frame.from.session),
        receipt: message.ack.wants_delivered(),
        again,
        body: body.into(),
    }
}

fn recipients(cache: &Cache, to: Target, sender: UserId, seq: Seq) -> Arc<[UserId]> {
    match to {
        Target::User(user) if user == sender => [user].into(),
        // The sender's other devices get a copy.
        Target::User(user) => [user, sender].into(),
        Target::Group(group) => match cache.group(group) {
            Some(group) if group.newest <= seq => group.everyone.clone(),
            Some(group) => {
                group.members.iter().filter(|(_, from)| **from <= seq).map(|(user, _)| *user).collect()
            }
            None => [].into(),
        },
    }
}

/// Both sides of a direct conversation, or nobody for a group.
pub fn both_sides(conversation: Conversation) -> Vec<UserId> {
    match conversation {
        Conversation::Direct(low, high) if low == high => vec![low],
        Conversation::Direct(low, high) => vec![low, high],
        Conversation::Group(_) => Vec::new(),
    }
}
