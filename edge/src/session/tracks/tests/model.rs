//! Acknowledgements of every kind and in any order, against sets: what waits, which one is meant, where the cursor is.

use std::collections::{BTreeMap, BTreeSet};

use shared::seeded::{Random, seeds};

use super::*;

/// A delivery that was written.
#[derive(Debug, Clone, PartialEq)]
struct Sent {
    conversation: Conversation,
    seq: i64,
    from: UserId,
    id: MessageId,
    receipt: bool,
}

#[derive(Debug, Clone)]
enum Row {
    /// For this session: from another user, or from another device of its own.
    Theirs(Sent),
    /// Sent by this session.
    Own,
    /// Not for this user.
    Hidden,
}

struct World {
    random: Random,
    tracks: Tracks,
    clock: Clock,
    rows: BTreeMap<Conversation, Vec<Row>>,
    /// What a worker has stored of the device's cursor, and what is on its way there.
    cursors: BTreeMap<Conversation, i64>,
    moves: Vec<(Conversation, i64)>,
    /// Before the session began all up to here was acknowledged.
    first: BTreeMap<Conversation, i64>,
    /// Written, or the session's own: nothing of this is to be written again.
    known: BTreeSet<(Conversation, i64)>,
    /// Written and not acknowledged, the oldest first.
    waiting: Vec<Sent>,
    acked: Vec<Sent>,
    steps: usize,
}

impl World {
    fn new(random: Random) -> Self {
        let mut world = Self {
            random,
            tracks: Tracks::default(),
            clock: Clock::alike(1, 0),
            rows: BTreeMap::new(),
            cursors: BTreeMap::new(),
            moves: Vec::new(),
            first: BTreeMap::new(),
            known: BTreeSet::new(),
            waiting: Vec::new(),
            acked: Vec::new(),
            steps: 0,
        };
        for _ in 0..world.random.below(12) {
            world.store();
        }
        for (conversation, rows) in &world.rows {
            world.first.insert(*conversation, world.random.below(rows.len() + 1) as i64);
        }
        world.cursors = world.first.clone();
        world.miss();
        world
    }

    /// A row, of whatever conversation.
    fn store(&mut self) -> (Conversation, i64) {
        let conversation = match self.random.below(6) {
            kind @ 0..=2 => talk(kind as i64 + 2),
            3 => talk(ME.0),
            kind => group(kind as i64 + 3),
        };
        let rows = self.rows.entry(conversation).or_default();
        let seq = rows.len() as i64 + 1;
        let mut peer = match conversation {
            Conversation::Direct(..) => conversation.peer(ME).unwrap(),
            Conversation::Group(_) => UserId(self.random.below(3) as i64 + 2),
        };
        if self.random.one_in(4) {
            peer = ME;
        }
        // Few ids, so that many deliveries share one.
        let id = MessageId::new(["a", "b", "c"][self.random.below(3)]).unwrap();
        let receipt = self.random.one_in(2);
        rows.push(match self.random.below(8) {
            0 => Row::Own,
            1 => Row::Hidden,
            _ => Row::Theirs(Sent { conversation, seq, from: peer, id, receipt }),
        });
        (conversation, seq)
    }

    fn step(&mut self) {
        self.steps += 1;
        self.tracks.clock(self.clock);
        match self.random.below(12) {
            0..=3 => self.deliver(),
            4 => self.repeat(),
            5 => self.flush(),
            6 if self.random.one_in(3) => self.miss(),
            6 => self.read(),
            _ => self.acknowledge(),
        }
        self.check();
    }

    fn deliver(&mut self) {
        let (conversation, seq) = self.store();
        let row = self.rows[&conversation][seq as usize - 1].clone();
        // Where something is known of the conversation a single one may get lost without a word.
        let followed = self.known.iter().any(|(known, _)| *known == conversation);
        if followed && matches!(row, Row::Theirs(_)) && self.random.one_in(12) {
            return;
        }
        let follows = seq == 1 || self.known.contains(&(conversation, seq - 1));
        let mut notes = Cursors::default();
        let verdict = match &row {
            Row::Hidden => return,
            Row::Own => {
                let verdict = self.tracks.own(conversation, Seq(seq), false, &who(), &mut notes);
                self.known.insert((conversation, seq));
                verdict
            }
            Row::Theirs(sent) => self.tracks.live(&as_push(sent)),
        };
        self.moved(notes);
        match (verdict, row) {
            (Verdict::Write, Row::Theirs(sent)) => self.wrote(sent),
            (Verdict::Write, _) => {}
            (Verdict::Gap, row) => {
                let begins = matches!((&row, conversation), (Row::Theirs(_), Conversation::Group(_)))
                    && (2..=3).contains(&seq);
                assert!(!follows || begins, "a gap before {conversation} {seq} where there is none");
                self.tracks.noted(conversation, Seq(seq));
                self.catch_up();
            }
            (Verdict::Have, row) => panic!("{row:?} is new"),
        }
    }

    /// In backlog mode: what others send is noted or lost, what the session sends is answered; then the backlog is read.
    fn miss(&mut self) {
        for _ in 0..self.random.below(6) {
            let (conversation, seq) = self.store();
            match &self.rows[&conversation][seq as usize - 1] {
                Row::Theirs(_) if self.random.one_in(2) => {
                    assert!(self.tracks.noted(conversation, Seq(seq)), "{conversation} {seq} is new");
                }
                Row::Own => {
                    let mut notes = Cursors::default();
                    self.tracks.own(conversation, Seq(seq), true, &who(), &mut notes);
                    self.known.insert((conversation, seq));
                    self.moved(notes);
                }
                _ => {}
            }
        }
        self.catch_up();
    }

    /// A worker delivers again what the session has, or answers again what it sent.
    fn repeat(&mut self) {
        let known: Vec<_> = self.known.iter().copied().collect();
        let Some((conversation, seq)) = self.random.pick(&known).copied() else { return };
        let mut notes = Cursors::default();
        let verdict = match &self.rows[&conversation][seq as usize - 1] {
            Row::Theirs(sent) => self.tracks.live(&Push { again: true, ..as_push(sent) }),
            _ => self.tracks.own(conversation, Seq(seq), false, &who(), &mut notes),
        };
        assert_eq!(verdict, Verdict::Have, "{conversation} {seq}");
        assert!(!self.tracks.noted(conversation, Seq(seq)));
        assert!(notes.moves.is_empty() && notes.own.is_empty());
    }

    /// Reads the backlog to its end: from the stored cursor, or from where the session says that it is.
    fn catch_up(&mut self) {
        let after: BTreeMap<Conversation, i64> =
            self.tracks.after().iter().map(|place| (place.conv, place.seq.0)).collect();
        for (conversation, rows) in self.rows.clone() {
            let stored = self.cursors.get(&conversation).copied().unwrap_or(0);
            let from = stored.max(after.get(&conversation).copied().unwrap_or(0));
            for row in &rows[from as usize..] {
                let Row::Theirs(sent) = row else { continue };
                match self.tracks.backlog(&as_push(sent)) {
                    Verdict::Write => self.wrote(sent.clone()),
                    verdict => assert!(
                        verdict == Verdict::Have && self.known.contains(&(conversation, sent.seq)),
                        "{verdict:?}: {sent:?}"
                    ),
                }
            }
        }
        let mut notes = Cursors::default();
        self.tracks.complete(&who(), &mut notes);
        self.moved(notes);
    }

    fn wrote(&mut self, sent: Sent) {
        assert!(self.known.insert((sent.conversation, sent.seq)), "written twice: {sent:?}");
        let owed = |row: &Row| matches!(row, Row::Theirs(other) if other.seq < sent.seq && other.seq > self.first.get(&sent.conversation).copied().unwrap_or(0) && !self.known.contains(&(sent.conversation, other.seq)));
        assert!(!self.rows[&sent.conversation].iter().any(owed), "overtakes: {sent:?}");
        self.waiting.push(sent);
    }

    /// An acknowledgement: exact, by id alone, in between; also of what is acknowledged or was never there.
    fn acknowledge(&mut self) {
        let ack = self.some_ack();
        let meant = self.meant(&ack);
        let mut notes = Cursors::default();
        assert_eq!(self.tracks.ack(&ack, &who(), &mut notes), meant.is_some(), "{ack:?}: {:?}", self.waiting);
        let gone: Vec<Sent> = meant.map(|at| self.waiting.remove(at)).into_iter().collect();
        assert!(notes.reads.is_empty());
        self.gone(gone, notes);
    }

    /// Everything up to a place that a client names, whatever it is, is read.
    fn read(&mut self) {
        let mut ack = Ack { read: true, ..self.some_ack() };
        if self.random.one_in(2) {
            ack.seq = Some(Seq(self.random.below(20) as i64 + 1));
        }
        let place = match (ack.seq, named(&ack)) {
            (Some(seq), Some(conversation)) => Some((conversation, seq.0)),
            _ => self.meant(&ack).map(|at| (self.waiting[at].conversation, self.waiting[at].seq)),
        };
        let mut notes = Cursors::default();
        assert_eq!(self.tracks.ack(&ack, &who(), &mut notes), place.is_some(), "{ack:?}");
        let told: Vec<_> = notes.reads.iter().map(|read| (read.conv, read.seq.0)).collect();
        assert_eq!(told, place.into_iter().collect::<Vec<_>>());
        let up_to =
            |sent: &Sent| place.is_some_and(|(conv, seq)| sent.conversation == conv && sent.seq <= seq);
        let (mut gone, left): (Vec<Sent>, _) = self.waiting.drain(..).partition(up_to);
        self.waiting = left;
        gone.sort_by_key(|sent| sent.seq);
        self.gone(gone, notes);
    }

    /// Acknowledged: receipts for those that others asked for, and maybe the cursor moves.
    fn gone(&mut self, gone: Vec<Sent>, notes: Cursors) {
        let to_me = |sent: &Sent| sent.from != ME || sent.conversation == talk(ME.0);
        let owed = gone.iter().filter(|sent| sent.receipt && to_me(sent));
        let owed: Vec<_> = owed.map(|sent| (sent.conversation, sent.seq)).collect();
        let told: Vec<_> = notes.delivered.iter().map(|key| (key.conversation, key.seq.0)).collect();
        assert_eq!(told, owed);
        self.acked.extend(gone);
        self.moved(notes);
    }

    fn some_ack(&mut self) -> Ack {
        let old = self.random.one_in(6);
        let of = if old { &self.acked } else { &self.waiting };
        let unknown = self.random.one_in(10);
        let Some(sent) = self.random.pick(of).filter(|_| !unknown) else {
            let id = MessageId::new(["a", "nothing"][self.random.below(2)]).unwrap();
            let from = [None, Some(user(2)), Some(user(ME.0)), Some(Target::Group(GroupId(7)))];
            let seq = [None, Some(Seq(3)), Some(Seq(99))][self.random.below(3)];
            return Ack { id: Some(id), seq, from: from[self.random.below(4)], to: None, read: false };
        };
        let address = match sent.conversation {
            Conversation::Group(group) => (Target::Group(group), None),
            talk if sent.from == ME => (Target::User(ME), talk.peer(ME)),
            _ => (Target::User(sent.from), None),
        };
        let exact =
            Ack { id: None, seq: Some(Seq(sent.seq)), from: Some(address.0), to: address.1, read: false };
        let id = Some(sent.id.clone());
        match self.random.below(6) {
            0 => Ack { id, seq: None, from: None, to: None, read: false },
            // A group's by its sender, a copy without its recipient.
            1 => Ack { id, from: Some(Target::User(sent.from)), to: None, ..exact },
            2 => Ack { id, from: None, to: None, ..exact },
            3 => Ack { to: None, from: Some(Target::User(sent.from)), ..exact },
            4 => Ack { id, ..exact },
            _ => exact,
        }
    }

    /// Which one PROTOCOL.md says that it means.
    fn meant(&self, ack: &Ack) -> Option<usize> {
        let find = |fits: &dyn Fn(&Sent) -> bool| self.waiting.iter().position(fits);
        let Some(seq) = ack.seq else {
            return ack.id.as_ref().and_then(|id| find(&|sent| sent.id == *id));
        };
        let exact = named(ack).and_then(|conv| find(&|sent| sent.conversation == conv && sent.seq == seq.0));
        let from = match ack.from {
            Some(Target::Group(_)) => return exact,
            Some(Target::User(user)) => Some(user),
            None => None,
        };
        if ack.id.is_none() && from != Some(ME) {
            return exact;
        }
        exact.or_else(|| {
            find(&|sent| {
                let id = ack.id.as_ref().is_none_or(|id| sent.id == *id);
                sent.seq == seq.0 && id && from.is_none_or(|from| sent.from == from)
            })
        })
    }

    fn moved(&mut self, notes: Cursors) {
        for one in notes.moves.into_iter().chain(notes.own) {
            let (conversation, seq) = (one.conv, one.seq.0);
            for row in &self.rows[&conversation][..seq as usize] {
                let Row::Theirs(sent) = row else { continue };
                let before = sent.seq <= self.first.get(&conversation).copied().unwrap_or(0);
                assert!(before || self.acked.contains(sent), "the cursor passes {sent:?}: it moves to {seq}");
            }
            let last = self.moves.iter().rev().find(|(conv, _)| *conv == conversation);
            assert!(last.is_none_or(|(_, last)| *last < seq), "it goes back: {conversation} {seq}");
            self.moves.push((conversation, seq));
        }
    }

    fn flush(&mut self) {
        for (conversation, seq) in self.moves.drain(..) {
            let stored = self.cursors.entry(conversation).or_insert(0);
            *stored = seq.max(*stored);
        }
        self.clock = Clock::alike(self.clock.gathering + 1, self.clock.gathering);
    }

    /// What a new connection would be sent is everything from the first unacknowledged one on, and nothing before it.
    fn check(&self) {
        assert_eq!(self.tracks.unacked(), self.waiting.len());
        for (conversation, rows) in &self.rows {
            let first = self.first.get(conversation).copied().unwrap_or(0);
            let unacked = |row: &Row| match row {
                Row::Theirs(sent) if sent.seq > first && !self.acked.contains(sent) => Some(sent.seq),
                _ => None,
            };
            let oldest = rows.iter().find_map(unacked).unwrap_or(i64::MAX);
            let on_its_way = self.moves.iter().rev().find(|(conv, _)| conv == conversation);
            let stored = self.cursors.get(conversation).copied().unwrap_or(0);
            let cursor = on_its_way.map_or(stored, |(_, seq)| stored.max(*seq));
            let owed = |from: i64| {
                rows.iter()
                    .filter(
                        move |row| matches!(row, Row::Theirs(sent) if sent.seq > first && sent.seq >= from),
                    )
                    .count()
            };
            assert_eq!(
                owed(cursor + 1),
                owed(oldest),
                "{conversation}: the cursor is at {cursor}, {oldest} waits"
            );
        }
    }
}

fn as_push(sent: &Sent) -> Push {
    Push { receipt: sent.receipt, ..push(sent.conversation, sent.seq, sent.from.0, sent.id.as_str()) }
}

/// The conversation that an acknowledgement names by itself.
fn named(ack: &Ack) -> Option<Conversation> {
    match (ack.from?, ack.to) {
        (Target::Group(group), _) => Some(Conversation::Group(group)),
        (Target::User(ME), to) => to.map(|to| Conversation::direct(ME, to)),
        (Target::User(from), _) => Some(Conversation::direct(ME, from)),
    }
}

#[test]
fn acknowledgements_in_any_order_leave_exactly_what_was_not_acknowledged() {
    let mut acked = 0;
    for seed in seeds(0..250) {
        let mut world = World::new(seed.random());
        for _ in 0..300 {
            world.step();
        }
        acked += world.acked.len();
    }
    eprintln!("{acked} acknowledged");
}
