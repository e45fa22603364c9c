//! One connection of the device: the session at the edge, what is on its way there, and the client at its end.

use std::collections::{BTreeMap, VecDeque};

use shared::{
    frame::{Form, split_counted},
    message::{Ack, Entry, Target},
};

use super::*;
use crate::session::tracks::KEPT;

/// On its way from a worker.
#[derive(Debug, Clone, Copy)]
pub enum OnTheWay {
    /// Delivered, and whether once more.
    Push(Conversation, i64, bool),
    /// The answer to a frame of this session.
    Answer(Conversation, i64),
}

pub struct Connection {
    who: Arc<Sender>,
    live: Live,
    limit: usize,
    /// There are more conversations than the session keeps.
    forgets: bool,
    store: Rc<RefCell<Store>>,
    queue: VecDeque<OnTheWay>,
    /// By another lane, at any time.
    slow: Vec<OnTheWay>,
    read: Option<Backlog>,
    page: Option<(Vec<Delivery>, bool)>,
    /// Up to there nothing is shown: it was acknowledged before the login.
    begins: BTreeMap<Conversation, i64>,
    shown: BTreeMap<Conversation, i64>,
    waiting: Vec<(Conversation, i64)>,
}

impl Connection {
    pub fn new(who: Arc<Sender>, plan: Plan, store: Rc<RefCell<Store>>) -> Self {
        let begins = store.borrow().cursors.clone();
        Self {
            live: Live::new(who.clone(), plan.limit),
            who,
            limit: plan.limit,
            forgets: plan.conversations > KEPT,
            store,
            queue: VecDeque::new(),
            slow: Vec::new(),
            read: None,
            page: None,
            begins,
            shown: BTreeMap::new(),
            waiting: Vec::new(),
        }
    }

    pub fn session(&self) -> i64 {
        self.who.session.0
    }

    pub fn is_live(&self) -> bool {
        self.live.is_live()
    }

    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.slow.is_empty() && self.waiting.is_empty() && self.live.is_live()
    }

    pub fn send(&mut self, item: OnTheWay, slow: bool) {
        if slow {
            self.slow.push(item);
        } else {
            self.queue.push_back(item);
        }
    }

    pub fn deliver(&mut self, random: &mut Random) {
        let slow = !self.slow.is_empty() && (self.queue.is_empty() || random.one_in(8));
        let item = if slow { self.slow.pop() } else { self.queue.pop_front() };
        let Some(item) = item else { return };
        let from = |row: Row| if matches!(row, Row::Own(_)) { 1 } else { 2 };
        match item {
            OnTheWay::Push(conversation, seq, again) => {
                let from = from(self.store.borrow().rows[&conversation][seq as usize - 1]);
                let push = Push { again, ..push(conversation, seq, from) };
                self.with(|live, out| live.push(&push, out));
            }
            OnTheWay::Answer(conversation, seq) => {
                let answer = Bytes::from_static(b"answer");
                self.with(|live, out| live.answer(Some((conversation, Seq(seq))), &answer, out));
            }
        }
    }

    pub fn behind(&mut self) {
        self.with(|live, out| live.behind("test", out));
    }

    /// From some point on deliveries go elsewhere, answers still come.
    pub fn is_replaced(&mut self, random: &mut Random) {
        let last = random.below(self.queue.len() + 1);
        let later = self.queue.split_off(last);
        self.queue.extend(later.into_iter().filter(|item| matches!(item, OnTheWay::Answer(..))));
    }

    pub fn lose_some(&mut self, random: &mut Random) {
        let lost = random.below(self.queue.len() + 1);
        self.queue.drain(..lost);
        self.behind();
    }

    /// The next one, if it is a delivery and what follows it will show that it is missing.
    pub fn lose_one(&mut self) -> bool {
        let Some(OnTheWay::Push(conversation, ..)) = self.queue.front() else { return false };
        let followed = self.shown.contains_key(conversation);
        if followed {
            self.queue.pop_front();
        }
        followed
    }

    pub fn begin_read(&mut self) {
        if let Some((read, _)) = self.live.next_read() {
            assert!(self.read.is_none() && self.page.is_none(), "one read at a time");
            self.read = Some(read);
        }
    }

    /// The read under way reaches a worker; or what it found reaches the session. One that is refused is not answered.
    pub fn turn_page(&mut self) {
        if let Some(read) = self.read.take() {
            self.page = self.store.borrow().look_up(&read);
        } else if let Some((entries, more)) = self.page.take() {
            self.with(|live, out| live.page(&entries, more, out));
        }
    }

    /// Mostly the oldest, at times any; exactly, by its id alone, or as read with everything before it.
    pub fn acknowledge(&mut self, random: &mut Random) {
        if self.waiting.is_empty() {
            return;
        }
        let at = if random.one_in(3) { random.below(self.waiting.len()) } else { 0 };
        let (conversation, seq) = self.waiting[at];
        let own = matches!(self.store.borrow().rows[&conversation][seq as usize - 1], Row::Own(_));
        let (from, to) = match conversation {
            Conversation::Group(group) => (Target::Group(group), None),
            Conversation::Direct(_, peer) if own => (Target::User(UserId(1)), Some(peer)),
            Conversation::Direct(_, peer) => (Target::User(peer), None),
        };
        let read = random.one_in(6);
        let exact = Ack { id: None, seq: Some(Seq(seq)), from: Some(from), to, read };
        let ack = if random.one_in(4) {
            Ack {
                id: Some(message_id(&format!("{conversation}#{seq}"))),
                seq: None,
                from: None,
                to: None,
                read,
            }
        } else {
            exact
        };
        let meant =
            |(conv, at): &(Conversation, i64)| *conv == conversation && (*at == seq || (read && *at < seq));
        self.store.borrow_mut().acked.extend(self.waiting.iter().copied().filter(meant));
        self.waiting.retain(|one| !meant(one));
        self.with(|live, out| {
            live.entry(Entry::Ack(ack), 0, None, out);
            assert_eq!(out.counts.unmatched, 0);
        });
    }

    fn with(&mut self, act: impl FnOnce(&mut Live, &mut Output)) {
        let mut out = Output::new(Form::Counted);
        self.live.clock(self.store.borrow().clock);
        act(&mut self.live, &mut out);
        for frame in split_counted(&Bytes::from(out.bytes)).unwrap() {
            if let Some((conversation, seq)) = std::str::from_utf8(&frame).unwrap().trim_end().split_once(' ')
            {
                self.show(conversation.parse().unwrap(), seq.parse().unwrap());
            }
        }
        let moves = out.notes.moves.into_iter().chain(out.notes.own).collect();
        self.store.borrow_mut().moved(moves);
        assert!(self.live.unacked() <= self.limit, "{} unacked", self.live.unacked());
        assert_eq!(self.live.unacked(), self.waiting.len());
    }

    fn show(&mut self, conversation: Conversation, seq: i64) {
        // One that was long under way, while the backlog brought it and it was acknowledged and forgotten: the client has it.
        let stored = self.store.borrow().cursors.get(&conversation).copied().unwrap_or(0);
        let forgotten = self.forgets && self.shown.contains_key(&conversation) && seq <= stored;
        if !forgotten {
            let last = self.shown.insert(conversation, seq);
            assert!(last.is_none_or(|last| last < seq), "{conversation} {last:?}, then {seq}");
            let begins = self.begins.get(&conversation).copied().unwrap_or(0);
            assert!(seq > begins, "{conversation} {seq} was acknowledged before, up to {begins}");
        }
        let row = self.store.borrow().rows[&conversation][seq as usize - 1];
        let for_it = row == Row::Theirs || matches!(row, Row::Own(by) if by != self.session());
        assert!(for_it, "{conversation} {seq} is {row:?}");
        self.waiting.push((conversation, seq));
    }
}
