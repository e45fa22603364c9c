//! A whole worker: connects, migrates, and runs its committers and calls until shutdown.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use futures::StreamExt;
use shared::{
    nats::Door,
    subject::Subjects,
    telemetry::{self, Metric, Readiness},
    trace::{self, Question, export},
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    config::WorkerConfig,
    delivery::{Deliveries, confirm::Confirmations},
    directory::Directory,
    lane::{committer, common::Shared, finish::Tools, source, turn::Turn},
    metric,
    nodes::Nodes,
    observe::Observer,
    rpc,
    store::{self, Pool},
    trace::{Spans, Trace},
};

/// Between two tries to reach a store that is down at the start.
const RETRY: Duration = Duration::from_millis(500);
/// How long the broker may take to be given what was said last.
const FLUSH: Duration = Duration::from_secs(1);

/// Runs a worker. Returns when `shutdown` is cancelled and everything under way is done or given up.
///
/// # Errors
/// What no retry can mend: a port that is taken, settings that cannot be used, a schema of a newer version.
pub async fn serve(config: WorkerConfig, shutdown: CancellationToken) -> anyhow::Result<()> {
    metric::limits(&config);
    let listener = TcpListener::bind(&config.worker.metrics)
        .await
        .with_context(|| format!("[worker] metrics: cannot listen on {}", config.worker.metrics))?;
    let metrics = listener.local_addr()?.to_string();
    let deadline = config.worker.drain_seconds.get();
    let readiness = Readiness::new();
    let mut tasks = JoinSet::new();
    // The metrics server outlives the drain, so that the drain can be watched.
    let watched = CancellationToken::new();
    let mut figures = tokio::spawn(telemetry::serve(listener, readiness.clone(), watched.clone()));
    // And so does what knows who lives and who was passed by: the drain still delivers.
    let mut ears = JoinSet::new();

    let begin = start(config, &readiness, (&shutdown, &mut tasks), (&watched, &mut ears));
    let started = shutdown.run_until_cancelled(begin).await;
    let mut broker = None;
    if let Some(started) = started {
        let (nats, ready_file) = started?;
        broker = Some(nats);
        telemetry::write_ready_file(&ready_file, &[("metrics", &metrics)])?;
        tracing::info!(%metrics, "worker serves");
        tokio::select! {
            // Looked at first: once it is cancelled the parts end by themselves, and may have ended already.
            biased;
            () = shutdown.cancelled() => {}
            // Nothing ends by itself; if something does, the supervisor starts the process anew.
            Some(ended) = tasks.join_next() => {
                shutdown.cancel();
                anyhow::bail!("a part of the worker ended: {:?}", ended);
            }
            Some(ended) = ears.join_next() => {
                shutdown.cancel();
                anyhow::bail!("a part of the worker ended: {:?}", ended);
            }
            ended = &mut figures => {
                shutdown.cancel();
                anyhow::bail!("the metrics listener ended: {:?}", ended);
            }
        }
    }
    drain(&readiness, &mut tasks, deadline).await;
    watched.cancel();
    while ears.join_next().await.is_some() {}
    // Acknowledgements and answers that are still in the client.
    if let Some(nats) = broker
        && !matches!(tokio::time::timeout(FLUSH, nats.flush()).await, Ok(Ok(())))
    {
        tracing::warn!("the broker was not given what was said last: some frames may be processed again");
    }
    if let Err(error) = figures.await {
        tracing::warn!(%error, "the metrics listener has not ended as it should");
    }
    Ok(())
}

/// Waits until everything has ended, in time; names what has not.
async fn drain(readiness: &Readiness, tasks: &mut Parts, deadline: Duration) {
    readiness.condition("drain").unmet("expected a worker that takes lanes, found it draining");
    let begun = Instant::now();
    let ended = async {
        while let Some(ended) = tasks.join_next().await {
            if let Ok((name, Some(error))) = ended {
                tracing::warn!(part = name, error, "did not end in order");
            }
        }
    };
    match tokio::time::timeout(deadline, ended).await {
        Ok(()) => tracing::info!(took = ?begun.elapsed(), "drained"),
        Err(_) => {
            Metric::WorkerDrainsCutOff.counter(&[]).increment(1);
            let left = tasks.len();
            tracing::warn!(
                left,
                "the drain took longer than {deadline:?}: {left} parts are given up; other workers process what is unacknowledged"
            );
        }
    }
}

async fn named<E: std::fmt::Display>(
    name: &'static str,
    work: impl Future<Output = Result<(), E>>,
) -> (&'static str, Option<String>) {
    (name, work.await.err().map(|error| error.to_string()))
}

type Parts = JoinSet<(&'static str, Option<String>)>;

/// Brings everything up: what ends with `shutdown`, and what ends after that with `ended`. Gives back the broker, and
/// where the ready file goes.
async fn start(
    config: WorkerConfig,
    readiness: &Readiness,
    (shutdown, tasks): (&CancellationToken, &mut Parts),
    (ended, ears): (&CancellationToken, &mut Parts),
) -> anyhow::Result<(async_nats::Client, String)> {
    let (postgres_up, nats_up) = (readiness.condition("postgres"), readiness.condition("nats"));
    migrate(&config, &postgres_up).await?;
    let pool = Pool::new(&config.postgres)?;
    postgres_up.met();

    let subjects = Subjects::new(&config.nats.prefix);
    let (lost, losses) = watch::channel(0);
    let nats = connect(&config, readiness, lost).await?;
    let js = source::context(nats.clone());
    loop {
        match source::streams(&js, &subjects, &config.nats).await {
            Ok(_) => break,
            Err(error @ source::SourceError::Lanes { .. }) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the streams are not there yet");
                nats_up.unmet(error.to_string());
                sleep(RETRY).await;
            }
        }
    }
    nats_up.met();

    let nodes = Nodes::new(config.worker.node_dead_ms.get());
    let directory = Directory::new(&config).context("[redis]")?;
    let confirmations = Confirmations::open(nats.clone()).await?;
    let deliveries = Deliveries::new(
        confirmations,
        subjects.clone(),
        nodes.clone(),
        config.worker.confirm_ms.get(),
        losses.clone(),
    );

    let (keeper, live) = (directory.clone(), nodes.clone());
    let token = shutdown.clone();
    tasks.spawn(async move {
        keeper.run(move || live.live(), token).await;
        ("directory", None)
    });
    let (heard, epochs) = (nodes.clone(), directory.clone());
    let epoch = move || epochs.epoch();
    let listening = heard.listen(nats.clone(), subjects.clone(), epoch, shutdown.clone(), ended.clone());
    ears.spawn(named("heartbeats", listening));

    let mending = deliveries.clone().mend(config.worker.node_dead_ms.get() / 4, ended.clone());
    ears.spawn(async move {
        mending.await;
        ("repairs", None)
    });

    let (told, news) = watch::channel(());
    tasks.spawn(named("lanes", listen_for_lanes(nats.clone(), subjects.clone(), told, shutdown.clone())));
    let observer = Observer {
        js: js.clone(),
        subjects: subjects.clone(),
        pool: pool.clone(),
        directory: directory.clone(),
    };
    let observing = observer.run(ended.clone());
    ears.spawn(async move {
        observing.await;
        ("observer", None)
    });

    let keep_below = usize::try_from(config.group.cache_offline_below).unwrap_or(usize::MAX);
    let trace = Trace::new(&config.worker.name, &config.trace);
    let (traced, name) = (trace.clone(), config.worker.name.clone());
    let asked = async move |question: Question| traced.answer(&question, &name).await;
    let answering = trace::answer(nats.clone(), subjects.clone(), asked, ended.clone());
    ears.spawn(async move {
        answering.await;
        ("trace", None)
    });
    let whose = ("worker", config.worker.name.clone());
    let exporting = export::run(config.trace.clone(), whose, Spans::new(trace.clone()), ended.clone());
    ears.spawn(async move {
        exporting.await;
        ("spans", None)
    });
    let tools = Tools { deliveries: deliveries.clone(), directory: directory.clone(), keep_below, trace };
    let shared = Arc::new(Shared {
        config: config.clone(),
        js,
        losses,
        subjects: subjects.clone(),
        tools,
        news,
        turn: Turn::default(),
    });
    for number in 0..config.worker.committers {
        let offset = usize::try_from(std::process::id()).unwrap_or(0) + number * 3;
        let (shared, token, nodes) = (shared.clone(), shutdown.clone(), nodes.clone());
        tasks.spawn(async move {
            if token.run_until_cancelled(nodes.acquainted()).await.is_some() {
                committer::run(shared, offset, token).await;
            }
            ("committer", None)
        });
    }
    let desk = rpc::Desk { pool, directory, deliveries, nodes, config: Arc::new(config.clone()) };
    tasks.spawn(named("calls", rpc::serve(nats.clone(), subjects, desk, shutdown.clone())));
    Ok((nats, config.worker.ready_file))
}

/// Hears of lanes that have been let go.
async fn listen_for_lanes(
    nats: async_nats::Client,
    subjects: Subjects,
    told: watch::Sender<()>,
    shutdown: CancellationToken,
) -> Result<(), async_nats::SubscribeError> {
    let mut words = nats.subscribe(subjects.lanes()).await?;
    while let Some(Some(_)) = shutdown.run_until_cancelled(words.next()).await {
        told.send_replace(());
    }
    Ok(())
}

async fn migrate(config: &WorkerConfig, up: &telemetry::Condition) -> anyhow::Result<()> {
    loop {
        match store::migrate(&config.postgres).await {
            Ok(applied) => {
                for one in applied {
                    tracing::info!(migration = ?one, "migration applied");
                }
                return Ok(());
            }
            Err(error) if error.retry() => {
                Metric::WorkerStoreErrors.counter(&[]).increment(1);
                tracing::warn!(error = &error as &dyn std::error::Error, "PostgreSQL is not there yet");
                up.unmet(error.to_string());
                sleep(RETRY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn connect(
    config: &WorkerConfig,
    readiness: &Readiness,
    lost: watch::Sender<u64>,
) -> anyhow::Result<async_nats::Client> {
    let connected = readiness.condition("broker");
    let door = Door::new(&config.nats.way).context("[nats]")?;
    let options = door
        .options()
        .name(format!("worker {}", config.worker.name))
        .retry_on_initial_connect()
        .max_reconnects(None)
        // The client's own pauses grow to 4 s, in which a broker that is back finds no worker.
        .reconnect_delay_callback(|tries| {
            Duration::from_millis(u64::try_from(tries).unwrap_or(u64::MAX).saturating_mul(20).min(1000))
        })
        .ping_interval(Duration::from_secs(2))
        .subscription_capacity(65_536)
        .event_callback(move |event| {
            let (connected, lost) = (connected.clone(), lost.clone());
            async move {
                match event {
                    async_nats::Event::Connected => connected.met(),
                    async_nats::Event::Disconnected => {
                        connected.unmet("NATS is not connected");
                        lost.send_modify(|losses| *losses += 1);
                    }
                    other => tracing::warn!(event = %other, "NATS"),
                }
            }
        });
    Ok(options.connect(door.server().clone()).await?)
}
