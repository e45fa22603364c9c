//! Settings that differ between processes. What is not named here must be the same everywhere: a new key is looked at
//! from its first day.

use std::collections::{BTreeMap, BTreeSet};

use toml::Value;

use super::Process;
use crate::doctor::finding::{Check, Finding, Severity};

/// Of each process's own.
const OWN: [&str; 10] = [
    "name",
    "listen",
    "http",
    "metrics",
    "advertise",
    "compat_listen",
    "compat_advertise",
    "compat_http",
    "ready_file",
    "nofile",
];

/// Of which a difference breaks what was promised.
const VITAL: [&str; 6] =
    ["nats.prefix", "nats.lanes", "postgres.url", "postgres.schema", "redis.url", "redis.prefix"];

/// Which may well differ, and are worth knowing of.
const HARMLESS: [&str; 3] = ["nats.url", "log.filter", "log.format"];

const VITALLY: Check = Check {
    key: "settings.vital",
    expected: "the same in every process",
    why: "the processes are parts of two systems: orders, routes or messages of one are not seen by the other",
    remedy: "give all processes the same, and restart those that differ",
};
const DIFFER: Check = Check {
    key: "settings.differ",
    expected: "the same in every process",
    why: "what a client meets depends on which process it meets, and a roll moves load that others cannot take",
    remedy: "give all processes of a kind one configuration file, and restart those that differ",
};
const HARMLESSLY: Check = Check {
    key: "settings.vary",
    expected: "the same, unless meant",
    why: "it may be meant",
    remedy: "none, if it is meant",
};
const SAME: Check = Check { key: "settings.same", ..DIFFER };

/// One finding a key that differs; one for all if none does.
pub fn check(processes: &[Process]) -> Vec<Finding> {
    let asked = processes.iter().filter(|process| process.about.is_some()).count();
    if asked < 2 {
        return Vec::new();
    }
    let mut values: BTreeMap<&str, Vec<(&Process, &Value)>> = BTreeMap::new();
    for process in processes {
        for (key, setting) in process.about.iter().flat_map(|about| &about.settings) {
            values.entry(key).or_default().push((process, &setting.value));
        }
    }
    let findings: Vec<Finding> = values
        .into_iter()
        .filter(|(key, _)| !OWN.contains(&key.rsplit('.').next().unwrap_or_default()))
        .filter_map(|(key, values)| differing(key, &values))
        .collect();
    match findings.is_empty() {
        true => vec![SAME.found(Severity::Ok, "all", format!("no difference between {asked} processes"))],
        false => findings,
    }
}

/// Without who connects to NATS: each part has a user of its own there.
fn shown(key: &str, value: &Value) -> String {
    match (key, value) {
        ("nats.url", Value::String(url)) => match url.split_once("://").zip(url.rsplit_once('@')) {
            Some(((scheme, _), (_, host))) => format!("\"{scheme}://{host}\""),
            None => value.to_string(),
        },
        _ => value.to_string(),
    }
}

fn differing(key: &str, values: &[(&Process, &Value)]) -> Option<Finding> {
    let mut names: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (process, value) in values {
        names.entry(shown(key, value)).or_default().insert(&process.name);
    }
    if names.len() < 2 {
        return None;
    }
    let each = names.iter().map(|(value, names)| {
        let names: Vec<&str> = names.iter().copied().collect();
        format!("{value} ({})", names.join(", "))
    });
    let found = each.collect::<Vec<_>>().join(" and ");
    Some(match () {
        () if VITAL.contains(&key) => VITALLY.found(Severity::Danger, key, found),
        () if HARMLESS.contains(&key) => HARMLESSLY.found(Severity::Note, key, found),
        () => DIFFER.found(Severity::Warning, key, found),
    })
}
