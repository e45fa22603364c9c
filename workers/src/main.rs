//! The worker process: configuration, telemetry, run, drain.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use shared::{
    config::{Args, Start},
    telemetry,
};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use workers::config::{DEFAULT, RULES, WorkerConfig};

// By measure: ops/docs/adr/0006-jemalloc-in-edge-and-worker.md.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let config: WorkerConfig = match Args::parse().serve(DEFAULT, RULES, "worker.published_on") {
        Start::Run(config) => config,
        Start::Exit(code) => return code,
    };
    match start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(config: WorkerConfig) -> anyhow::Result<()> {
    telemetry::init_log(&config.log)?;
    telemetry::install(telemetry::Part::Worker)?;
    // By measure: ops/docs/adr/0014-a-worker-is-one-thread.md.
    let mut threads = runtime::Builder::new_multi_thread();
    let threads = threads.worker_threads(config.worker.threads).enable_all().build();
    threads.context("the worker's threads cannot be started")?.block_on(run(config))
}

async fn run(config: WorkerConfig) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let token = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        tracing::info!("asked to stop: the running chunk is finished, then the lanes are released");
        token.cancel();
    });
    workers::serve::serve(config, shutdown).await
}
