//! One who sends and one who receives, without their sockets: what they write next, and what they have seen.
//!
//! A run's conversations are new, and one user alone writes in each, every message once: so the `n`th message has the
//! id `n` and the `seq` `n`, and nothing needs to be remembered to judge what comes.

use std::{collections::VecDeque, ops::RangeInclusive};

use super::{
    Acks, Options,
    bare::write::{self, Letter, Place},
    open::Open,
};

/// Deliveries that wait for their acknowledgement at most; servers pause at a thousand.
const GATHERED: u64 = 64;

/// Writes in one conversation, or in several in turn.
#[derive(Debug)]
pub struct Sender {
    letters: Vec<Letter>,
    written: u64,
    open: Open,
    /// When each message was due, from this id on.
    due: VecDeque<u64>,
    due_from: u64,
    /// The highest `seq` of an ack.
    pub highest: u64,
    /// Acks, one a message.
    pub acked: u64,
    /// Messages that were refused.
    pub refused: u64,
    /// Acks whose `seq` was not the message's.
    pub misplaced: u64,
}

impl Sender {
    /// Has written nothing yet.
    pub fn new(letter: Letter) -> Self {
        Self::with(vec![letter])
    }

    /// In so many conversations, which are at least one: the first message in the first, and so on.
    pub fn with(letters: Vec<Letter>) -> Self {
        Self {
            letters,
            written: 0,
            open: Open::default(),
            due: VecDeque::new(),
            due_from: 1,
            highest: 0,
            acked: 0,
            refused: 0,
            misplaced: 0,
        }
    }

    /// The next message, which was due at this moment.
    pub fn write(&mut self, due: u64, out: &mut Vec<u8>) {
        let letter = &self.letters[(self.written % self.letters.len() as u64) as usize];
        self.written += 1;
        self.open.wrote(1);
        self.due.push_back(due);
        letter.write(self.written, out);
    }

    /// When this one was due; `None` for one that never was, or that was forgotten.
    pub fn due(&self, id: u64) -> Option<u64> {
        self.due.get(usize::try_from(id.checked_sub(self.due_from)?).ok()?).copied()
    }

    /// Nobody will ask for those up to this id.
    pub fn forget(&mut self, upto: u64) {
        while self.due_from <= upto && self.due.pop_front().is_some() {
            self.due_from += 1;
        }
    }

    /// Remembers no more than this many.
    pub fn forget_all_but(&mut self, most: usize) {
        if self.due.len() > most {
            self.forget(self.due_from + (self.due.len() - most) as u64 - 1);
        }
    }

    /// It is stored there. False: that was known.
    pub fn stored(&mut self, id: u64, seq: u64) -> bool {
        let fresh = self.open.answered(id);
        self.acked += u64::from(fresh);
        let place = id.saturating_sub(1) / self.letters.len() as u64 + 1;
        self.misplaced += u64::from(fresh && seq != place);
        self.highest = self.highest.max(seq);
        fresh
    }

    /// It is refused. False: that was known.
    pub fn refused(&mut self, id: u64) -> bool {
        let fresh = self.open.answered(id);
        self.refused += u64::from(fresh);
        fresh
    }

    /// Messages written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Messages without an answer.
    pub fn unanswered(&self) -> u64 {
        self.written - self.acked - self.refused
    }
}

/// Reads one conversation, and acknowledges what it gets, several deliveries at a time.
#[derive(Debug)]
pub struct Receiver {
    of: Place,
    seq: u64,
    id: u64,
    /// The first and the last that wait for their acknowledgement, and since when.
    waiting: Option<(u64, u64)>,
    since: u64,
    ids: Ids,
    /// Deliveries with a `seq` above all before.
    pub delivered: u64,
    /// Those whose `seq` did not follow the one before, or was not their message's.
    pub reordered: u64,
    /// Those whose id had been delivered under another `seq`.
    pub doubled: u64,
    /// Deliveries with a `seq` that it had: a client drops them.
    pub repeated: u64,
}

/// Which ids the messages of one conversation have, where one sender counts over several of them in turn.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    /// The first message's.
    pub first: u64,
    /// From one to the next.
    pub step: u64,
}

impl Default for Ids {
    fn default() -> Self {
        Self { first: 1, step: 1 }
    }
}

impl Ids {
    fn of(self, seq: u64) -> u64 {
        self.first + seq.saturating_sub(1) * self.step
    }
}

/// What one delivery calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// It was new.
    pub fresh: bool,
    /// From now on something waits for its acknowledgement.
    pub begins: bool,
}

impl Receiver {
    /// Has read nothing yet.
    pub fn new(of: Place) -> Self {
        Self::with(of, Ids::default())
    }

    /// Of a sender who writes in several conversations.
    pub fn with(of: Place, ids: Ids) -> Self {
        let (seq, id, waiting, since) = (0, 0, None, 0);
        Self { of, seq, id, waiting, since, ids, delivered: 0, reordered: 0, doubled: 0, repeated: 0 }
    }

    /// Judges a delivery; acknowledgements that wait no longer are written.
    pub fn got(&mut self, id: u64, seq: u64, at: u64, acks: Acks, out: &mut Vec<u8>) -> Shown {
        let fresh = seq > self.seq;
        if fresh {
            self.reordered += u64::from(seq != self.seq + 1 || id != self.ids.of(seq));
            self.doubled += u64::from(id <= self.id);
            self.delivered += 1;
            (self.seq, self.id) = (seq, self.id.max(id));
        } else {
            self.repeated += 1;
        }
        let begins = match self.waiting {
            Some((first, last)) if seq == last + 1 => {
                self.waiting = Some((first, seq));
                false
            }
            other => {
                if other.is_some() {
                    self.acknowledge(acks, out);
                }
                (self.waiting, self.since) = (Some((seq, seq)), at);
                true
            }
        };
        if self.waiting().is_some_and(|waiting| waiting.end() - waiting.start() + 1 >= GATHERED) {
            self.acknowledge(acks, out);
        }
        Shown { fresh, begins }
    }

    /// What waits for its acknowledgement.
    fn waiting(&self) -> Option<RangeInclusive<u64>> {
        self.waiting.map(|(first, last)| first..=last)
    }

    /// Whether something waits since then or longer.
    pub fn waits_since(&self, at: u64) -> bool {
        self.waiting.is_some() && self.since <= at
    }

    /// Acknowledges it.
    pub fn acknowledge(&mut self, acks: Acks, out: &mut Vec<u8>) {
        let Some((first, last)) = self.waiting.take() else { return };
        match acks {
            Acks::Each => write::acks(self.of, first..=last, out),
            Acks::Read => write::read(self.of, last, out),
        }
    }
}

/// Who waits with acknowledgements, the longest first.
#[derive(Debug)]
pub struct Lingering {
    waiting: VecDeque<(u64, usize)>,
    /// How long an acknowledgement waits for others, microseconds.
    linger: u64,
}

impl Lingering {
    /// As the options say.
    pub fn new(options: &Options) -> Self {
        Self { waiting: VecDeque::new(), linger: options.ack_ms * 1_000 }
    }

    /// This one, since now.
    pub fn since(&mut self, at: u64, who: usize) {
        self.waiting.push_back((at, who));
    }

    /// Tells of each whose time is over, with the moment before which that is so; when the next one's is. One that has
    /// acknowledged meanwhile is told of all the same.
    pub fn until(&mut self, now: u64, mut over: impl FnMut(usize, u64)) -> u64 {
        let long_ago = now.saturating_sub(self.linger);
        while let Some((since, who)) = self.waiting.front().copied() {
            if since > long_ago {
                return since + self.linger;
            }
            self.waiting.pop_front();
            over(who, long_ago);
        }
        u64::MAX
    }
}

/// What a run has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub written: u64,
    pub acked: u64,
    pub unanswered: u64,
    pub refused: u64,
    pub delivered: u64,
    pub lost: u64,
    pub doubled: u64,
    pub reordered: u64,
    pub repeated: u64,
    /// Connections that ended by themselves.
    pub cut: u64,
}

impl Counts {
    /// What others have seen.
    pub fn include(&mut self, more: &Self) {
        self.written += more.written;
        self.acked += more.acked;
        self.unanswered += more.unanswered;
        self.refused += more.refused;
        self.delivered += more.delivered;
        self.lost += more.lost;
        self.doubled += more.doubled;
        self.reordered += more.reordered;
        self.repeated += more.repeated;
        self.cut += more.cut;
    }

    /// One who sends, and those who read it.
    pub fn add<'a>(&mut self, sender: &Sender, receivers: impl IntoIterator<Item = &'a Receiver>) {
        self.written += sender.written();
        self.acked += sender.acked;
        self.unanswered += sender.unanswered();
        self.refused += sender.refused;
        self.reordered += sender.misplaced;
        for receiver in receivers {
            self.delivered += receiver.delivered;
            self.lost += sender.highest.saturating_sub(receiver.delivered);
            self.doubled += receiver.doubled;
            self.reordered += receiver.reordered;
            self.repeated += receiver.repeated;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_doubled_reordered_or_repeated_shows() {
        let mut sender = Sender::new(Letter::new(Place::User(2), "x"));
        let mut receiver = Receiver::new(Place::User(1));
        let mut out = Vec::new();
        (0..6).for_each(|at| sender.write(at, &mut out));
        for id in [1, 2, 2, 4, 6] {
            sender.stored(id, id);
        }
        assert!(sender.refused(5) && !sender.refused(5));
        for (id, seq) in [(1, 1), (2, 2), (2, 2), (2, 3), (4, 5)] {
            receiver.got(id, seq, 0, Acks::Each, &mut out);
        }
        let mut counts = Counts::default();
        counts.add(&sender, [&receiver]);
        let expected = Counts {
            written: 6,
            acked: 4,
            unanswered: 1,
            refused: 1,
            delivered: 4,
            lost: 2,
            doubled: 1,
            reordered: 2,
            repeated: 1,
            cut: 0,
        };
        assert_eq!(counts, expected);
    }

    #[test]
    fn acknowledgements_gather() {
        let (mut receiver, mut out) = (Receiver::new(Place::User(1)), Vec::new());
        assert!(receiver.got(1, 1, 7, Acks::Each, &mut out).begins);
        assert!(!receiver.got(2, 2, 8, Acks::Each, &mut out).begins);
        assert_eq!((out.is_empty(), receiver.waiting(), receiver.since), (true, Some(1..=2), 7));
        // Past a gap something else begins; what went before is acknowledged.
        assert!(receiver.got(4, 4, 9, Acks::Each, &mut out).begins);
        let mut expected = Vec::new();
        write::acks(Place::User(1), 1..=2, &mut expected);
        assert_eq!(out, expected);
        out.clear();
        for seq in 5..4 + GATHERED {
            receiver.got(seq, seq, 9, Acks::Read, &mut out);
        }
        let mut expected = Vec::new();
        write::read(Place::User(1), 3 + GATHERED, &mut expected);
        assert_eq!((out, receiver.waiting()), (expected, None));
    }

    #[test]
    fn whoever_lingered_is_told_of_in_turn() {
        let mut lingering = Lingering { waiting: VecDeque::new(), linger: 100 };
        assert_eq!(lingering.until(1_000, |_, _| panic!("nobody")), u64::MAX);
        [(1_000, 7), (1_040, 8), (1_090, 7)].into_iter().for_each(|(at, who)| lingering.since(at, who));
        let mut told = Vec::new();
        assert_eq!(lingering.until(1_145, |who, before| told.push((who, before))), 1_190);
        assert_eq!(told, [(7, 1_045), (8, 1_045)]);
    }

    #[test]
    fn a_sender_knows_when_each_was_due() {
        let (mut sender, mut out) = (Sender::new(Letter::new(Place::User(2), "x")), Vec::new());
        for due in 11..=20 {
            sender.write(due, &mut out);
        }
        assert_eq!(
            (sender.due(1), sender.due(10), sender.due(11), sender.due(0)),
            (Some(11), Some(20), None, None)
        );
        sender.forget(4);
        assert_eq!((sender.due(4), sender.due(5)), (None, Some(15)));
        sender.forget_all_but(2);
        assert_eq!((sender.due(8), sender.due(9)), (None, Some(19)));
    }
}
