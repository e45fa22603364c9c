//! Resident memory of a stack's processes, looked at once a second, and what the curves say.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use crate::record::{Kind, Stack};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);
/// The generator's own name among the processes.
const GENERATOR: &str = "generator";

/// What was seen: seconds since the start, and MiB, by the process's name. As long as the run is in seconds.
#[derive(Debug, Default)]
pub struct Curves(BTreeMap<String, Vec<(f64, f64)>>);

/// One process's curve in a few figures, MiB.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// At the start of the load.
    pub start: f64,
    /// After a minute of it; at its end, where that comes before.
    pub minute: f64,
    /// The most while it lasted.
    pub max: f64,
    /// At its end.
    pub end: f64,
    /// Growth a minute over its last two thirds, as a line laid through the points.
    pub slope_per_min: f64,
    /// After everything was delivered.
    pub drained: f64,
}

/// Looks at the processes of the stack in `folder`, and at this one, until `end`. Each look becomes a line of `samples`,
/// written with what `more` says at that moment.
///
/// # Errors
/// When the file cannot be written, or there is no stack.
pub async fn watch(
    folder: PathBuf,
    samples: Option<PathBuf>,
    more: impl Fn() -> Vec<(&'static str, u64)>,
    end: CancellationToken,
) -> Result<Curves> {
    let mut curves = Curves::default();
    let mut file = None;
    let (began, mut ticks) = (Instant::now(), interval(EVERY));
    while end.run_until_cancelled(ticks.tick()).await.is_some() {
        let seconds = began.elapsed().as_secs_f64();
        let now = look(&folder)?;
        if let Some(path) = &samples {
            if file.is_none() {
                let mut new = BufWriter::new(File::create(path).with_context(|| path.display().to_string())?);
                let names = now.iter().map(|(name, _)| format!("{name}_mib"));
                let others = more().into_iter().map(|(name, _)| name.to_owned());
                let header: Vec<String> = names.chain(others).collect();
                writeln!(new, "seconds,{}", header.join(","))?;
                file = Some(new);
            }
            if let Some(file) = &mut file {
                let sizes = now.iter().map(|(_, mib)| format!("{mib:.2}"));
                let others = more().into_iter().map(|(_, count)| count.to_string());
                let row: Vec<String> = sizes.chain(others).collect();
                writeln!(file, "{seconds:.1},{}", row.join(","))?;
                file.flush()?;
            }
        }
        for (name, mib) in now {
            curves.0.entry(name).or_default().push((seconds, mib));
        }
    }
    Ok(curves)
}

impl Curves {
    /// In a few figures, where the load lasted from the first look until `end` seconds.
    pub fn figures(&self, end: f64) -> BTreeMap<&str, Figures> {
        self.0.iter().map(|(name, points)| (name.as_str(), figures(points, end))).collect()
    }
}

fn figures(points: &[(f64, f64)], end: f64) -> Figures {
    let load: Vec<_> = points.iter().copied().filter(|(at, _)| *at <= end).collect();
    let rest: Vec<_> = load.iter().copied().filter(|(at, _)| *at >= end / 3.0).collect();
    let of = |point: Option<&(f64, f64)>| rounded(point.map_or(0.0, |(_, mib)| *mib));
    let minute = load.iter().find(|(at, _)| *at >= 60.0).or(load.last());
    Figures {
        start: of(load.first()),
        minute: of(minute),
        max: rounded(load.iter().map(|(_, mib)| *mib).fold(0.0, f64::max)),
        end: of(load.last()),
        slope_per_min: rounded(slope(&rest) * 60.0),
        drained: of(points.last()),
    }
}

/// Of the line through the points, by least squares; 0 for fewer than two.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (both, square) = points.iter().fold((0.0, 0.0), |(both, square), point| {
        (both + (point.0 - x) * (point.1 - y), square + (point.0 - x).powi(2))
    });
    if square > 0.0 { both / square } else { 0.0 }
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// MiB of each process now. One that is being started again has 0.
fn look(folder: &Path) -> Result<Vec<(String, f64)>> {
    // Read each time: the supervisor starts again what ends.
    let stack = Stack::read(folder)?.context("the stack is gone")?;
    let mut all: Vec<(String, f64)> = stack
        .process
        .iter()
        .map(|process| {
            let kib = with_children(process.identity.pid, process.kind == Kind::Postgres);
            (process.name.clone(), kib as f64 / 1024.0)
        })
        .collect();
    all.push((GENERATOR.to_owned(), with_children(std::process::id(), false) as f64 / 1024.0));
    Ok(all)
}

/// Resident bytes of one process.
pub fn resident(pid: u32) -> u64 {
    with_children(pid, false) * 1024
}

/// KiB. PostgreSQL works in children that have memory in common: what is each one's own is added up, and what they share
/// counts once.
fn with_children(pid: u32, children: bool) -> u64 {
    let status = |pid: u32| fs::read_to_string(format!("/proc/{pid}/status")).ok();
    let listed = match children {
        true => fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default(),
        false => String::new(),
    };
    let listed = listed.split_whitespace().filter_map(|pid| pid.parse().ok());
    let all: Vec<String> = std::iter::once(pid).chain(listed).filter_map(status).collect();
    let own: u64 = all.iter().map(|status| field(status, "RssAnon:")).sum();
    let shared = all.iter().map(|status| field(status, "RssFile:") + field(status, "RssShmem:"));
    own + shared.max().unwrap_or(0)
}

/// A line as `VmRSS:     1234 kB`.
fn field(status: &str, name: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_in_figures() {
        // Grows for a third, is flat then, and comes down after the load.
        let mut points: Vec<(f64, f64)> =
            (0..=300).map(|second| (f64::from(second), 50.0 + f64::from(second.min(100)))).collect();
        points.push((301.0, 60.0));
        let expected =
            Figures { start: 50.0, minute: 110.0, max: 150.0, end: 150.0, slope_per_min: 0.0, drained: 60.0 };
        assert_eq!(figures(&points, 300.0), expected);
        let leak: Vec<(f64, f64)> =
            (0..=300).map(|second| (f64::from(second), f64::from(second) / 6.0)).collect();
        assert_eq!(figures(&leak, 300.0).slope_per_min, 10.0);
        assert_eq!(figures(&[], 300.0).max, 0.0);
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(with_children(std::process::id(), false) > 500);
    }
}
