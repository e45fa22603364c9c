//! Everything around a device's sessions: workers that store and push in order, a queue on the way that can lose, a client
//! that acknowledges as it likes and connects again. It knows what must come out.

mod connection;
mod store;

use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use shared::{
    ids::{Device, GroupId, NodeId, SessionNo, UserId},
    seeded::{Random, Seed},
};

use self::{
    connection::{Connection, OnTheWay},
    store::{Row, Store},
};
use super::super::*;

pub fn who() -> Sender {
    numbered(50)
}

fn numbered(session: i64) -> Sender {
    Sender {
        user: UserId(1),
        device: Device::new("pad").unwrap(),
        session: SessionNo(session),
        node: NodeId::new("e1-0").unwrap(),
    }
}

pub fn message_id(text: &str) -> MessageId {
    MessageId::new(text).unwrap()
}

pub fn push(conversation: Conversation, seq: i64, from: i64) -> Push {
    Push {
        to: vec![UserId(1)],
        conversation,
        seq: Seq(seq),
        from: UserId(from),
        id: message_id(&format!("{conversation}#{seq}")),
        skip: None,
        receipt: false,
        again: false,
        body: Bytes::from(format!("{conversation} {seq}")),
    }
}

/// What kind of history.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub conversations: usize,
    pub limit: usize,
    /// Single deliveries vanish without a word, of conversations that the session follows. It can tell only by those it
    /// remembers, so not with more than are kept.
    pub silent: bool,
    /// The client connects again now and then, and its old connection lingers.
    pub reconnects: bool,
}

pub struct World {
    plan: Plan,
    random: Random,
    /// Made since.
    groups: usize,
    /// For a while nothing new is stored, so that a backlog can be read to its end.
    calm: bool,
    came: [usize; 2],
    /// The conversation that was heard of last.
    number: usize,
    store: Rc<RefCell<Store>>,
    now: Connection,
    /// The one before, which has not noticed yet that it is replaced.
    old: Option<Connection>,
}

impl World {
    pub fn new(seed: &Seed, plan: Plan) -> Self {
        let store = Rc::new(RefCell::new(Store::default()));
        let random = seed.random();
        let now = Connection::new(Arc::new(who()), plan, store.clone());
        let mut world =
            Self { plan, random, groups: 0, number: 0, calm: false, came: [0; 2], store, now, old: None };
        // Before the session there was history, part of it acknowledged.
        for _ in 0..plan.conversations {
            world.store();
        }
        world.store.borrow_mut().acknowledge_some(&mut world.random);
        world.log_in();
        world
    }

    /// Gives how many deliveries came in live mode, and how many in backlog mode.
    pub fn run(mut self, steps: usize) -> [usize; 2] {
        for _ in 0..steps {
            self.step();
        }
        let came = self.came;
        self.settle();
        self.verdict();
        came
    }

    fn step(&mut self) {
        self.calm ^= self.random.one_in(25);
        match self.random.below(if self.plan.reconnects { 16 } else { 13 }) {
            0 if self.calm => self.now.begin_read(),
            1 | 2 if self.calm => self.now.turn_page(),
            0..=2 => self.store(),
            3..=5 => {
                self.came[usize::from(!self.now.is_live())] += 1;
                self.now.deliver(&mut self.random);
            }
            6 => self.store.borrow_mut().flush(),
            7 | 8 => self.now.acknowledge(&mut self.random),
            9 => self.now.turn_page(),
            10 if self.random.one_in(8) => self.lose(),
            11 if self.plan.reconnects && self.random.one_in(8) => self.log_in(),
            12 => self.now.begin_read(),
            _ => self.linger(),
        }
    }

    /// A worker stores a frame, then sends it on its way: to the newest session, and its answer to the one that sent it.
    fn store(&mut self) {
        let conversation = self.conversation();
        let newest = self.now.session();
        let sender = self.old.as_ref().filter(|_| self.random.one_in(2)).map_or(newest, Connection::session);
        let kind = match self.random.below(8) {
            0 | 1 => Row::Own(sender),
            2 => Row::Hidden,
            _ => Row::Theirs,
        };
        let (seq, row) = self.store.borrow_mut().append(conversation, kind);
        // After a takeover a worker cannot know whether it is the first time.
        let again = self.random.one_in(10);
        // The notice that a group was made comes from another lane.
        let slow = seq == 1 && matches!(conversation, Conversation::Group(_));
        match row {
            Row::Theirs => self.now.send(OnTheWay::Push(conversation, seq, again), slow),
            Row::Own(by) if by == newest => self.now.send(OnTheWay::Answer(conversation, seq), slow),
            Row::Own(_) => {
                self.now.send(OnTheWay::Push(conversation, seq, again), slow);
                if let Some(old) = &mut self.old {
                    old.send(OnTheWay::Answer(conversation, seq), slow);
                }
            }
            Row::Hidden => {}
        }
        if self.random.one_in(5) {
            let before = self.random.below(seq as usize) as i64 + 1;
            let row = self.store.borrow().rows[&conversation][before as usize - 1];
            match row {
                Row::Theirs => self.now.send(OnTheWay::Push(conversation, before, true), false),
                // The client has sent it again.
                Row::Own(_) => self.now.send(OnTheWay::Answer(conversation, before), false),
                Row::Hidden => {}
            }
        }
    }

    /// Often the one before; now and then a group that was just made.
    fn conversation(&mut self) -> Conversation {
        if self.random.one_in(12) {
            self.number = self.plan.conversations + self.groups;
            self.groups += 1;
        } else if self.random.one_in(2) {
            self.number = self.random.below(self.plan.conversations + self.groups);
        }
        let id = self.number as i64;
        if self.number % 3 == 2 || self.number >= self.plan.conversations {
            return Conversation::Group(GroupId(id));
        }
        Conversation::direct(UserId(1), UserId(id + 2))
    }

    /// The outbox overflows or the broker is lost: deliveries vanish, and the session is told. Or one vanishes in silence.
    fn lose(&mut self) {
        if !(self.plan.silent && self.now.lose_one()) {
            self.now.lose_some(&mut self.random);
        }
    }

    /// The client connects again. What is on its way to the old connection may still come there.
    fn log_in(&mut self) {
        let next = numbered(self.now.session() + 1);
        self.store.borrow_mut().log_in(next.session.0);
        let next = Connection::new(Arc::new(next), self.plan, self.store.clone());
        let mut old = std::mem::replace(&mut self.now, next);
        old.is_replaced(&mut self.random);
        self.old = Some(old);
    }

    /// The old connection goes on for a while: deliveries, late acknowledgements, a page that was read before.
    fn linger(&mut self) {
        let Some(old) = &mut self.old else { return };
        match self.random.below(20) {
            0..=11 => old.deliver(&mut self.random),
            12..=16 => old.acknowledge(&mut self.random),
            17 => old.turn_page(),
            18 => old.begin_read(),
            _ => self.old = None,
        }
    }

    /// Everything arrives, everything is acknowledged.
    fn settle(&mut self) {
        self.old = None;
        self.now.behind();
        for _ in 0..100_000 {
            self.now.deliver(&mut self.random);
            self.now.begin_read();
            self.now.turn_page();
            self.now.acknowledge(&mut self.random);
            if self.random.one_in(3) {
                self.store.borrow_mut().flush();
            }
            if self.now.is_idle() {
                return self.store.borrow_mut().flush();
            }
        }
        panic!("does not come to rest");
    }

    fn verdict(&self) {
        let store = self.store.borrow();
        for (conversation, rows) in &store.rows {
            let first = store.first.get(conversation).copied().unwrap_or(0);
            let owed = (1..).zip(rows).filter(|(seq, row)| **row == Row::Theirs && *seq > first);
            let owed: BTreeSet<_> = owed.map(|(seq, _)| (*conversation, seq)).collect();
            assert!(owed.is_subset(&store.acked), "{conversation}: {:?} lost", &owed - &store.acked);
            let cursor = store.cursors.get(conversation).copied().unwrap_or(0);
            assert!(owed.last().is_none_or(|(_, last)| cursor >= *last), "cursor {cursor} of {conversation}");
        }
    }
}
