//! The edge process: configuration, telemetry, run, drain.

use std::process::ExitCode;

use clap::Parser;
use edge::config::{DEFAULT, EdgeConfig, RULES};
use shared::{
    config::{Args, Start},
    telemetry,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

// By measure: ops/docs/adr/0006-jemalloc-in-edge-and-worker.md.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let config: EdgeConfig = match Args::parse().serve(DEFAULT, RULES, "edge.published_on") {
        Start::Run(config) => config,
        Start::Exit(code) => return code,
    };
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: EdgeConfig) -> anyhow::Result<()> {
    telemetry::init_log(&config.log)?;
    telemetry::install(telemetry::Part::Edge)?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let running = edge::start(config, CancellationToken::new()).await?;
    let reloads = async {
        while hangup.recv().await.is_some() {
            let tls = running.reload();
            tracing::info!(tls, "SIGHUP: the certificate is read again, if there is one");
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        // An operator's word.
        () = running.drain.begun() => {}
        () = reloads => {}
        // Not drained: sessions continue elsewhere sooner, and workers do not wait for confirmations meanwhile.
        task = running.ended_unasked() => {
            anyhow::bail!("expected the {task} task to run until the shutdown, found it ended; this process ends, to be started again")
        }
    }
    running.drain.begin("a signal");
    for straggler in running.join().await.stragglers {
        tracing::warn!(straggler, "did not end in time");
    }
    Ok(())
}
