//! The order in which a chunk is worked through: in stages, each a set of messages and then some requests.
//!
//! Messages go to the database as one set; requests one by one. Nothing may overtake within a conversation, so a request
//! ends its conversation's stage: what follows it there comes in the next. Across conversations no order is promised.

use std::collections::HashMap;

use shared::{ids::Conversation, message::Body};

use super::Item;

/// Places in the chunk's items.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// Messages, in order.
    pub texts: Vec<usize>,
    /// Requests, in order, after the messages.
    pub requests: Vec<usize>,
}

/// Lays out a chunk.
pub fn stages(items: &[Item]) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut levels: HashMap<Conversation, usize> = HashMap::new();
    for (place, item) in items.iter().enumerate() {
        let sender = item.accepted.from.user;
        let (conversation, text) = match &item.accepted.what {
            Body::Message(message) => (Some(message.to.conversation(sender)), true),
            Body::Request(request) => (request.what.conversation(sender), false),
        };
        // A group that is yet to be made cannot be in anyone's way.
        let level = conversation.and_then(|conversation| levels.get(&conversation)).copied().unwrap_or(0);
        if stages.len() <= level {
            stages.resize_with(level + 1, Stage::default);
        }
        if text {
            stages[level].texts.push(place);
        } else {
            stages[level].requests.push(place);
            if let Some(conversation) = conversation {
                levels.insert(conversation, level + 1);
            }
        }
    }
    stages
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::{
        ids::{Device, MessageId, NodeId, SessionNo, UserId},
        message::{Accepted, Ask, Message, Request, Sender, Target, WantedAck},
        subject::Lane,
    };

    use super::*;

    fn item(from: i64, to: i64, text: bool) -> Item {
        let id = MessageId::new("x").unwrap();
        let what = if text {
            let to = Target::User(UserId(to));
            Body::Message(Message { id, to, content: String::new(), ack: WantedAck::Stored })
        } else {
            Body::Request(Request { id, what: Ask::Block { to: UserId(to) } })
        };
        let from = Sender {
            user: UserId(from),
            device: Device::new("d").unwrap(),
            session: SessionNo(1),
            node: NodeId::new("n").unwrap(),
        };
        Item { lane: Lane(0), fresh: true, accepted: Accepted { from, ts: 0, nonce: None, what } }
    }

    #[test]
    fn messages_alone_are_one_stage() {
        let items: Vec<_> = (1..50).map(|n| item(n, n + 1, true)).collect();
        assert_eq!(stages(&items), [Stage { texts: (0..49).collect(), requests: vec![] }]);
    }

    #[test]
    fn what_follows_a_request_in_its_conversation_waits_for_it() {
        let items = [item(1, 2, true), item(2, 1, false), item(1, 2, true), item(3, 4, true)];
        let expected =
            [Stage { texts: vec![0, 3], requests: vec![1] }, Stage { texts: vec![2], requests: vec![] }];
        assert_eq!(stages(&items), expected);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_conversation_is_reordered(
            frames in prop::collection::vec((1..4_i64, 1..4_i64, any::<bool>()), 0..60)
        ) {
            let items: Vec<_> = frames.iter().map(|(from, to, text)| item(*from, *to, *text)).collect();
            let order: Vec<usize> =
                stages(&items).into_iter().flat_map(|stage| stage.texts.into_iter().chain(stage.requests)).collect();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..items.len()).collect::<Vec<_>>());
            for (a, b) in (1..4).flat_map(|a| (a..4).map(move |b| (a, b))) {
                let of_pair = |place: &usize| {
                    let (from, to, _) = frames[*place];
                    (from.min(to), from.max(to)) == (a, b)
                };
                let places: Vec<usize> = order.iter().copied().filter(|place| of_pair(place)).collect();
                prop_assert!(places.is_sorted(), "{:?}", places);
            }
        }
    }
}
