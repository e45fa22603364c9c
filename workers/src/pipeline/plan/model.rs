//! Chunks worked through by their plan, against the same chunks frame by frame: the outcome must be the same.

use std::collections::{BTreeMap, BTreeSet};

use shared::{
    ids::{Device, GroupId, MessageId, NodeId, SessionNo, UserId},
    message::{Accepted, Ask, Message, Request, Sender, Target, WantedAck},
    seeded::{Random, seeds},
};

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Stored(i64),
    Duplicate(i64),
    Refused,
    /// A request that is nobody else's business.
    Quiet,
}

/// A conversation with all that decides about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Room {
    rows: Vec<Key>,
    /// Requests answered without a row.
    quiet: BTreeSet<Key>,
    /// Who may not write: blocked by the other side, or not a member.
    shut_out: BTreeSet<UserId>,
}

/// What makes a retry recognisable here: the sender and its id.
type Key = (UserId, String);

/// The store: rooms that exist, in any order, and the groups that were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Store {
    rooms: BTreeMap<Conversation, Room>,
    made: BTreeSet<Key>,
}

fn key(item: &Item) -> Key {
    (item.accepted.from.user, item.accepted.id().to_string())
}

fn conversation(item: &Item) -> Option<Conversation> {
    let sender = item.accepted.from.user;
    match &item.accepted.what {
        Body::Message(message) => Some(message.to.conversation(sender)),
        Body::Request(request) => request.what.conversation(sender),
    }
}

impl Room {
    fn stands(&self, key: &Key) -> Option<Outcome> {
        let row = self.rows.iter().position(|row| row == key);
        row.map(|at| Outcome::Duplicate(at as i64 + 1))
    }

    fn append(&mut self, key: Key) -> Outcome {
        self.rows.push(key);
        Outcome::Stored(self.rows.len() as i64)
    }
}

impl Store {
    fn room(&mut self, item: &Item) -> &mut Room {
        self.rooms.entry(conversation(item).unwrap()).or_default()
    }

    fn text(&mut self, item: &Item) -> Outcome {
        let (key, room) = (key(item), self.room(item));
        match room.stands(&key) {
            Some(before) => before,
            None if room.shut_out.contains(&key.0) => Outcome::Refused,
            None => room.append(key),
        }
    }

    /// The messages of a stage are one set: rules and what is stored already are looked at before any is written.
    fn texts(&mut self, items: &[Item], places: &[usize], outcomes: &mut [Option<Outcome>]) {
        let before = self.clone();
        for place in places {
            let (item, known) = (&items[*place], outcomes[*place]);
            assert_eq!(known, None, "{place} comes twice");
            let mut seen = before.clone();
            let (key, room) = (key(item), seen.room(item));
            outcomes[*place] = Some(match room.stands(&key) {
                Some(stands) => stands,
                None if room.shut_out.contains(&key.0) => Outcome::Refused,
                None => {
                    let room = self.room(item);
                    room.stands(&key).unwrap_or_else(|| room.append(key))
                }
            });
        }
    }

    fn request(&mut self, item: &Item) -> Outcome {
        let (key, sender) = (key(item), item.accepted.from.user);
        let Body::Request(Request { what, .. }) = &item.accepted.what else { panic!("{item:?}") };
        if let Ask::CreateGroup { .. } = what {
            return if self.made.insert(key) { Outcome::Stored(1) } else { Outcome::Duplicate(1) };
        }
        let room = self.room(item);
        if let Some(before) = room.stands(&key) {
            return before;
        }
        if room.quiet.contains(&key) {
            return Outcome::Quiet;
        }
        match what {
            Ask::Block { to } => room.shut_out.insert(*to),
            Ask::Unblock { to } => room.shut_out.remove(to),
            Ask::CreateGroupMember { member, .. } if !room.shut_out.contains(&sender) => {
                if !room.shut_out.remove(member) {
                    return Outcome::Refused;
                }
                return room.append(key);
            }
            Ask::DeleteGroupMember { member: Some(member), .. } if !room.shut_out.contains(&sender) => {
                if !room.shut_out.insert(*member) {
                    return Outcome::Refused;
                }
                return room.append(key);
            }
            Ask::AddContact { .. } if !room.shut_out.contains(&sender) => return room.append(key),
            _ => return Outcome::Refused,
        };
        room.quiet.insert(key);
        Outcome::Quiet
    }
}

struct Chunks {
    random: Random,
    sent: Vec<Item>,
    count: usize,
}

impl Chunks {
    fn chunk(&mut self) -> Vec<Item> {
        let size = 1 + self.random.below(60);
        (0..size).map(|_| self.frame()).collect()
    }

    /// A new frame, or one that was sent before, in this chunk or an earlier one.
    fn frame(&mut self) -> Item {
        if self.random.one_in(6)
            && let Some(again) = self.random.pick(&self.sent)
        {
            return Item { fresh: false, ..again.clone() };
        }
        let users = 4;
        let (from, to) = (self.random.below(users) as i64 + 1, self.random.below(users) as i64 + 1);
        let (user, group) = (UserId(to), GroupId(self.random.below(2) as i64 + 1));
        self.count += 1;
        let id = MessageId::new(&format!("m{}", self.count)).unwrap();
        let what = match self.random.below(16) {
            0 => Ask::AddContact { to: user, message: String::new() },
            1 => Ask::Block { to: user },
            2 => Ask::Unblock { to: user },
            3 => Ask::CreateGroup { name: "x".into(), members: vec![] },
            4 => Ask::CreateGroupMember { group, member: user },
            5 => Ask::DeleteGroupMember { group, member: Some(user) },
            text => {
                let to = if text < 11 { Target::User(user) } else { Target::Group(group) };
                let message = Message { id, to, content: String::new(), ack: WantedAck::Stored };
                return self.sent(from, Body::Message(message));
            }
        };
        self.sent(from, Body::Request(Request { id, what }))
    }

    fn sent(&mut self, from: i64, what: Body) -> Item {
        let from = Sender {
            user: UserId(from),
            device: Device::new("d").unwrap(),
            session: SessionNo(1),
            node: NodeId::new("n").unwrap(),
        };
        let accepted = Accepted { from, ts: 0, nonce: None, what };
        let item = Item { lane: accepted.lane(8), fresh: true, accepted };
        self.sent.push(item.clone());
        item
    }
}

/// Each frame stands once, in the stage behind as many as its conversation has requests before it: no earlier, or it would
/// overtake; no later, or the database is asked more often than it must be.
fn check_plan(items: &[Item], stages: &[Stage]) {
    let mut requests: BTreeMap<Conversation, usize> = BTreeMap::new();
    let mut expected: Vec<Stage> = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let conversation = conversation(item);
        let before = conversation.map_or(0, |conversation| *requests.entry(conversation).or_default());
        if expected.len() <= before {
            expected.resize_with(before + 1, Stage::default);
        }
        if matches!(item.accepted.what, Body::Message(_)) {
            expected[before].texts.push(place);
        } else {
            expected[before].requests.push(place);
            if let Some(conversation) = conversation {
                requests.insert(conversation, before + 1);
            }
        }
    }
    assert_eq!(stages, expected);
}

#[test]
fn a_chunk_by_its_plan_comes_to_what_its_frames_come_to_one_by_one() {
    let (mut frames, mut most) = (0, 0);
    for seed in seeds(0..300) {
        let mut chunks = Chunks { random: seed.random(), sent: Vec::new(), count: 0 };
        let (mut planned, mut simple) = (Store::default(), Store::default());
        for _ in 0..5 {
            let items = chunks.chunk();
            let expected: Vec<Option<Outcome>> = items
                .iter()
                .map(|item| match &item.accepted.what {
                    Body::Message(_) => Some(simple.text(item)),
                    Body::Request(_) => Some(simple.request(item)),
                })
                .collect();
            let plan = stages(&items);
            check_plan(&items, &plan);
            let mut outcomes = vec![None; items.len()];
            for stage in &plan {
                planned.texts(&items, &stage.texts, &mut outcomes);
                for place in &stage.requests {
                    assert_eq!(outcomes[*place].replace(planned.request(&items[*place])), None, "{place}");
                }
            }
            assert_eq!(outcomes, expected, "{items:#?}");
            assert_eq!(planned, simple);
            frames += items.len();
            most = most.max(plan.len());
        }
    }
    eprintln!("{frames} frames, up to {most} stages");
}
