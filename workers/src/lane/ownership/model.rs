//! Takeover: committers that come, leave, die and stand still, against one table of locks, their steps in every order.

use std::collections::{BTreeMap, VecDeque};

use shared::seeded::{Random, seeds};

use super::*;

/// What a committer has still to do before it looks again.
#[derive(Debug, Clone, PartialEq)]
enum Todo {
    Take(Lane),
    /// From here on it neither pulls nor writes these.
    Forget(Vec<Lane>),
    /// Something committed is not confirmed yet.
    Wait,
    Unlock(Lane),
    /// Its shutdown is done.
    End,
}

#[derive(Debug)]
struct Committer {
    offset: usize,
    /// What it pulls and writes.
    works: BTreeSet<Lane>,
    todo: VecDeque<Todo>,
    /// PostgreSQL knows its session. One that stood still for too long finds out at its next step.
    session: bool,
    leaving: bool,
    /// It has looked at the locks in this round.
    looked: bool,
}

#[derive(Debug)]
struct World {
    lanes: u16,
    random: Random,
    /// Who holds a lane's lock, and how many times: a session may lock again what it holds.
    locks: BTreeMap<Lane, (usize, u32)>,
    committers: BTreeMap<usize, Committer>,
    sessions: usize,
    takes: usize,
    steps: usize,
}

impl World {
    fn new(random: Random) -> Self {
        let mut world = Self {
            lanes: 0,
            random,
            locks: BTreeMap::new(),
            committers: BTreeMap::new(),
            sessions: 0,
            takes: 0,
            steps: 0,
        };
        world.lanes = [1, 2, 3, 8, 16, 17][world.random.below(6)];
        world.birth();
        world
    }

    fn birth(&mut self) {
        let committer = Committer {
            offset: self.random.below(40),
            works: BTreeSet::new(),
            todo: VecDeque::new(),
            session: true,
            leaving: false,
            looked: false,
        };
        self.sessions += 1;
        self.committers.insert(self.sessions, committer);
    }

    /// PostgreSQL ends a session: its locks are free.
    fn cut(&mut self, id: usize) {
        self.locks.retain(|_, (holder, _)| *holder != id);
        if let Some(committer) = self.committers.get_mut(&id) {
            committer.session = false;
        }
    }

    fn locks_as_seen_by(&self, id: usize) -> Locks {
        let (mine, others): (Vec<_>, Vec<_>) = self.locks.iter().partition(|(_, (holder, _))| *holder == id);
        Locks {
            live: self.committers.values().filter(|committer| committer.session).count(),
            mine: mine.into_iter().map(|(lane, _)| *lane).collect(),
            others: others.into_iter().map(|(lane, _)| *lane).collect(),
        }
    }

    /// One step of one committer.
    fn step(&mut self, id: usize) {
        self.steps += 1;
        let seen = self.locks_as_seen_by(id);
        let Some(committer) = self.committers.get_mut(&id) else { return };
        if !committer.session {
            self.committers.remove(&id);
            return;
        }
        let Some(todo) = committer.todo.pop_front() else {
            committer.looked = true;
            let moves = seen.moves(self.lanes, committer.offset);
            let waits = self.random.below(4);
            committer.todo.extend(moves.take.into_iter().map(Todo::Take));
            let_go(&mut committer.todo, moves.release, waits);
            return self.check();
        };
        match todo {
            Todo::Take(lane) => {
                let (holder, count) = self.locks.entry(lane).or_insert((id, 0));
                if *holder == id {
                    *count += 1;
                    self.takes += 1;
                    committer.works.insert(lane);
                }
            }
            Todo::Forget(lanes) => committer.works.retain(|lane| !lanes.contains(lane)),
            Todo::Wait => {}
            Todo::Unlock(lane) => {
                if let Some((holder, count)) = self.locks.get_mut(&lane)
                    && *holder == id
                {
                    *count -= 1;
                    if *count == 0 {
                        self.locks.remove(&lane);
                    }
                }
            }
            Todo::End => drop(self.committers.remove(&id)),
        }
        self.check();
    }

    /// Nobody writes a lane whose lock it does not hold, unless PostgreSQL takes nothing from it any more.
    fn check(&self) {
        let mut owners: BTreeMap<Lane, usize> = BTreeMap::new();
        for (id, committer) in self.committers.iter().filter(|(_, committer)| committer.session) {
            for lane in &committer.works {
                assert_eq!(self.locks.get(lane), Some(&(*id, 1)), "{id} works on {lane:?}: {self:#?}");
                assert_eq!(owners.insert(*lane, *id), None, "two owners of {lane:?}: {self:#?}");
            }
        }
    }

    /// Something happens to the system.
    fn change(&mut self) {
        let ids: Vec<usize> = self.committers.keys().copied().collect();
        let picked = self.random.pick(&ids).copied();
        match (self.random.below(6), picked) {
            (0 | 1, _) if ids.len() < 10 => self.birth(),
            // Killed: the session goes with the process.
            (2, Some(id)) => {
                self.cut(id);
                self.committers.remove(&id);
            }
            // Stood still.
            (3, Some(id)) => self.cut(id),
            // Drained: it is counted among the living until it has let everything go.
            (4, Some(id)) => {
                let waits = self.random.below(4);
                if let Some(committer) = self.committers.get_mut(&id)
                    && !committer.leaving
                {
                    committer.leaving = true;
                    // A release under way is finished first; lanes yet to be taken are not.
                    committer.todo.retain(|todo| !matches!(todo, Todo::Take(_)));
                    let held = committer.works.iter().copied().collect();
                    let_go(&mut committer.todo, held, waits);
                    committer.todo.push_back(Todo::End);
                }
            }
            _ => {}
        }
    }

    fn churn(&mut self, steps: usize) {
        for _ in 0..steps {
            if self.random.one_in(8) {
                self.change();
            }
            let ids: Vec<usize> = self.committers.keys().copied().collect();
            if let Some(id) = self.random.pick(&ids) {
                self.step(*id);
            }
        }
    }

    /// Everyone does what it has begun; who has lost its session or is leaving is gone.
    fn finish_what_is_begun(&mut self) {
        loop {
            let busy: Vec<usize> = self
                .committers
                .iter()
                .filter(|(_, committer)| !committer.session || !committer.todo.is_empty())
                .map(|(id, _)| *id)
                .collect();
            let Some(id) = self.random.pick(&busy) else { break };
            self.step(*id);
        }
        if self.committers.is_empty() {
            self.birth();
        }
    }

    /// Everyone looks once and does what follows from it, their steps in any order.
    fn round(&mut self) {
        for committer in self.committers.values_mut() {
            committer.looked = false;
        }
        loop {
            let unfinished: Vec<usize> = self
                .committers
                .iter()
                .filter(|(_, committer)| !committer.looked || !committer.todo.is_empty())
                .map(|(id, _)| *id)
                .collect();
            let Some(id) = self.random.pick(&unfinished) else { return };
            self.step(*id);
        }
    }

    fn held(&self) -> Vec<usize> {
        self.committers.values().map(|committer| committer.works.len()).collect()
    }

    /// Nothing changes any more: how many rounds it takes until every lane is owned and nobody has too many.
    fn settle(&mut self) -> usize {
        self.finish_what_is_begun();
        let live = self.committers.len();
        let fair = usize::from(self.lanes).div_ceil(live);
        for rounds in 0..=usize::from(self.lanes) + 2 {
            let held = self.held();
            if held.iter().sum::<usize>() == usize::from(self.lanes) && held.iter().all(|held| *held <= fair)
            {
                // Whoever has come back has what the others may not keep.
                let least = usize::from(self.lanes).saturating_sub(fair * (live - 1));
                assert!(held.iter().all(|held| *held >= least), "fewer than {least}: {self:#?}");
                return rounds;
            }
            self.round();
        }
        panic!("does not come to rest at {fair} each: {self:#?}");
    }

    /// At rest nobody moves.
    fn stays(&mut self) {
        let (before, takes) = (self.locks.clone(), self.takes);
        for _ in 0..3 {
            self.round();
        }
        assert_eq!((&self.locks, self.takes), (&before, takes), "lanes move without need: {self:#?}");
    }
}

fn let_go(todo: &mut VecDeque<Todo>, lanes: Vec<Lane>, waits: usize) {
    if lanes.is_empty() {
        return;
    }
    todo.push_back(Todo::Forget(lanes.clone()));
    todo.extend(std::iter::repeat_n(Todo::Wait, waits));
    todo.extend(lanes.into_iter().map(Todo::Unlock));
}

#[test]
fn committers_that_come_and_go_never_share_a_lane_and_come_to_rest_with_a_fair_share() {
    let (mut steps, mut most) = (0, 0);
    for seed in seeds(0..400) {
        let mut world = World::new(seed.random());
        for _ in 0..6 {
            world.churn(40);
            most = most.max(world.settle());
            world.stays();
        }
        steps += world.steps;
    }
    eprintln!("{steps} steps; {most} rounds to rest at most");
}

#[test]
fn a_lane_moves_once_when_one_dies_and_once_when_it_is_back() {
    for seed in seeds(1_000..1_200) {
        let mut world = World::new(seed.random());
        for _ in 0..world.random.below(9) {
            world.birth();
        }
        world.settle();
        let ids: Vec<usize> = world.committers.keys().copied().collect();
        let victim = *world.random.pick(&ids).unwrap();
        let lost = world.committers[&victim].works.len();
        world.cut(victim);
        let before = world.takes;
        world.settle();
        // The dead one's lanes, and what others hand on to come to the new share: none, as the share has grown.
        let taken = if ids.len() == 1 { usize::from(world.lanes) } else { lost };
        assert_eq!(world.takes - before, taken, "{world:#?}");
        let before = world.takes;
        let old: BTreeMap<usize, usize> =
            world.committers.iter().map(|(id, c)| (*id, c.works.len())).collect();
        world.birth();
        world.settle();
        let fair = usize::from(world.lanes).div_ceil(world.committers.len());
        let over: usize = old.values().map(|held| held.saturating_sub(fair)).sum();
        assert_eq!(world.takes - before, over, "{world:#?}");
        world.stays();
    }
}
