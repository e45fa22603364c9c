//! A committer: one PostgreSQL session, the lanes it holds by advisory locks on that session, and one chunk under way.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use shared::{
    subject::Lane,
    telemetry::{Metric, Share},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Pulled, chunk,
    common::Shared,
    finish::{Broken, Finisher},
    ownership, source,
};
use crate::{
    metric::{Metrics, metrics},
    pipeline::{ChunkError, cache::Cache},
    store::{self, Session, StoreError, lanes},
};

/// Batches pulled ahead of the chunk under way, over all lanes of a committer; the pullers wait beyond it.
pub(crate) const PULLED: usize = 64;
/// How long the broker may take to say that it has taken in the last acknowledgements before lanes are let go.
const ACKED: Duration = Duration::from_secs(1);
/// Between two sessions: long enough not to hammer a store that is down, short against a takeover.
const RETRY: Duration = Duration::from_millis(200);

/// A committer during one session.
pub struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Session,
    pub(super) lanes: HashMap<Lane, Owned>,
    pub(super) cache: Cache,
    pub(super) finisher: Arc<Finisher>,
    class: i32,
    offset: usize,
    takings: u64,
    pullers: JoinSet<Ended>,
    into: mpsc::Sender<Pulled>,
    pulled: mpsc::Receiver<Pulled>,
    waiting: Share,
    /// It counts as having a session.
    _serving: Share,
}

/// A lane that this session holds.
#[derive(Debug)]
pub(super) struct Owned {
    /// Which taking; what an earlier one pulled is not processed.
    pub taking: u64,
    /// The stream that `committed` belongs to; empty before the first batch.
    pub stream: Arc<str>,
    /// The newest stream sequence committed.
    pub committed: u64,
    /// Frames beyond it that were committed alone, by a trial that did not come to its end.
    pub alone: HashSet<(u64, i32)>,
    /// What comes next may be what crashed before: nothing of it has been committed since it was taken, or not yet what
    /// a trial has left half done.
    pub probation: bool,
    puller: tokio::task::AbortHandle,
}

struct Ended {
    lane: Lane,
    taking: u64,
    error: Option<source::SourceError>,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionEnd {
    /// PostgreSQL, or what was asked of it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A chunk failed; its lanes are taken anew.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// The broker is away, from here at least: its lanes are free for workers that hear it.
    #[error("nothing was heard of the broker for too long")]
    Deaf,
    /// A frame could not be set aside.
    #[error("a dead frame was not taken by the broker")]
    Dead(#[from] async_nats::jetstream::context::PublishError),
    /// What delivers and acknowledges has crashed.
    #[error(transparent)]
    Finisher(#[from] Broken),
    /// What pulls a lane has crashed: held on to, the lane would stand still.
    #[error("pulling lane {} has crashed", .0.0)]
    Puller(Lane),
}

impl SessionEnd {
    /// Whether the content of a chunk may be to blame.
    fn suspicious(&self) -> bool {
        match self {
            Self::Chunk(error) => !error.passing(),
            Self::Finisher(_) | Self::Puller(_) => true,
            Self::Store(_) | Self::Dead(_) | Self::Deaf => false,
        }
    }
}

/// Runs one committer until shutdown, session after session. `offset` tells it which lanes to try first.
pub async fn run(shared: Arc<Shared>, offset: usize, shutdown: CancellationToken) {
    let mut finisher = Arc::new(Finisher::start(shared.tools.clone()));
    let mut excused: Vec<Lane> = Vec::new();
    while !shutdown.is_cancelled() {
        if shared.tools.deliveries.nodes().is_deaf() {
            let _stopped = shutdown.run_until_cancelled(tokio::time::sleep(RETRY)).await;
            continue;
        }
        if finisher.is_broken() {
            // What it still has goes out before what comes again.
            finisher.idle().await;
            finisher = Arc::new(Finisher::start(shared.tools.clone()));
        }
        let (this, finisher, token) = (shared.clone(), finisher.clone(), shutdown.clone());
        let forgiven = std::mem::take(&mut excused);
        // A task of its own, so that a panic ends the session and not the worker.
        let ended = tokio::spawn(async move {
            let mut committer = match Committer::begin(this, offset, finisher, &forgiven).await {
                Ok(committer) => committer,
                Err(error) => return (Err(SessionEnd::from(error)), forgiven),
            };
            let ended = committer.serve(&token).await;
            let held = committer.lanes.keys().copied().collect();
            (ended, held)
        })
        .await;
        match ended {
            Ok((Ok(()), _)) => break,
            Ok((Err(error), held)) => {
                Metric::WorkerLaneLosses.counter(&[]).increment(held.len() as u64);
                tracing::warn!(error = &error as &dyn std::error::Error, "a committer's session ended");
                if !error.suspicious() {
                    excused = held;
                }
            }
            Err(error) => {
                metrics().chunks_lost.increment(1);
                tracing::error!(%error, "a committer crashed; its lanes are taken anew");
            }
        }
        // Shutdown in the meantime is seen at the top.
        let _stopped = shutdown.run_until_cancelled(tokio::time::sleep(RETRY)).await;
    }
    finisher.idle().await;
}

impl Committer {
    async fn begin(
        shared: Arc<Shared>,
        offset: usize,
        finisher: Arc<Finisher>,
        excused: &[Lane],
    ) -> Result<Self, StoreError> {
        let config = &shared.config;
        let hung = (config.postgres.hung_seconds.get().as_millis()).to_string();
        // A session that says nothing for this long is hung: PostgreSQL ends it, and its lanes are free.
        let settings = [
            ("idle_session_timeout", hung.clone()),
            ("idle_in_transaction_session_timeout", hung),
            ("application_name", format!("simple-im-committer {}", config.worker.name)),
        ];
        let (client, _driven) = store::connect_with(&config.postgres, &settings).await?;
        let class = ownership::lock_class(&config.nats.prefix, &config.postgres.schema);
        let session = Session::new(client);
        ownership::announce(session.client(), class).await?;
        if !excused.is_empty() {
            lanes::excuse(&session, excused).await?;
        }
        let (into, pulled) = mpsc::channel(PULLED);
        Ok(Self {
            lanes: HashMap::new(),
            cache: Cache::default(),
            takings: 0,
            pullers: JoinSet::new(),
            shared,
            session,
            finisher,
            class,
            offset,
            into,
            pulled,
            waiting: Share::of(&metrics().pulled, 0.0),
            _serving: Metrics::one_more(&metrics().committers),
        })
    }

    async fn serve(&mut self, shutdown: &CancellationToken) -> Result<(), SessionEnd> {
        let mut balance = interval(self.shared.config.worker.balance_ms.get());
        balance.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (shared, finisher) = (self.shared.clone(), self.finisher.clone());
        let (mut news, mut last) = (shared.news.clone(), 0);
        news.mark_unchanged();
        // Whoever has more than its share now lets lanes go without waiting for its own time to look.
        self.shared.tell().await;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.leave().await,
                broken = finisher.broken() => return Err(broken.into()),
                Ok(()) = news.changed() => balance.reset_immediately(),
                _ = balance.tick() => {
                    if self.shared.tools.deliveries.nodes().is_deaf() {
                        return Err(SessionEnd::Deaf);
                    }
                    self.balance().await?;
                    // From its end on: where PostgreSQL is as far away as the period is long, the next one would be due
                    // at once, and always before what was pulled.
                    balance.reset();
                }
                Some(ended) = self.pullers.join_next() => self.puller_ended(ended).await?,
                Some(first) = self.pulled.recv() => {
                    let _turn = shared.turn.take(last).await;
                    let batches = self.gather(first);
                    if !batches.is_empty() {
                        last = chunk::process(self, batches, Instant::now()).await?;
                    }
                }
            }
        }
    }

    /// Everything that has gathered, up to a chunk's size, without what an earlier taking left behind.
    fn gather(&mut self, first: Pulled) -> Vec<Pulled> {
        let (mut bytes, limit) = (0, self.shared.config.worker.chunk_bytes);
        let mut batches = Vec::new();
        let mut next = Some(first);
        while let Some(pulled) = next {
            if self.lanes.get(&pulled.lane).is_some_and(|owned| owned.taking == pulled.taking) {
                bytes += pulled.payload.len();
                batches.push(pulled);
            }
            next = if bytes < limit { self.pulled.try_recv().ok() } else { None };
        }
        self.waiting.set(self.pulled.len() as f64);
        batches
    }

    async fn balance(&mut self) -> Result<(), SessionEnd> {
        let locks = self.session.within(ownership::read(self.session.client(), self.class)).await?;
        let moves = locks.moves(self.shared.config.nats.lanes, self.offset);
        for lane in moves.take {
            let begun = Instant::now();
            if self.session.within(ownership::try_take(self.session.client(), self.class, lane)).await? {
                self.pull(lane);
                Metric::WorkerTakeoverSeconds.histogram(&[]).record(begun.elapsed());
                tracing::info!(lane = lane.0, "lane taken");
            }
        }
        if !moves.release.is_empty() {
            self.release(&moves.release).await?;
        }
        Ok(())
    }

    /// Pulls a lane whose lock is held, from what is unacknowledged on.
    fn pull(&mut self, lane: Lane) {
        self.takings += 1;
        // What is remembered of its conversations may have been changed by another owner.
        self.cache.clear();
        let (shared, into, taking) = (self.shared.clone(), self.into.clone(), self.takings);
        let mut losses = self.shared.losses.clone();
        losses.mark_unchanged();
        let puller = self.pullers.spawn(async move {
            let nats = &shared.config.nats;
            let error = tokio::select! {
                done = source::pull(&shared.js, &shared.subjects, nats, (lane, taking), into) => done.err(),
                // Batches that were on their way when the link broke are pending at a consumer that believes them
                // delivered; later ones must not overtake them. Only a new consumer brings them again, in order.
                _ = losses.changed() => None,
            };
            // Here and not where it is noticed: the committer's other lanes go on meanwhile.
            tokio::time::sleep(RETRY).await;
            Ended { lane, taking, error }
        });
        owns(lane, true);
        let (stream, alone) = (Arc::default(), HashSet::new());
        self.lanes.insert(lane, Owned { taking, stream, committed: 0, alone, probation: true, puller });
    }

    /// A puller ends when the broker was lost or another owner recreated the consumer. While the lock is held, and only
    /// then, the lane is pulled again.
    async fn puller_ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) -> Result<(), SessionEnd> {
        let Ended { lane, taking, error } = match ended {
            Ok(ended) => ended,
            Err(error) => {
                // One that was aborted belongs to no lane any more.
                let crashed = self.lanes.iter().find(|(_, owned)| owned.puller.id() == error.id());
                return crashed.map_or(Ok(()), |(lane, _)| Err(SessionEnd::Puller(*lane)));
            }
        };
        if self.lanes.get(&lane).is_none_or(|owned| owned.taking != taking) {
            return Ok(());
        }
        if let Some(error) = error {
            tracing::warn!(
                lane = lane.0,
                error = &error as &dyn std::error::Error,
                "pulling a lane broke off"
            );
        }
        let locks = self.session.within(ownership::read(self.session.client(), self.class)).await?;
        if locks.mine.contains(&lane) {
            self.pull(lane);
        } else {
            self.forget(lane);
        }
        Ok(())
    }

    /// Lets lanes go, once everything committed of them is confirmed and acknowledged.
    async fn release(&mut self, going: &[Lane]) -> Result<(), SessionEnd> {
        for lane in going {
            self.forget(*lane);
        }
        let finisher = self.finisher.clone();
        self.awake(finisher.idle()).await?;
        // What the broker has not taken in by then, the lane's next owner gets again and answers a second time.
        let acked = self.shared.acked();
        if !matches!(self.awake(timeout(ACKED, acked)).await?, Ok(Ok(()))) {
            tracing::warn!(
                "the broker did not say that it has the last acknowledgements: some frames may come again"
            );
        }
        for lane in going {
            self.session.within(ownership::release(self.session.client(), self.class, *lane)).await?;
            tracing::info!(lane = lane.0, "lane released");
        }
        self.shared.tell().await;
        Ok(())
    }

    /// Waits for something that may take long, with a sign of life towards PostgreSQL meanwhile.
    ///
    /// # Errors
    /// PostgreSQL's; [`SessionEnd::Deaf`] where it waits for confirmations that cannot come.
    pub(super) async fn awake<T>(&self, work: impl Future<Output = T>) -> Result<T, SessionEnd> {
        let mut signs = interval(self.shared.config.worker.balance_ms.get());
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                _ = signs.tick() => {
                    if self.shared.tools.deliveries.nodes().is_deaf() {
                        return Err(SessionEnd::Deaf);
                    }
                    drop(self.session.query("SELECT 1", &[]).await?);
                }
            }
        }
    }

    fn forget(&mut self, lane: Lane) {
        if let Some(owned) = self.lanes.remove(&lane) {
            owned.puller.abort();
            owns(lane, false);
        }
    }

    async fn leave(&mut self) -> Result<(), SessionEnd> {
        self.session.within(ownership::renounce(self.session.client(), self.class)).await?;
        let held: Vec<Lane> = self.lanes.keys().copied().collect();
        self.release(&held).await
    }
}

/// What is not owned any more, its next owner counts.
fn owns(lane: Lane, owned: bool) {
    let lane = lane.0.to_string();
    Metric::WorkerLaneOwned.gauge(&[("lane", &lane)]).set(f64::from(u8::from(owned)));
    if !owned {
        Metric::WorkerLaneWaiting.gauge(&[("lane", &lane)]).set(0.0);
        Metric::WorkerLaneUnacked.gauge(&[("lane", &lane)]).set(0.0);
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        for lane in self.lanes.keys() {
            owns(*lane, false);
        }
    }
}
