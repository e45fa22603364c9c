//! Processes that end and begin again.

use super::{System, setting};
use crate::harness::{SOON, eventually};

impl System {
    /// Drains an edge and starts it again, on other ports.
    pub async fn restart_edge(&mut self, edge: usize) {
        self.remember_accepted(edge).await;
        self.edges[edge].stop().await;
        self.start_edge(edge).await;
    }

    /// The same under traffic: what it accepts until its end is in no count.
    pub async fn roll_edge(&mut self, edge: usize) {
        self.edge_killed = true;
        self.edges[edge].stop().await;
        self.start_edge(edge).await;
    }

    /// Kills an edge and leaves it dead.
    pub async fn kill_edge(&mut self, edge: usize) {
        self.edge_killed = true;
        self.edges[edge].kill().await;
    }

    /// Waits until every worker counts so many edges alive: each finds out by itself.
    pub async fn workers_count(&self, edges: usize) {
        for worker in &self.workers {
            eventually(SOON, async || match worker.metric("im_worker_nodes").await {
                alive if alive == edges as f64 => Ok(()),
                alive => Err(format!("a worker counts {alive} edges alive, expected {edges}")),
            })
            .await;
        }
    }

    /// Drains an edge and leaves it stopped.
    pub async fn stop_edge(&mut self, edge: usize) {
        self.remember_accepted(edge).await;
        self.edges[edge].stop().await;
    }

    /// Starts an edge that was killed or stopped.
    pub async fn start_edge(&mut self, edge: usize) {
        let process = &mut self.edges[edge];
        process.launch().expect("the edge can be started again");
        process.listening().await;
        process.ready().await;
    }

    /// Drains a worker and starts it again.
    pub async fn restart_worker(&mut self, worker: usize) {
        self.workers[worker].stop().await;
        self.start_worker(worker).await;
    }

    /// Kills a worker and leaves it dead.
    pub async fn kill_worker(&mut self, worker: usize) {
        self.workers[worker].kill().await;
    }

    /// Starts a worker that was killed.
    pub async fn start_worker(&mut self, worker: usize) {
        let process = &mut self.workers[worker];
        process.launch().expect("the worker can be started again");
        process.listening().await;
        process.ready().await;
    }

    /// Stops every process and starts every process.
    pub async fn restart_all(&mut self) {
        self.stop_all().await;
        self.start_all().await;
    }

    /// Stops every edge.
    pub async fn stop_edges(&mut self) {
        for edge in 0..self.edges.len() {
            self.stop_edge(edge).await;
        }
    }

    /// Stops every process.
    pub async fn stop_all(&mut self) {
        for edge in 0..self.edges.len() {
            self.remember_accepted(edge).await;
        }
        for process in self.edges.iter_mut().chain(&mut self.workers) {
            process.stop().await;
        }
    }

    /// Starts every process.
    pub async fn start_all(&mut self) {
        self.launch_all().await.expect("every process can be started again");
    }

    /// Gives every process another number of lanes at its next start.
    pub fn configure_lanes(&mut self, lanes: u16) {
        let (key, value) = setting("nats.lanes", lanes);
        for process in self.edges.iter_mut().chain(&mut self.workers) {
            process.set(&key, Some(value.clone()));
        }
        self.stores.lanes = lanes;
    }
}
