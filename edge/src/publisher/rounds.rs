//! When lanes publish: together, in rounds.
//!
//! A round takes what every lane holds and has not under way. The next one begins once the round is confirmed, at once
//! where something waits: an idle node holds nothing back. A wake-up costs the edge, the broker and the worker far more
//! than the frame for which they wake, so lanes that leave together cost less than one after the other; and where
//! frames come fast, a round rests a little before the next, for which more gathers then (ADR 0012). A lane that the
//! broker keeps waiting holds the others up no longer than [`PATIENCE`], and no batch overtakes another of its lane.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{
    StreamExt,
    future::{BoxFuture, FutureExt},
    stream::FuturesUnordered,
};
use tokio::{
    sync::Notify,
    time::{Instant, Sleep, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    gate::Gate,
    lane::{LaneQueue, Sent},
};

/// Frames in a round from which on the next one rests. With a rest of 3 ms that is kept up by some 5,000 a second, below
/// which what gathers would not be worth the wait.
pub const FULL: usize = 16;
/// How long a round waits for the last of its lanes.
const PATIENCE: Duration = Duration::from_millis(20);

/// All lanes' turns.
pub struct Rounds {
    lanes: Arc<[Arc<LaneQueue>]>,
    gate: Arc<Gate>,
    /// From the begin of a full round to the next, at least.
    rest: Duration,
    /// A lane has taken a frame.
    work: Arc<Notify>,
}

/// What is under way.
struct Flight<'a> {
    batches: FuturesUnordered<BoxFuture<'a, Landed>>,
    /// How far each lane is; `None` while a batch of it is under way.
    idle: Vec<Option<Sent>>,
    round: u64,
    /// Batches of the last round that are not confirmed.
    open: usize,
}

struct Landed {
    lane: usize,
    sent: Sent,
    round: u64,
}

impl Rounds {
    /// Of these lanes, each of which tells `work` of every frame.
    pub fn new(lanes: Arc<[Arc<LaneQueue>]>, gate: Arc<Gate>, rest: Duration, work: Arc<Notify>) -> Self {
        Self { lanes, gate, rest, work }
    }

    /// Publishes until `ending`, then what is left, and ends.
    pub async fn run(self, ending: CancellationToken) {
        let idle = self.lanes.iter().map(|_| Some(Sent::default())).collect();
        let mut late = Alarm(Box::pin(sleep(PATIENCE)));
        let mut flight = Flight { batches: FuturesUnordered::new(), idle, round: 0, open: 0 };
        loop {
            let begun = Instant::now();
            let frames = self.begin(&mut flight);
            if flight.open > 0 {
                // Either way: a lane that is late goes on by itself, and a rest only ends by its time.
                tokio::select! {
                    biased;
                    () = flight.confirmed() => {}
                    () = late.at(begun + PATIENCE) => {}
                }
                if frames >= FULL && !ending.is_cancelled() {
                    timeout_at(begun + self.rest, flight.landing()).await.ok();
                }
                continue;
            }
            // Nothing waits, but in lanes whose last batch is late.
            if ending.is_cancelled() && flight.batches.is_empty() {
                return;
            }
            tokio::select! {
                () = flight.land() => {}
                () = self.work.notified() => {}
                () = ending.cancelled(), if !ending.is_cancelled() => {}
            }
        }
    }

    /// Sends off what lanes hold; returns how many frames.
    fn begin<'a>(&'a self, flight: &mut Flight<'a>) -> usize {
        let mut frames = 0;
        flight.round += 1;
        flight.open = 0;
        for (lane, (queue, idle)) in self.lanes.iter().zip(&mut flight.idle).enumerate() {
            let Some(mut sent) = idle.take() else { continue };
            let Some((batch, stream)) = queue.next() else {
                *idle = Some(sent);
                continue;
            };
            frames += batch.frames();
            flight.open += 1;
            let round = flight.round;
            let publishing = async move {
                queue.publish(&self.gate, (batch, stream), &mut sent).await;
                Landed { lane, sent, round }
            };
            flight.batches.push(publishing.boxed());
        }
        frames
    }
}

/// For deadlines that seldom come. Setting a timer may wake the runtime's driver, so this one is set anew only where it
/// has rung or would ring too late.
struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    async fn at(&mut self, due: Instant) {
        while Instant::now() < due {
            if self.0.is_elapsed() || self.0.deadline() > due {
                self.0.as_mut().reset(due);
            }
            self.0.as_mut().await;
        }
    }
}

impl Flight<'_> {
    /// Until every batch of the last round is confirmed.
    async fn confirmed(&mut self) {
        while self.open > 0 {
            self.land().await;
        }
    }

    /// For ever.
    async fn landing(&mut self) {
        loop {
            self.land().await;
        }
    }

    /// Waits for a batch to be done with; for ever where none is under way.
    async fn land(&mut self) {
        let Some(Landed { lane, sent, round }) = self.batches.next().await else {
            return std::future::pending().await;
        };
        self.idle[lane] = Some(sent);
        if round == self.round {
            self.open -= 1;
        }
    }
}
