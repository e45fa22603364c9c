//! CPU time of a stack's processes, from the operating system's accounting.

use std::{collections::BTreeMap, fs};

use crate::record::{Kind, Stack};

/// Microseconds of user and system time so far: by kind of process, and `generator` for this one.
pub fn spent(stack: &Stack) -> BTreeMap<&'static str, u64> {
    let everyone = table();
    let mut spent = BTreeMap::from([("generator", of(std::process::id(), &everyone))]);
    for process in &stack.process {
        let kind = match process.kind {
            Kind::Nats => "nats",
            Kind::Postgres => "postgres",
            Kind::Redis => "redis",
            Kind::Edge => "edge",
            Kind::Worker => "worker",
        };
        *spent.entry(kind).or_default() += with_children(process.identity.pid, &everyone);
    }
    spent
}

/// Microseconds that one process has spent so far, finer than [`spent`]: of the threads that it has.
pub fn of_threads(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let stat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<u64>().ok()
    });
    nanos.sum::<u64>() / 1_000
}

/// What was spent from one look to another.
pub fn between(
    before: &BTreeMap<&'static str, u64>,
    after: &BTreeMap<&'static str, u64>,
) -> BTreeMap<&'static str, u64> {
    let before = |kind| before.get(kind).copied().unwrap_or(0);
    after.iter().map(|(kind, spent)| (*kind, spent.saturating_sub(before(kind)))).collect()
}

struct Row {
    parent: u32,
    ticks: u64,
    reaped_ticks: u64,
}

/// Linux counts in hundredths of a second for user space, whatever the kernel's own clock.
const MICROS_A_TICK: u64 = 10_000;

fn of(pid: u32, table: &BTreeMap<u32, Row>) -> u64 {
    table.get(&pid).map_or(0, |row| row.ticks * MICROS_A_TICK)
}

/// PostgreSQL works in children of the process that was started; those that have ended are counted at their parent.
fn with_children(pid: u32, table: &BTreeMap<u32, Row>) -> u64 {
    let ended = table.get(&pid).map_or(0, |row| row.reaped_ticks * MICROS_A_TICK);
    let children = table.iter().filter(|(_, row)| row.parent == pid).map(|(child, _)| *child);
    of(pid, table) + ended + children.map(|child| with_children(child, table)).sum::<u64>()
}

fn table() -> BTreeMap<u32, Row> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    entries
        .filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name in parentheses may hold anything; fields are counted from behind it.
            let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
            let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
            let row = Row {
                parent: u32::try_from(number(1)?).ok()?,
                ticks: number(11)? + number(12)?,
                reaped_ticks: number(13)? + number(14)?,
            };
            Some((pid, row))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_row_and_its_parent() {
        let table = table();
        let row = table.get(&std::process::id()).expect("a running process has a row");
        assert!(table.contains_key(&row.parent) || row.parent == 0);
        assert!(of_threads(std::process::id()) > 0);
    }
}
