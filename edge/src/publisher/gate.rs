//! The gate before the stream: nothing is published before it is known to be the one that the sessions' earlier frames
//! went to.
//!
//! A stream that was wiped (JetStream's directory removed, the stream deleted and made again) has lost frames that were
//! not yet committed. Their clients send them again, but not at once: what else they sent meanwhile would overtake them
//! in the new stream. So when another stream is found, whatever waits is dropped and every session is ended, which makes
//! its client send everything unanswered again, in order; and only sessions that begin after that may publish.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    lane::{self, LaneQueue},
    sink::{Found, Sink, Way},
};
use crate::{backoff::Backoff, metric::Metrics, registry::Registry};

/// One for all lanes: what one of them learns, all know.
pub struct Gate {
    sink: Arc<dyn Sink>,
    lanes: Arc<[Arc<LaneQueue>]>,
    registry: Arc<Registry>,
    metrics: Metrics,
    timeout: Duration,
    known: Mutex<Known>,
    /// Held by the one that looks.
    looking: tokio::sync::Mutex<()>,
    /// Look-ups begun; a look-up's number is what this then is.
    begun: AtomicU64,
    /// What this look-up has found, or an earlier one, must be looked at again.
    doubted: AtomicU64,
}

/// The stream that was found last.
#[derive(Default)]
struct Known {
    /// When it was made.
    created: Option<i128>,
    /// Its number: what sessions that may publish into it have begun with.
    number: u32,
    /// The way into it, and the look-up that has found it.
    way: Option<(u64, Arc<dyn Way>)>,
    /// The highest place confirmed in it: one that has not got so far is not the same.
    reached: u64,
    /// It has given a place twice, so it is not the same any more, and nobody has noticed.
    turned_back: bool,
}

/// Leave to publish: for frames of sessions that began with this stream.
#[derive(Clone)]
pub struct Open {
    /// The stream's number: 0 for the first that this node has seen.
    pub stream: u32,
    /// The way into it.
    pub way: Arc<dyn Way>,
}

impl Gate {
    /// Nothing is known yet.
    pub fn new(
        sink: Arc<dyn Sink>,
        lanes: Arc<[Arc<LaneQueue>]>,
        registry: Arc<Registry>,
        metrics: Metrics,
        timeout: Duration,
    ) -> Self {
        Self {
            sink,
            lanes,
            registry,
            metrics,
            timeout,
            known: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            begun: AtomicU64::new(0),
            doubted: AtomicU64::new(0),
        }
    }

    /// Waits until it is known which stream there is; at once if nothing speaks against what was found last. Of all that
    /// wait one looks.
    pub async fn open(&self) -> Open {
        if let Some(open) = self.standing() {
            return open;
        }
        let _one = self.looking.lock().await;
        if let Some(open) = self.standing() {
            return open;
        }
        let (mut backoff, mut failed) = (Backoff::new(FIRST_PAUSE, LONGEST_PAUSE), 0_u32);
        loop {
            let look_up = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
            // Before it is asked: what is confirmed meanwhile may be newer than the answer.
            let reached = self.known().reached;
            match self.sink.find(self.timeout).await {
                Ok(found) => {
                    if failed >= 3 {
                        tracing::info!(failed, "the broker's stream is there again");
                    }
                    return self.found(look_up, found, reached);
                }
                Err(reason) => {
                    failed += 1;
                    // Once at the start of an outage, not once a try.
                    if failed == 3 {
                        tracing::warn!(reason, "the broker's stream cannot be found; trying on");
                    }
                }
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Something went wrong on the way to the stream: it is looked at again before anything more goes there.
    pub fn doubt(&self, open: &Open) {
        // With its connection lost it is looked at again in any case, once for all lanes.
        if !open.way.is_lost() {
            self.doubted.fetch_max(self.begun.load(Ordering::Acquire), Ordering::AcqRel);
        }
    }

    /// A batch has been given this place; `before` is that of the batch which its lane published before it into the same
    /// stream. Places only grow: where they do not, the stream was made anew unnoticed.
    pub fn confirmed(&self, open: &Open, place: u64, before: u64) {
        let mut known = self.known();
        // A confirmation can be late: another lane has found out meanwhile.
        if known.number != open.stream {
            return;
        }
        if place > before {
            known.reached = known.reached.max(place);
            return;
        }
        known.turned_back = true;
        drop(known);
        self.doubt(open);
    }

    /// Looks as soon as a connection was lost, so that clients need not wait for their own patience to end.
    pub async fn watch(self: Arc<Self>, ending: CancellationToken) {
        let watching = async {
            loop {
                self.open().await.way.lost().await;
            }
        };
        tokio::select! {
            () = watching => {}
            () = ending.cancelled() => {}
        }
    }

    /// What was found last, if nothing speaks against it.
    fn standing(&self) -> Option<Open> {
        let known = self.known();
        let (look_up, way) = known.way.as_ref()?;
        let stands = *look_up > self.doubted.load(Ordering::Acquire) && !way.is_lost();
        stands.then(|| Open { stream: known.number, way: way.clone() })
    }

    fn found(&self, look_up: u64, found: Found, reached: u64) -> Open {
        let Found { created, last_sequence, way } = found;
        let known = self.known();
        // The first one that this node sees is nobody's second.
        let wiped = known.created.is_some_and(|before| before != created)
            || last_sequence < reached
            || known.turned_back;
        let same = known.number;
        drop(known);
        let number = if wiped { self.wiped() } else { same };
        let mut known = self.known();
        if wiped {
            *known = Known { number, ..Known::default() };
        }
        known.created = Some(created);
        known.way = Some((look_up, way.clone()));
        Open { stream: number, way }
    }

    /// Another stream: when this returns its number, no frame of an earlier session waits or can be added.
    fn wiped(&self) -> u32 {
        let (stream, frames) = lane::begin(&self.lanes, || self.registry.next_stream());
        let sessions = self.registry.end_older(stream);
        self.metrics.streams_wiped.increment(1);
        tracing::warn!(
            frames,
            sessions,
            "the broker's stream is another one than before: waiting frames are dropped and all sessions ended, so \
             that their clients send again"
        );
        stream
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
