//! Accepted frames on their way to the broker: one ordered queue a lane.
//!
//! What has gathered for a lane while its last publish was under way goes out as one broker message; idle, a frame leaves
//! at once. Lanes leave together, in rounds, and only rounds of many frames rest before the next (`publisher.rest_ms`).
//! Capacity: `publisher.queue_frames` a lane; when full the session keeps its frame and is not read.
//!
//! | module | holds |
//! |---|---|
//! | [`batch`] | the queue of one lane as batches, without I/O |
//! | [`lane`] | how one is published until the broker confirms it |
//! | [`rounds`] | when lanes publish |
//! | [`pressure`] | whether the broker takes them |
//! | [`gate`] | whether the stream is the one that earlier frames went to, and what follows when it is not |
//! | [`sink`] | the stream, one publish and its confirmation: JetStream in earnest, a fake in tests |

pub mod batch;
pub mod gate;
pub mod lane;
pub mod pressure;
pub mod rounds;
pub mod sink;

use std::{sync::Arc, time::Duration};

use shared::{
    ids::NodeId,
    message::Accepted,
    subject::{Lane, Subjects},
};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{gate::Gate, lane::LaneQueue, rounds::Rounds, sink::Sink};
use crate::{
    metric::Metrics, outbox::Outbox, registry::Registry, session::Stamped, trace::Trace, vital::Vital,
};

/// Every lane's queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Publisher {
    lanes: Arc<[Arc<LaneQueue>]>,
    tasks: TaskTracker,
    ending: CancellationToken,
}

/// How a publisher works.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Lanes of the stream.
    pub lanes: u16,
    /// The longest batch, bytes.
    pub batch_bytes: usize,
    /// Frames that wait in a lane.
    pub queue_frames: usize,
    /// From the begin of a round of many frames to the next, at least.
    pub rest: Duration,
    /// How long the broker may take to confirm a batch.
    pub timeout: Duration,
    /// A session waits while this many of its frames are not confirmed.
    pub unpublished: usize,
}

impl Publisher {
    /// Starts publishing. When the stream is found to be another one, the sessions in `registry` end.
    pub fn start(
        sink: Arc<dyn Sink>,
        registry: Arc<Registry>,
        subjects: &Subjects,
        node: &NodeId,
        settings: Settings,
        (metrics, trace): (&Metrics, &Trace),
        vital: &Vital,
    ) -> Self {
        let (tasks, ending) = (TaskTracker::new(), CancellationToken::new());
        let work = Arc::new(Notify::new());
        let lanes: Arc<[_]> = (0..settings.lanes)
            .map(|lane| {
                Arc::new(LaneQueue::new(
                    Lane(lane),
                    subjects.clone(),
                    node.clone(),
                    settings,
                    (metrics.clone(), trace.clone()),
                    work.clone(),
                ))
            })
            .collect();
        let gate = Arc::new(Gate::new(sink, lanes.clone(), registry, metrics.clone(), settings.timeout));
        let rounds = Rounds::new(lanes.clone(), gate.clone(), settings.rest, work);
        tasks.spawn(vital.clone().task("publisher", gate.watch(ending.clone())));
        tasks.spawn(vital.clone().task("publisher", rounds.run(ending.clone())));
        tasks.close();
        Self { lanes, tasks, ending }
    }

    /// Takes a frame. False: its lane is full; the session will be woken when there is room, and tries again. A frame of
    /// a session that began with an earlier stream is dropped and its session ended.
    pub fn take(&self, frame: &Stamped, session: &Arc<Outbox>) -> bool {
        let frame: &Accepted = frame.frame();
        let lane = frame.lane(u16::try_from(self.lanes.len()).unwrap_or(u16::MAX));
        self.lanes[usize::from(lane.0)].take(frame, session)
    }

    /// Whether the broker has refused a lane's batch for longer than a moment: its stream is full, or it is away.
    pub fn is_held_up(&self) -> bool {
        self.lanes.iter().any(|lane| lane.pressure().is_high())
    }

    /// Publishes what is queued, takes no more, and ends. Returns the lanes that did not finish in time, with the
    /// frames they still hold.
    pub async fn drain(&self, deadline: Duration) -> Vec<(Lane, usize)> {
        self.ending.cancel();
        match tokio::time::timeout(deadline, self.tasks.wait()).await {
            Ok(()) => Vec::new(),
            Err(_) => self
                .lanes
                .iter()
                .map(|lane| (lane.lane(), lane.waiting()))
                .filter(|(_, held)| *held > 0)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
