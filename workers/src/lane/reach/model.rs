//! Marks: batches that are replayed, sent again late, lost with their stream, by owners that crash at any point. The lane's
//! counts must hold each committed batch once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shared::seeded::{Random, seeds};

use super::*;

/// A stream's number and a place in it.
type Batch = (u64, u64);

/// A lane on the broker.
#[derive(Debug, Default)]
struct Broker {
    /// Which stream: another one counts from 1 again.
    stream: u64,
    newest: u64,
    unacked: BTreeSet<u64>,
}

/// A lane's row.
#[derive(Debug, Default, Clone)]
struct Row {
    stream: u64,
    committed: u64,
    counted: u64,
}

/// A lane as its owner knows it; nothing before its first batch.
#[derive(Debug, Default)]
struct Owned {
    known: Option<(u64, u64)>,
    pulled: VecDeque<Batch>,
    /// Handed out by this taking's consumer.
    handed: u64,
}

#[derive(Debug)]
struct World {
    random: Random,
    brokers: Vec<Broker>,
    rows: Vec<Row>,
    owned: Vec<Owned>,
    /// What is truly committed, each once.
    done: Vec<BTreeSet<Batch>>,
    replayed: usize,
}

const LANES: usize = 3;

impl World {
    fn new(random: Random) -> Self {
        let lanes = |_| Broker { stream: 1, ..Broker::default() };
        Self {
            random,
            brokers: (0..LANES).map(lanes).collect(),
            rows: vec![Row::default(); LANES],
            owned: (0..LANES).map(|_| Owned::default()).collect(),
            done: vec![BTreeSet::new(); LANES],
            replayed: 0,
        }
    }

    fn step(&mut self) {
        let lane = self.random.below(LANES);
        match self.random.below(40) {
            // An edge publishes.
            0..=11 => {
                self.brokers[lane].newest += 1;
                let newest = self.brokers[lane].newest;
                self.brokers[lane].unacked.insert(newest);
            }
            12..=23 => self.pull(lane),
            24 => self.again(lane),
            25..=34 => self.chunk(),
            35 => self.acknowledge(lane),
            36 | 37 => self.owned[lane] = Owned::default(),
            // The committer is gone, and another one takes every lane.
            38 => self.owned.iter_mut().for_each(|owned| *owned = Owned::default()),
            _ if self.random.one_in(4) => {
                // The broker's directory is lost. All lanes are of one stream.
                let stream = self.brokers[0].stream + 1;
                for (broker, owned) in self.brokers.iter_mut().zip(&mut self.owned) {
                    *broker = Broker { stream, ..Broker::default() };
                    *owned = Owned::default();
                }
            }
            _ => {}
        }
    }

    /// The consumer hands out the next one that is not acknowledged.
    fn pull(&mut self, lane: usize) {
        let (broker, owned) = (&self.brokers[lane], &mut self.owned[lane]);
        if let Some(next) = broker.unacked.range(owned.handed + 1..).next() {
            owned.handed = *next;
            owned.pulled.push_back((broker.stream, *next));
        }
    }

    /// The acknowledgement is long overdue: the broker hands one out again.
    fn again(&mut self, lane: usize) {
        let (broker, owned) = (&self.brokers[lane], &mut self.owned[lane]);
        let handed: Vec<u64> = broker.unacked.range(..=owned.handed).copied().collect();
        if let Some(late) = self.random.pick(&handed) {
            owned.pulled.push_back((broker.stream, *late));
        }
    }

    /// What was committed is acknowledged at any later time, or never.
    fn acknowledge(&mut self, lane: usize) {
        let stream = self.brokers[lane].stream;
        let done: Vec<u64> = self.brokers[lane]
            .unacked
            .iter()
            .copied()
            .filter(|seq| self.done[lane].contains(&(stream, *seq)))
            .collect();
        for seq in done {
            if !self.random.one_in(4) {
                self.brokers[lane].unacked.remove(&seq);
            }
        }
    }

    fn chunk(&mut self) {
        let mut reach = Reach::default();
        let mut fresh = [0; LANES];
        let mut batches: Vec<(usize, Batch)> = Vec::new();
        for _ in 0..self.random.below(12) {
            let lane = self.random.below(LANES);
            let Some((stream, seq)) = self.owned[lane].pulled.pop_front() else { continue };
            let row = &self.rows[lane];
            let stored = if row.stream == stream { row.committed } else { 0 };
            let (known, committed) = *self.owned[lane].known.get_or_insert((stream, stored));
            assert_eq!(known, stream, "one taking, one stream");
            let lane_id = Lane(u16::try_from(lane).unwrap());
            fresh[lane] += u64::from(reach.note(lane_id, seq, committed));
            batches.push((lane, (stream, seq)));
        }
        // Crashes before, in, or after the commit.
        let crash = self.random.below(8);
        if crash > 0 {
            for (lane, newest) in reach.newest() {
                let lane = usize::from(lane.0);
                let stream = self.brokers[lane].stream;
                let row = &self.rows[lane];
                assert!(row.stream != stream || newest >= row.committed, "the mark goes back: {self:#?}");
                let counted = row.counted + fresh[lane];
                self.rows[lane] = Row { stream, committed: newest, counted };
            }
            for (lane, batch) in &batches {
                self.replayed += usize::from(!self.done[*lane].insert(*batch));
            }
        }
        if crash > 1 {
            for (lane, newest) in reach.newest() {
                if let Some(known) = &mut self.owned[usize::from(lane.0)].known {
                    known.1 = newest;
                }
            }
        } else {
            self.owned.iter_mut().for_each(|owned| *owned = Owned::default());
        }
        self.check(&reach, &batches);
    }

    fn check(&self, reach: &Reach, batches: &[(usize, Batch)]) {
        for lane in 0..LANES {
            let done = u64::try_from(self.done[lane].len()).unwrap();
            assert_eq!(self.rows[lane].counted, done, "lane {lane}: {batches:?}\n{self:#?}");
        }
        let mut first: BTreeMap<usize, u64> = BTreeMap::new();
        for (lane, (_, seq)) in batches {
            first.entry(*lane).or_insert(*seq);
        }
        assert!(reach.first().map(|(lane, seq)| (usize::from(lane.0), seq)).eq(first), "{batches:?}");
    }
}

#[test]
fn each_committed_batch_is_counted_once_however_often_it_comes() {
    let mut replayed = 0;
    for seed in seeds(0..400) {
        let mut world = World::new(seed.random());
        for _ in 0..600 {
            world.step();
        }
        replayed += world.replayed;
    }
    assert!(
        replayed > 10_000 || std::env::var(shared::seeded::VARIABLE).is_ok(),
        "{replayed}: replays are what this is about"
    );
}
