//! How much memory each process of the stack uses, over the run.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

use crate::record::{Kind, Process};

/// Points that a curve keeps at most: beyond them, each two become one, the higher.
const POINTS: usize = 48;

/// All curves, by the process's name: one that was started again goes on where it was.
#[derive(Debug, Default)]
pub struct Memory {
    curves: BTreeMap<String, Curve>,
}

/// One process, as it stands in the ledger: MiB.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Used {
    process: String,
    start: f64,
    max: f64,
    end: f64,
    /// From the begin to the end, each point the most since the one before.
    curve: Vec<f64>,
}

#[derive(Debug)]
struct Curve {
    start: u64,
    end: u64,
    points: Vec<u64>,
    /// Looks a point, and looks in the last point.
    every: usize,
    last: usize,
}

impl Memory {
    /// Looks at these processes. One that does not run just now has no point.
    pub fn look(&mut self, processes: &[Process]) {
        for process in processes.iter().filter(|it| it.identity.lives()) {
            if let Some(kib) = used_kib(process) {
                self.add(&process.name, kib);
            }
        }
    }

    fn add(&mut self, name: &str, kib: u64) {
        match self.curves.get_mut(name) {
            Some(curve) => curve.add(kib),
            None => {
                let curve = Curve { start: kib, end: kib, points: vec![kib], every: 1, last: 1 };
                self.curves.insert(name.to_owned(), curve);
            }
        }
    }

    /// For the ledger.
    pub fn used(&self) -> Vec<Used> {
        let used = self.curves.iter().map(|(process, curve)| Used {
            process: process.clone(),
            start: mib(curve.start),
            max: mib(curve.points.iter().copied().max().unwrap_or(0)),
            end: mib(curve.end),
            curve: curve.points.iter().copied().map(mib).collect(),
        });
        used.collect()
    }
}

impl Curve {
    fn add(&mut self, kib: u64) {
        self.end = kib;
        if self.last < self.every {
            self.last += 1;
            if let Some(point) = self.points.last_mut() {
                *point = kib.max(*point);
            }
            return;
        }
        if self.points.len() == POINTS {
            self.points = self.points.chunks(2).map(|two| two.iter().copied().max().unwrap_or(0)).collect();
            self.every *= 2;
        }
        self.points.push(kib);
        self.last = 1;
    }
}

fn mib(kib: u64) -> f64 {
    (kib as f64 / 102.4).round() / 10.0
}

/// What it holds in memory. PostgreSQL is many processes with shared memory in common: their own is added up, and the
/// shared counted where the most of it is mapped.
fn used_kib(process: &Process) -> Option<u64> {
    let status = |pid: u32| fs::read_to_string(format!("/proc/{pid}/status")).ok();
    let pid = process.identity.pid;
    let own = status(pid)?;
    if process.kind != Kind::Postgres {
        return field(&own, "VmRSS:");
    }
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter_map(status);
    let all: Vec<String> = std::iter::once(own).chain(children).collect();
    let anonymous: u64 = all.iter().filter_map(|it| field(it, "RssAnon:")).sum();
    let shared =
        all.iter().map(|it| field(it, "RssShmem:").unwrap_or(0) + field(it, "RssFile:").unwrap_or(0));
    Some(anonymous + shared.max().unwrap_or(0))
}

/// A line such as `VmRSS:     1234 kB`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Identity;
    use crate::record::Addresses;

    #[test]
    fn a_long_curve_keeps_its_ends_and_its_peak_in_few_points() {
        let mut memory = Memory::default();
        for look in 0..1_000_u64 {
            memory.add("e1", if look == 777 { 9 << 20 } else { 1024 + look });
        }
        let used = &memory.used()[0];
        assert_eq!((used.start, used.max, used.end), (1.0, 9216.0, 2.0));
        assert!((POINTS / 2..=POINTS).contains(&used.curve.len()), "{}", used.curve.len());
        assert_eq!(used.curve.iter().filter(|point| **point == 9216.0).count(), 1);
        let rest: Vec<f64> = used.curve.iter().copied().filter(|point| *point < 9216.0).collect();
        assert!(rest.windows(2).all(|two| two[0] <= two[1]), "{rest:?}");
    }

    #[test]
    fn a_living_process_uses_memory_and_a_gone_one_has_no_point() {
        let of = |name: &str, identity| Process {
            name: name.to_owned(),
            kind: Kind::Postgres,
            identity,
            log: "/dev/null".into(),
            addresses: Addresses::default(),
        };
        let here = Identity::of(std::process::id());
        let gone = Identity { started: here.started + 1, ..here };
        let mut memory = Memory::default();
        memory.look(&[of("here", here), of("gone", gone)]);
        let used = memory.used();
        assert_eq!(used.iter().map(|it| it.process.as_str()).collect::<Vec<_>>(), ["here"]);
        assert!(used[0].start > 0.5, "{used:?}");
    }
}
