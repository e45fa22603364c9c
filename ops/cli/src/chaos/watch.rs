//! Looking at the processes while the run goes on: their memory, and what the edges have counted, which an edge that is
//! killed takes along.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::time::{MissedTickBehavior, interval};

use super::conservation::Edges;
use super::memory::Memory;
use super::world::World;
use crate::process::Identity;
use crate::record::{Kind, Process};

/// How often all of it is looked at.
const EVERY: Duration = Duration::from_secs(10);
/// How long an edge may take to say its figures: it may be frozen, and the fault is to come at its time.
const PATIENCE: Duration = Duration::from_millis(500);

/// What was seen.
#[derive(Debug)]
pub struct Watch {
    http: reqwest::Client,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    memory: Memory,
    /// The newest figures of every edge that ever ran.
    edges: BTreeMap<(u32, u64), Figures>,
}

/// One edge's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// For the account of frames.
    pub counts: Edges,
    /// Times that a session began to read from PostgreSQL, by reason.
    pub backlogs: BTreeMap<String, i64>,
}

impl Watch {
    /// Has seen nothing.
    pub fn new() -> Result<Self> {
        let http = shared::client::http::builder(None).timeout(PATIENCE).build()?;
        Ok(Self { http, seen: Mutex::default() })
    }

    /// Looks every ten seconds, for ever.
    pub async fn run(&self, world: &World) {
        let mut clock = interval(EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            // What cannot be read now is read the next time.
            drop(self.look(world).await);
        }
    }

    /// Looks at everything now; an error where an edge does not say its figures.
    pub async fn look(&self, world: &World) -> Result<()> {
        let processes = world.stack()?.process;
        self.seen().memory.look(&processes);
        futures::future::try_join_all(processes.iter().map(|it| self.edge(it))).await.map(drop)
    }

    /// Reads the figures of one process that is about to end, if it is an edge and says them.
    pub async fn before_its_end(&self, process: &Process) {
        drop(self.edge(process).await);
    }

    async fn edge(&self, process: &Process) -> Result<()> {
        let (Kind::Edge, Some(metrics)) = (process.kind, &process.addresses.metrics) else { return Ok(()) };
        let Identity { pid, started } = process.identity;
        let text = self.http.get(format!("http://{metrics}/metrics")).send().await?.text().await?;
        // Its successor at the same address does not speak for it.
        if process.identity.lives() {
            self.seen().edges.insert((pid, started), Figures::read(&text));
        }
        Ok(())
    }

    /// The sum over every edge that ever ran, as far as is known.
    pub fn edges(&self) -> Figures {
        let mut sum = Figures::default();
        for one in self.seen().edges.values() {
            sum.counts.accepted += one.counts.accepted;
            sum.counts.vanished += one.counts.vanished;
            sum.counts.batches += one.counts.batches;
            for (reason, count) in &one.backlogs {
                *sum.backlogs.entry(reason.clone()).or_default() += count;
            }
        }
        sum
    }

    /// The memory's curves.
    pub fn memory(&self) -> Vec<super::memory::Used> {
        self.seen().memory.used()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Figures {
    fn read(text: &str) -> Self {
        let mut figures = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            // Counters are whole, and far below where a float is not.
            let count = value.parse::<f64>().unwrap_or(0.0) as i64;
            match name {
                "im_edge_frames_accepted_total" => figures.counts.accepted += count,
                "im_edge_frames_vanished_total" => figures.counts.vanished += count,
                "im_edge_publish_batches_total" => figures.counts.batches += count,
                "im_edge_backlog_entered_total" => {
                    let reason = labels.split('"').nth(1).unwrap_or_default().to_owned();
                    *figures.backlogs.entry(reason).or_default() += count;
                }
                _ => {}
            }
        }
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edges_figures_are_read_from_its_metrics() {
        let text = "# HELP im_edge_frames_accepted_total Entries.\n# TYPE im_edge_frames_accepted_total counter\n\
                    im_edge_frames_accepted_total{kind=\"m\"} 12\nim_edge_frames_accepted_total{kind=\"gm\"} 30\n\
                    im_edge_frames_vanished_total 2\nim_edge_publish_batches_total 17\n\
                    im_edge_publish_batch_frames_count 17\nim_edge_backlog_entered_total{reason=\"login\"} 5\n\
                    im_edge_backlog_entered_total{reason=\"gap\"} 1\n";
        let figures = Figures::read(text);
        assert_eq!(figures.counts, Edges { accepted: 42, vanished: 2, batches: 17 });
        assert_eq!(figures.backlogs, BTreeMap::from([("gap".to_owned(), 1), ("login".to_owned(), 5)]));
    }
}
