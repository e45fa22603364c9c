//! Everything around one session: workers that store and push in order, a queue on the way that can lose, a client that
//! acknowledges as it likes. It knows what must come out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shared::{
    frame::{Form, split_counted},
    ids::{Device, NodeId, SessionNo, UserId},
    message::{Ack, Entry, Target},
};

use super::super::*;

pub fn who() -> Sender {
    Sender {
        user: UserId(1),
        device: Device::new("pad").unwrap(),
        session: SessionNo(50),
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
    pub conversations: i64,
    pub limit: usize,
    /// Workers push a stored frame again now and then, as they do when a message is sent again.
    pub repeats: bool,
}

/// Small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// A row, as the session sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Row {
    /// For this session.
    Theirs,
    /// Sent by this session.
    Own,
    /// In the conversation, but not for this user.
    Hidden,
}

enum OnTheWay {
    Push(Conversation, i64),
    Answer(Conversation, i64),
}

pub struct World {
    seed: u64,
    plan: Plan,
    random: Random,
    live: Live,
    rows: BTreeMap<Conversation, Vec<Row>>,
    /// The device's cursor, as stored.
    cursors: BTreeMap<Conversation, i64>,
    first_cursors: BTreeMap<Conversation, i64>,
    queue: VecDeque<OnTheWay>,
    read: Option<Backlog>,
    page: Option<(Vec<Delivery>, bool)>,
    moves: Vec<(Conversation, i64)>,
    clock: Clock,
    shown: BTreeMap<Conversation, Vec<i64>>,
    waiting: Vec<(Conversation, i64)>,
    acked: BTreeSet<(Conversation, i64)>,
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> Self {
        let mut world = Self {
            seed,
            plan,
            random: Random(seed),
            live: Live::new(Arc::new(who()), plan.limit),
            rows: BTreeMap::new(),
            cursors: BTreeMap::new(),
            first_cursors: BTreeMap::new(),
            queue: VecDeque::new(),
            read: None,
            page: None,
            moves: Vec::new(),
            clock: Clock { gathering: 1, flushed: 0 },
            shown: BTreeMap::new(),
            waiting: Vec::new(),
            acked: BTreeSet::new(),
        };
        // Before the session there was history, part of it acknowledged.
        for _ in 0..plan.conversations {
            world.store();
        }
        world.queue.clear();
        for (conversation, rows) in world.rows.clone() {
            let cursor = world.random.below(rows.len() + 1) as i64;
            world.cursors.insert(conversation, cursor);
        }
        world.first_cursors = world.cursors.clone();
        world
    }

    pub fn run(mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
        self.settle();
        self.verdict();
    }

    fn step(&mut self) {
        match self.random.below(12) {
            0..=2 => self.store(),
            3..=5 => self.deliver(),
            6 => self.flush(),
            7 | 8 => self.acknowledge(),
            9 => self.turn_page(),
            10 => {
                if self.random.one_in(6) {
                    self.lose();
                }
            }
            _ => self.begin_read(),
        }
    }

    /// A worker stores a frame, then sends it on its way.
    fn store(&mut self) {
        let number = self.random.below(self.plan.conversations as usize) as i64;
        let conversation = Conversation::direct(UserId(1), UserId(number + 2));
        let kind = match self.random.below(8) {
            0 | 1 => Row::Own,
            2 => Row::Hidden,
            _ => Row::Theirs,
        };
        let rows = self.rows.entry(conversation).or_default();
        rows.push(kind);
        let seq = rows.len() as i64;
        match kind {
            Row::Theirs => self.queue.push_back(OnTheWay::Push(conversation, seq)),
            Row::Own => self.queue.push_back(OnTheWay::Answer(conversation, seq)),
            Row::Hidden => {}
        }
        if self.plan.repeats && self.random.one_in(5) {
            let again = self.random.below(seq as usize) as i64 + 1;
            if self.rows[&conversation][again as usize - 1] == Row::Theirs && again <= seq {
                self.queue.push_back(OnTheWay::Push(conversation, again));
            }
        }
    }

    fn deliver(&mut self) {
        let Some(item) = self.queue.pop_front() else { return };
        self.with(|live, out| match item {
            OnTheWay::Push(conversation, seq) => live.push(&push(conversation, seq, 2), out),
            OnTheWay::Answer(conversation, seq) => {
                live.answer(Some((conversation, Seq(seq))), &Bytes::from_static(b"answer"), out);
            }
        });
    }

    /// The outbox overflows or the broker is lost: deliveries vanish, and the session is told.
    fn lose(&mut self) {
        // One delivery of a conversation that it follows may also vanish without a word: the gap shows it.
        if let Some(OnTheWay::Push(conversation, _)) = self.queue.front()
            && self.shown.contains_key(conversation)
            && self.plan.repeats
        {
            self.queue.pop_front();
            return;
        }
        let lost = self.random.below(self.queue.len() + 1);
        self.queue.drain(..lost);
        self.with(|live, out| live.behind("test", out));
    }

    fn begin_read(&mut self) {
        if let Some((read, _)) = self.live.next_read() {
            assert!(self.read.is_none() && self.page.is_none(), "one read at a time");
            self.read = Some(read);
        }
    }

    /// The read under way reaches a worker; or what it found reaches the session.
    fn turn_page(&mut self) {
        if let Some(read) = self.read.take() {
            self.page = Some(self.look_up(&read));
        } else if let Some((entries, more)) = self.page.take() {
            self.with(|live, out| live.page(&entries, more, out));
        }
    }

    fn look_up(&mut self, read: &Backlog) -> (Vec<Delivery>, bool) {
        let mut found = Vec::new();
        for (conversation, rows) in &self.rows {
            let stored = self.cursors.get(conversation).copied().unwrap_or(0);
            let after =
                read.after.iter().find(|place| place.conv == *conversation).map_or(0, |place| place.seq.0);
            for seq in stored.max(after) + 1..=rows.len() as i64 {
                if rows[seq as usize - 1] == Row::Theirs {
                    found.push(Delivery::Push(push(*conversation, seq, 2)));
                }
            }
        }
        let more = found.len() > read.limit as usize;
        found.truncate(read.limit as usize);
        (found, more)
    }

    fn acknowledge(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        // Mostly the oldest, at times any.
        let at = if self.random.one_in(3) { self.random.below(self.waiting.len()) } else { 0 };
        let (conversation, seq) = self.waiting.remove(at);
        self.acked.insert((conversation, seq));
        let peer = conversation.peer(UserId(1)).unwrap();
        let ack = if self.random.one_in(4) {
            Ack {
                id: Some(message_id(&format!("{conversation}#{seq}"))),
                seq: None,
                from: None,
                to: None,
                read: false,
            }
        } else {
            Ack { id: None, seq: Some(Seq(seq)), from: Some(Target::User(peer)), to: None, read: false }
        };
        self.with(|live, out| {
            live.entry(Entry::Ack(ack), 0, None, out);
            assert_eq!(out.counts.unmatched, 0);
        });
    }

    /// The collector passes on what it gathered.
    fn flush(&mut self) {
        for (conversation, seq) in std::mem::take(&mut self.moves) {
            let stored = self.cursors.entry(conversation).or_insert(0);
            *stored = seq.max(*stored);
        }
        self.clock.flushed = self.clock.gathering;
        self.clock.gathering += 1;
    }

    fn with(&mut self, act: impl FnOnce(&mut Live, &mut Output)) {
        let mut out = Output::new(Form::Counted);
        self.live.clock(self.clock);
        act(&mut self.live, &mut out);
        for frame in split_counted(&Bytes::from(out.bytes)).unwrap() {
            if let Some((conversation, seq)) = std::str::from_utf8(&frame).unwrap().trim_end().split_once(' ')
            {
                self.show(conversation.parse().unwrap(), seq.parse().unwrap());
            }
        }
        for moved in out.notes.moves {
            self.check_move(moved.conv, moved.seq.0);
            self.moves.push((moved.conv, moved.seq.0));
        }
        assert!(
            self.live.unacked() <= self.plan.limit,
            "seed {}: {} unacked",
            self.seed,
            self.live.unacked()
        );
    }

    fn show(&mut self, conversation: Conversation, seq: i64) {
        let shown = self.shown.entry(conversation).or_default();
        assert!(
            shown.last().is_none_or(|last| *last < seq),
            "seed {}: {conversation} {shown:?} then {seq}",
            self.seed
        );
        assert_eq!(
            self.rows[&conversation][seq as usize - 1],
            Row::Theirs,
            "seed {}: not its own to read",
            self.seed
        );
        shown.push(seq);
        self.waiting.push((conversation, seq));
    }

    /// A cursor never passes something that was not acknowledged.
    fn check_move(&self, conversation: Conversation, seq: i64) {
        for at in self.first_cursors.get(&conversation).copied().unwrap_or(0) + 1..=seq {
            let fine = self.rows[&conversation][at as usize - 1] != Row::Theirs
                || self.acked.contains(&(conversation, at));
            assert!(
                fine,
                "seed {}: the cursor of {conversation} moved to {seq}, but {at} is not acknowledged",
                self.seed
            );
        }
    }

    /// Everything arrives, everything is acknowledged.
    fn settle(&mut self) {
        self.with(|live, out| live.behind("test", out));
        for _ in 0..100_000 {
            self.deliver();
            self.begin_read();
            self.turn_page();
            self.acknowledge();
            if self.random.one_in(3) {
                self.flush();
            }
            let idle = self.queue.is_empty() && self.waiting.is_empty() && self.live.is_live();
            if idle {
                return self.flush();
            }
        }
        panic!("seed {}: does not come to rest", self.seed);
    }

    fn verdict(&self) {
        for (conversation, rows) in &self.rows {
            let first = self.first_cursors.get(conversation).copied().unwrap_or(0);
            let owed: Vec<i64> = (first + 1..=rows.len() as i64)
                .filter(|seq| rows[*seq as usize - 1] == Row::Theirs)
                .collect();
            let shown = self.shown.get(conversation).cloned().unwrap_or_default();
            assert_eq!(shown, owed, "seed {}: {conversation} from {first}", self.seed);
            let cursor = self.cursors.get(conversation).copied().unwrap_or(0);
            assert!(
                owed.last().is_none_or(|last| cursor >= *last),
                "seed {}: cursor {cursor} of {conversation}",
                self.seed
            );
        }
        assert_eq!(self.live.unacked(), 0, "seed {}", self.seed);
    }
}
