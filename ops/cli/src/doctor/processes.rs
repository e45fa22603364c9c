//! Our own processes: whether they serve, are of one version, and agree on what they must agree on.
//!
//! | module | holds |
//! |---|---|
//! | `gather` | asking each one's metrics port |
//! | `same` | settings that differ between them |
//! | `own` | settings of one process, by themselves |

mod gather;
mod own;
mod same;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use shared::telemetry::About;
use toml::Value;

pub use self::gather::gather;
use super::finding::{Check, Finding, Severity};
use super::nats::Heard;

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It holds clients' connections.
    Edge,
    /// It does the work.
    Worker,
}

/// One process that has answered.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its name, from its settings where it says them.
    pub name: String,
    /// What it is, where it says so.
    pub part: Option<Part>,
    /// Why it is not ready.
    pub unready: Option<String>,
    /// What it says of itself; none of a version that does not.
    pub about: Option<About>,
    /// Acks `queued` that it has given since its start.
    pub queued_acks: u64,
}

impl Process {
    /// The value of one of its settings.
    pub fn setting(&self, key: &str) -> Option<&Value> {
        Some(&self.about.as_ref()?.settings.get(key)?.value)
    }

    /// A setting that is a whole number.
    pub fn number(&self, key: &str) -> Option<i64> {
        self.setting(key)?.as_integer()
    }

    /// A setting that is a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.setting(key)?.as_str()
    }
}

pub(super) const UNREACHABLE: Check = Check {
    key: "process.unreachable",
    expected: "an answer on its metrics port",
    why: "it may have ended, or hang; nothing can be said of its settings",
    remedy: "look at its supervisor and its log, and whether the metrics address is reachable from here",
};
const READY: Check = Check {
    key: "process.ready",
    expected: "ready",
    why: "it serves nobody until this is mended",
    remedy: "what it waits for is what it says; look there first",
};
const SILENT: Check = Check {
    key: "process.settings",
    expected: "its settings at /config",
    why: "settings that differ from the others' are not noticed",
    remedy: "bring it to the others' version",
};
const VERSION: Check = Check {
    key: "process.version",
    expected: "one version, this command's",
    why: "two versions side by side are made for the time of a roll, and not for longer",
    remedy: "finish the roll; use the command of the version that runs",
};
const UNSEEN: Check = Check {
    key: "process.unseen",
    expected: "every process that is heard on NATS",
    why: "nothing is known of its settings and its clock; one that nobody meant to run may be an old one left over",
    remedy: "name its metrics address: --process host:port",
};
const EDGES: Check = Check {
    key: "process.edges",
    expected: "2 or more",
    why: "while the only one is replaced or away, clients have nowhere to go",
    remedy: "run another one, on another machine",
};
const WORKERS: Check = Check {
    key: "process.workers",
    expected: "2 or more",
    why: "while the only one is replaced or away, nothing is stored and nobody logs in",
    remedy: "run another one, on another machine",
};
const COMMITTERS: Check = Check {
    key: "process.committers",
    expected: "no more committers than lanes",
    why: "a lane has one owner: the committers beyond the lanes hold a session of PostgreSQL each and do nothing",
    remedy: "fewer workers or [worker] committers; or more lanes, which is a documented step",
};

/// Judges them all together; `heard` is who is known to run besides.
pub fn check(processes: &[Process], heard: Option<&Heard>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for process in processes {
        findings.push(match &process.unready {
            None => READY.found(Severity::Ok, &process.name, "ready"),
            Some(reason) => READY.found(Severity::Warning, &process.name, reason),
        });
        match &process.about {
            None => findings.push(SILENT.found(Severity::Warning, &process.name, "nothing")),
            Some(_) => findings.extend(own::check(process)),
        }
    }
    findings.extend(versions(processes));
    findings.extend(same::check(processes));
    findings.extend(own::lease(processes));
    findings.extend(heard.and_then(|heard| unseen(processes, heard)));
    findings.extend(counts(processes, heard));
    findings
}

fn versions(processes: &[Process]) -> Option<Finding> {
    let known = processes.iter().filter_map(|process| Some(process.about.as_ref()?.version.as_str()));
    let versions: BTreeSet<&str> = known.collect();
    let this = env!("CARGO_PKG_VERSION");
    let severity = match versions.len() {
        0 => return None,
        1 if versions.contains(this) => Severity::Ok,
        1 => Severity::Note,
        _ => Severity::Warning,
    };
    let versions: Vec<&str> = versions.into_iter().collect();
    Some(VERSION.found(severity, "all", format!("{}; this command is {this}", versions.join(", "))))
}

/// Names on NATS end with a part that is another one at each start.
fn named(incarnation: &str) -> &str {
    incarnation.rsplit_once('-').map_or(incarnation, |(name, _)| name)
}

fn unseen(processes: &[Process], heard: &Heard) -> Option<Finding> {
    let of = |part: Part, heard: &BTreeSet<String>| {
        let mut seen: Vec<&str> =
            processes.iter().filter(|it| it.part == Some(part)).map(|it| it.name.as_str()).collect();
        let strangers = heard.iter().map(|it| named(it)).filter(|name| {
            // Two processes may have one name: each that was asked stands for one that was heard.
            seen.iter().position(|it| it == name).map(|at| seen.swap_remove(at)).is_none()
        });
        strangers.map(str::to_owned).collect::<Vec<_>>()
    };
    let strangers = [of(Part::Edge, &heard.nodes), of(Part::Worker, &heard.workers)].concat();
    if heard.nodes.is_empty() && heard.workers.is_empty() {
        return None;
    }
    let found = match strangers.is_empty() {
        true => "all of them".to_owned(),
        false => format!("{} heard and not asked: {}", strangers.len(), strangers.join(", ")),
    };
    Some(UNSEEN.judged(strangers.is_empty(), Severity::Warning, "all", found))
}

fn counts(processes: &[Process], heard: Option<&Heard>) -> Vec<Finding> {
    let of = |part: Part| processes.iter().filter(move |it| it.part == Some(part));
    let (nodes, who) = heard.map_or((0, 0), |heard| (heard.nodes.len(), heard.workers.len()));
    let (edges, workers) = (of(Part::Edge).count().max(nodes), of(Part::Worker).count().max(who));
    let mut findings = vec![
        EDGES.judged(edges >= 2, Severity::Note, "all", edges),
        WORKERS.judged(workers >= 2, Severity::Note, "all", workers),
    ];
    let committers: i64 = of(Part::Worker).filter_map(|it| it.number("worker.committers")).sum();
    let lanes = of(Part::Worker).find_map(|it| it.number("nats.lanes"));
    if let Some(lanes) = lanes {
        let found = format!("{committers} committers for {lanes} lanes");
        findings.push(COMMITTERS.judged(committers <= lanes, Severity::Note, "all", found));
    }
    findings
}
