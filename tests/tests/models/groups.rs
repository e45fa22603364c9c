//! Chunks through the pipeline and PostgreSQL, against their frames one by one: the same answers, shown to the same users;
//! and afterwards each user sees of every conversation exactly the part that is its own.

use std::collections::BTreeMap;

use shared::{
    ids::{Conversation, Device, GroupId, MessageId, NodeId, Seq, SessionNo, UserId},
    message::{Accepted, Ask, Body, Message, Request, Sender, Target, WantedAck},
    seeded::{Random, seeds},
};
use workers::{
    pipeline::{
        Item,
        cache::Cache,
        effect::{Effect, Outcome},
        run::{self, Rules},
    },
    store::{Session, history, lanes::Mark, owed},
};

use crate::{
    database::Database,
    rules::{MEMBERS, Model},
};

const LANES: u16 = 4;
const DEVICES: [&str; 2] = ["pad", "phone"];

/// One owner of some lanes.
struct Committer {
    session: Session,
    cache: Cache,
}

/// What a chunk may ask: across conversations no order is promised, so what one kind changes the other only reads.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Contacts,
    Groups,
}

struct World {
    random: Random,
    users: Vec<UserId>,
    model: Model,
    committers: [Committer; 2],
    /// Which committer has which lane.
    owners: [usize; LANES as usize],
    /// Frames sent before, by the kind of chunk that may hold them again.
    sent: Vec<(Kind, Accepted)>,
    count: usize,
    kind: Kind,
    reached: i64,
    counts: Counts,
}

/// Frames by lane: stored, duplicate, refused.
type Counts = BTreeMap<u16, [i64; 3]>;

impl World {
    async fn new(database: &Database, random: Random) -> Self {
        database.clear().await;
        let users = database.users(8).await;
        let committer = async || Committer { session: database.session().await, cache: Cache::default() };
        Self {
            random,
            model: Model::new(&users),
            users,
            committers: [committer().await, committer().await],
            owners: [0, 0, 1, 1],
            sent: Vec::new(),
            count: 0,
            kind: Kind::Contacts,
            reached: 0,
            counts: Counts::new(),
        }
    }

    /// Both committers work through what came by their lanes.
    async fn chunk(&mut self) {
        if self.random.one_in(4) {
            let lane = self.random.below(self.owners.len());
            self.owners[lane] = 1 - self.owners[lane];
            // As a committer does that takes a lane.
            self.committers[self.owners[lane]].cache.clear();
        }
        self.kind = if self.random.one_in(4) { Kind::Contacts } else { Kind::Groups };
        let size = 10 + self.random.below(50);
        let frames: Vec<Accepted> = (0..size).map(|_| self.frame()).collect();
        self.reached += 1;
        self.commit(&frames, true).await;
        // The acknowledgement was lost: everything comes again.
        if self.random.one_in(5) {
            self.commit(&frames, false).await;
        }
    }

    async fn commit(&mut self, frames: &[Accepted], fresh: bool) {
        let mut items: [Vec<Item>; 2] = Default::default();
        for accepted in frames {
            let lane = accepted.lane(LANES);
            let item = Item { lane, fresh, accepted: accepted.clone() };
            items[self.owners[usize::from(lane.0)]].push(item);
        }
        let marks = |of: usize| -> Vec<Mark> {
            let owned = (0..LANES).filter(|lane| self.owners[usize::from(*lane)] == of);
            let stream = String::from("s");
            owned
                .map(|lane| Mark { lane, stream: stream.clone(), committed: self.reached, ..Mark::default() })
                .collect()
        };
        let marks = [marks(0), marks(1)];
        let [one, other] = &mut self.committers;
        let (one, other) = (commit(one, &items[0], &marks[0]), commit(other, &items[1], &marks[1]));
        let (one, other) = match self.kind {
            Kind::Contacts => tokio::join!(one, other),
            // Side by side, which group gets which number would be left to chance.
            Kind::Groups => (one.await, other.await),
        };
        for (items, effects) in items.iter().zip([one, other]) {
            assert_eq!(items.len(), effects.len());
            for (item, effect) in items.iter().zip(&effects) {
                self.compare(item, effect);
                let of = match effect.outcome {
                    Outcome::Stored => 0,
                    Outcome::Duplicate => 1,
                    _ => 2,
                };
                self.counts.entry(item.lane.0).or_default()[of] += i64::from(fresh);
            }
        }
    }

    fn compare(&mut self, item: &Item, effect: &Effect) {
        let answer = effect.answer.as_ref().unwrap();
        let made = match answer.place {
            Some((Conversation::Group(group), _)) => Some(group),
            _ => None,
        };
        let expected = if item.fresh {
            self.model.apply(&item.accepted, made)
        } else {
            self.model.again(&item.accepted, effect.outcome)
        };
        assert_eq!(effect.outcome, expected.outcome, "{:?}", item.accepted);
        assert_eq!(answer.place.map(|(conv, seq)| (conv, seq.0)), expected.place, "{:?}", item.accepted);
        assert_eq!((answer.user, answer.session), (item.accepted.from.user, item.accepted.from.session));
        let shown: Vec<UserId> = effect.shows.iter().flat_map(|show| show.to.iter().copied()).collect();
        let count = shown.len();
        let shown: std::collections::BTreeSet<UserId> = shown.into_iter().collect();
        assert_eq!((shown.len(), &shown), (count, &expected.shown), "{:?}", item.accepted);
        for show in &effect.shows {
            assert_eq!(Some((show.conversation, show.seq.0)), expected.place);
            assert_eq!(show.again, effect.outcome == Outcome::Duplicate);
        }
    }

    fn frame(&mut self) -> Accepted {
        let kind = self.kind;
        let again: Vec<usize> =
            (0..self.sent.len()).rev().filter(|n| self.sent[*n].0 == kind).take(80).collect();
        if self.random.one_in(7)
            && let Some(again) = self.random.pick(&again)
        {
            return self.sent[*again].1.clone();
        }
        let (sender, other) = (*self.random.pick(&self.users).unwrap(), self.user());
        self.count += 1;
        let id = MessageId::new(&format!("f{}", self.count)).unwrap();
        let group = self.group();
        let what = match (self.random.below(12), kind) {
            (0..=5, _) => {
                let private = self.random.below(4) < if kind == Kind::Contacts { 3 } else { 1 };
                let to = if private { Target::User(other) } else { Target::Group(group) };
                Body::Message(Message { id, to, content: "hello".into(), ack: WantedAck::Stored })
            }
            (n, Kind::Contacts) => {
                let what = match n {
                    6 => Ask::AcceptContact { to: other },
                    7 => Ask::DeclineContact { to: other },
                    8 => Ask::DeleteContact { to: other },
                    9 => Ask::Block { to: other },
                    10 => Ask::Unblock { to: other },
                    _ => Ask::AddContact { to: other, message: "hi".into() },
                };
                Body::Request(Request { id, what })
            }
            (n, Kind::Groups) => {
                let what = match n {
                    6 => {
                        let members = (0..self.random.below(MEMBERS + 1)).map(|_| self.user()).collect();
                        Ask::CreateGroup { name: "friends".into(), members }
                    }
                    7 if self.random.one_in(4) => Ask::DeleteGroup { group },
                    7 => Ask::DeleteGroupMember { group, member: None },
                    8 => Ask::DeleteGroupMember { group, member: Some(other) },
                    _ => Ask::CreateGroupMember { group, member: other },
                };
                Body::Request(Request { id, what })
            }
        };
        // Mostly somebody who may.
        let sender = match &what {
            Body::Request(Request {
                what: Ask::CreateGroupMember { group, .. } | Ask::DeleteGroupMember { group, member: Some(_) },
                ..
            }) if !self.random.one_in(3) => self.model.creator(*group).unwrap_or(sender),
            _ => sender,
        };
        let from = Sender {
            user: sender,
            device: Device::new(DEVICES[self.random.below(2)]).unwrap(),
            session: SessionNo(self.random.below(9) as i64 + 1),
            node: NodeId::new("e1-0").unwrap(),
        };
        let frame = Accepted { from, ts: self.count as i64, nonce: None, what };
        self.sent.push((kind, frame.clone()));
        frame
    }

    /// Mostly one that exists.
    fn user(&mut self) -> UserId {
        if self.random.one_in(40) { UserId(9_999_999) } else { *self.random.pick(&self.users).unwrap() }
    }

    fn group(&mut self) -> GroupId {
        let groups = self.model.groups();
        match self.random.pick(&groups) {
            Some(group) if !self.random.one_in(40) => *group,
            _ => GroupId(9_999_999),
        }
    }

    /// Everyone's backlog, history and list of conversations.
    async fn look(&mut self) {
        self.model.check();
        for user in self.users.clone() {
            for device in [None, Some(Device::new(DEVICES[0]).unwrap())] {
                let expected = self.model.owed(user, device.as_ref());
                assert_eq!(self.backlog(user, device.as_ref()).await, expected, "owed to {user} {device:?}");
            }
            for conversation in self.model.conversations() {
                let (mut seen, mut before) = (Vec::new(), None);
                loop {
                    let limit = 1 + self.random.below(60);
                    let session = &self.committers[0].session;
                    let (page, more) =
                        history::page(session, user, &conversation, before, limit).await.unwrap();
                    assert!(page.len() == limit || !more);
                    seen.splice(0..0, page.iter().map(|row| row.seq.0));
                    before = page.first().map(|row| row.seq);
                    if !more {
                        break;
                    }
                }
                assert_eq!(seen, self.model.seen(user, conversation), "what {user} sees of {conversation}");
            }
            let (listed, more) = history::list(&self.committers[0].session, user, "", 1_000).await.unwrap();
            let listed = listed.into_iter();
            let listed: Vec<_> =
                listed.map(|one| (one.last.conversation, one.last.seq.0, one.unread, one.open)).collect();
            assert!(!more);
            assert_eq!(listed, self.model.listed(user), "the list of {user}");
        }
    }

    /// Each fresh frame is counted once, in its lane.
    async fn counted(&self, database: &Database) {
        let query = "SELECT lane, stored, duplicate, refused, dead FROM lanes";
        let stored = database.stores.rows(query, &[]).await.into_iter().map(|row| {
            assert_eq!(row.get::<_, i64>(4), 0, "nothing is set aside");
            (u16::try_from(row.get::<_, i32>(0)).unwrap(), [row.get(1), row.get(2), row.get(3)])
        });
        assert_eq!(stored.collect::<Counts>(), self.counts);
    }

    /// Page after page, each of another size.
    async fn backlog(&mut self, user: UserId, device: Option<&Device>) -> Vec<(Conversation, i64, String)> {
        let (mut found, mut after) = (Vec::new(), BTreeMap::<Conversation, Seq>::new());
        loop {
            let limit = 1 + self.random.below(200);
            let session = &self.committers[0].session;
            let (page, more) = owed::owed(session, user, device, &after, limit).await.unwrap();
            assert!(page.len() == limit || !more);
            for row in page {
                after.insert(row.conversation, row.seq);
                found.push((row.conversation, row.seq.0, row.id.to_string()));
            }
            if !more {
                return found;
            }
        }
    }
}

async fn commit(by: &mut Committer, items: &[Item], marks: &[Mark]) -> Vec<Effect> {
    let rules = Rules { group_members: MEMBERS };
    run::commit(&by.session, &mut by.cache, items, marks, None, rules).await.unwrap()
}

#[tokio::test]
async fn chunks_come_to_what_their_frames_come_to_and_members_see_their_part() {
    let database = Database::open().await;
    let (mut frames, mut groups) = (0, 0);
    for seed in seeds(0..6) {
        let mut world = World::new(&database, seed.random()).await;
        for _ in 0..30 {
            world.chunk().await;
        }
        world.look().await;
        world.counted(&database).await;
        frames += world.count;
        groups += world.model.groups().len();
    }
    eprintln!("{frames} frames, {groups} groups");
    database.close().await;
}
