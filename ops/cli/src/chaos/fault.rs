//! Which faults there are, and the seeded schedule of a run.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

use super::random::Random;

/// How long a store, an edge or the workers stay down.
const DOWN: Duration = Duration::from_secs(15);
/// How long a process is frozen. A worker: PostgreSQL cuts a hung lane owner after `postgres.hung_seconds`, 3. An
/// edge: it is dead to the workers after `worker.node_dead_ms`, 3,000.
const FROZEN: Duration = Duration::from_secs(8);
/// How long a network is cut.
const CUT: Duration = Duration::from_secs(10);
/// Between two faults, milliseconds: sometimes before everything has recovered, sometimes after.
const PAUSE_MS: (u64, u64) = (1_500, 6_000);

/// What `--faults` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Fault {
    /// SIGKILL of an edge.
    KillEdge,
    /// SIGTERM of an edge: it drains.
    TermEdge,
    /// SIGKILL of a worker.
    KillWorker,
    /// SIGTERM of a worker.
    TermWorker,
    /// SIGKILL of NATS.
    KillNats,
    /// SIGTERM of NATS.
    TermNats,
    /// SIGKILL of PostgreSQL, its children left to see it.
    KillPostgres,
    /// SIGTERM of PostgreSQL, which then takes nobody new; SIGINT after 3 s.
    TermPostgres,
    /// SIGKILL of Redis, which keeps nothing.
    KillRedis,
    /// SIGTERM of Redis.
    TermRedis,
    /// An edge down for 15 s.
    DownEdge,
    /// A worker down for 15 s.
    DownWorker,
    /// Every worker down for 15 s.
    DownWorkers,
    /// NATS down for 15 s.
    DownNats,
    /// PostgreSQL down for 15 s.
    DownPostgres,
    /// Redis down for 15 s.
    DownRedis,
    /// Redis emptied with FLUSHALL.
    FlushRedis,
    /// NATS killed, its JetStream folder removed.
    WipeNats,
    /// A worker stopped for 8 s with SIGSTOP, then woken.
    FreezeWorker,
    /// An edge stopped for 8 s, the same way.
    FreezeEdge,
    /// An edge cut off from NATS for 10 s, by a network that swallows.
    CutEdge,
    /// A worker cut off from PostgreSQL for 10 s, the same way.
    CutWorker,
    /// A worker cut off from NATS for 10 s, the same way.
    CutWorkerNats,
    /// 30 % of the clients reconnect at once.
    Reconnect,
    /// Every worker and then every edge ended with SIGTERM and started again, each ready before the next one ends.
    Roll,
    /// Two other faults at once.
    Two,
}

/// What is done to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// SIGKILL; the supervisor starts it again at once.
    Kill(String),
    /// SIGTERM; the same.
    Term(String),
    /// SIGKILL, and held down.
    Down(Vec<String>, Duration),
    /// FLUSHALL.
    Flush,
    /// SIGKILL of NATS, and its files removed.
    Wipe,
    /// SIGSTOP, then SIGCONT.
    Freeze(String, Duration),
    /// Bytes between this process and the store of this name go nowhere.
    Cut(String, &'static str, Duration),
    /// Clients reconnect: the seed of which ones.
    Reconnect(u64),
    /// SIGTERM, and ready again, one after the other.
    Roll(Vec<String>),
    /// At once.
    Both(Box<Action>, Box<Action>),
}

/// A fault's place in the schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// From the end of the one before.
    pub pause: Duration,
    /// Of which kind.
    pub fault: Fault,
    /// What is done.
    pub action: Action,
}

/// The schedule: every fault once, in some order, then again in another, for as long as it is asked.
#[derive(Debug)]
pub struct Plan {
    random: Random,
    faults: Vec<Fault>,
    deck: Vec<Fault>,
    edges: u16,
    workers: u16,
}

impl Plan {
    /// The schedule of this seed.
    pub fn new(seed: u64, faults: &[Fault], edges: u16, workers: u16) -> Self {
        let mut faults = faults.to_vec();
        faults.sort_unstable();
        faults.dedup();
        Self { random: Random::part(seed, 1), faults, deck: Vec::new(), edges, workers }
    }

    fn action(&mut self, fault: Fault) -> Action {
        let edge = format!("e{}", self.random.between(1, u64::from(self.edges)));
        let worker = format!("w{}", self.random.between(1, u64::from(self.workers)));
        let store = |name: &str| name.to_owned();
        match fault {
            Fault::KillEdge => Action::Kill(edge),
            Fault::TermEdge => Action::Term(edge),
            Fault::KillWorker => Action::Kill(worker),
            Fault::TermWorker => Action::Term(worker),
            Fault::KillNats => Action::Kill(store("nats")),
            Fault::TermNats => Action::Term(store("nats")),
            Fault::KillPostgres => Action::Kill(store("postgres")),
            Fault::TermPostgres => Action::Term(store("postgres")),
            Fault::KillRedis => Action::Kill(store("redis")),
            Fault::TermRedis => Action::Term(store("redis")),
            Fault::DownEdge => Action::Down(vec![edge], DOWN),
            Fault::DownWorker => Action::Down(vec![worker], DOWN),
            Fault::DownWorkers => {
                Action::Down((1..=self.workers).map(|number| format!("w{number}")).collect(), DOWN)
            }
            Fault::DownNats => Action::Down(vec![store("nats")], DOWN),
            Fault::DownPostgres => Action::Down(vec![store("postgres")], DOWN),
            Fault::DownRedis => Action::Down(vec![store("redis")], DOWN),
            Fault::FlushRedis => Action::Flush,
            Fault::WipeNats => Action::Wipe,
            Fault::FreezeWorker => Action::Freeze(worker, FROZEN),
            Fault::FreezeEdge => Action::Freeze(edge, FROZEN),
            Fault::CutEdge => Action::Cut(edge, "nats", CUT),
            Fault::CutWorker => Action::Cut(worker, "postgres", CUT),
            Fault::CutWorkerNats => Action::Cut(worker, "nats", CUT),
            Fault::Reconnect => Action::Reconnect(self.random.next()),
            Fault::Roll => {
                let workers = (1..=self.workers).map(|number| format!("w{number}"));
                Action::Roll(workers.chain((1..=self.edges).map(|number| format!("e{number}"))).collect())
            }
            Fault::Two => {
                let (one, other) = self.two();
                Action::Both(Box::new(self.action(one)), Box::new(self.action(other)))
            }
        }
    }

    /// Two different ones that do not work on the same process.
    fn two(&mut self) -> (Fault, Fault) {
        // A roll works on every process.
        let single = |it: &Fault| !matches!(it, Fault::Two | Fault::Roll);
        let others: Vec<Fault> = Fault::value_variants().iter().copied().filter(single).collect();
        // With `--faults two` alone, any two; otherwise from those that were asked for, where there are enough.
        let asked: Vec<Fault> = self.faults.iter().copied().filter(single).collect();
        let from = if asked.len() >= 2 { asked } else { others };
        let one = *self.random.pick(&from).unwrap_or(&Fault::KillWorker);
        let apart: Vec<Fault> = from.iter().copied().filter(|it| it.on() != one.on()).collect();
        (one, *self.random.pick(&apart).unwrap_or(&Fault::Reconnect))
    }
}

impl Iterator for Plan {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        if self.deck.is_empty() {
            self.deck.clone_from(&self.faults);
            self.random.shuffle(&mut self.deck);
        }
        let fault = self.deck.pop()?;
        let pause = Duration::from_millis(self.random.between(PAUSE_MS.0, PAUSE_MS.1));
        Some(Planned { pause, fault, action: self.action(fault) })
    }
}

impl Fault {
    /// As on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What it works on.
    fn on(self) -> &'static str {
        match self {
            Self::KillEdge | Self::TermEdge | Self::DownEdge | Self::FreezeEdge | Self::CutEdge => "edge",
            Self::KillWorker
            | Self::TermWorker
            | Self::DownWorker
            | Self::DownWorkers
            | Self::FreezeWorker
            | Self::CutWorker
            | Self::CutWorkerNats => "worker",
            Self::KillNats | Self::TermNats | Self::DownNats | Self::WipeNats => "nats",
            Self::KillPostgres | Self::TermPostgres | Self::DownPostgres => "postgres",
            Self::KillRedis | Self::TermRedis | Self::DownRedis | Self::FlushRedis => "redis",
            Self::Reconnect => "clients",
            Self::Roll => "all",
            Self::Two => "two",
        }
    }
}

impl Action {
    /// Whether the broker's files are removed, and with them frames that it had confirmed.
    pub fn wipes(&self) -> bool {
        match self {
            Self::Wipe => true,
            Self::Both(one, other) => one.wipes() || other.wipes(),
            _ => false,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(name) => write!(f, "SIGKILL {name}"),
            Self::Term(name) => write!(f, "SIGTERM {name}"),
            Self::Down(names, time) => write!(f, "{} down for {time:?}", names.join(", ")),
            Self::Flush => write!(f, "FLUSHALL"),
            Self::Wipe => write!(f, "JetStream's folder removed"),
            Self::Freeze(name, time) => write!(f, "{name} stopped for {time:?}"),
            Self::Cut(name, from, time) => write!(f, "{name} cut off from {from} for {time:?}"),
            Self::Roll(names) => write!(f, "{} restarted one after the other", names.join(", ")),
            Self::Reconnect(_) => write!(f, "30 % of the clients reconnect"),
            Self::Both(one, other) => write!(f, "{one} and {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_schedule_and_a_round_has_every_fault() {
        let all = Fault::value_variants();
        let plan = |seed| Plan::new(seed, all, 3, 3).take(all.len()).collect::<Vec<_>>();
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
        let mut faults: Vec<Fault> = plan(7).iter().map(|it| it.fault).collect();
        faults.sort_unstable();
        assert_eq!(faults, all);
    }

    #[test]
    fn two_at_once_are_two_things() {
        for planned in Plan::new(3, &[Fault::Two], 3, 3).take(200) {
            let Action::Both(one, other) = planned.action else { panic!("{planned:?}") };
            assert_ne!(one.to_string(), other.to_string());
        }
    }
}
