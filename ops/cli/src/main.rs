//! The `simple-im` command.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use shared::config::Start;
use simple_im::{admin, chaos, chat, doctor, down, load, migrate, ready, restart, trace, up};
use workers::config::{DEFAULT, RULES};

/// Runs and looks after simple-im.
#[derive(Debug, Parser)]
#[command(name = "simple-im", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run private stores, edges and workers under one supervisor.
    Up(up::Options),
    /// End the stack of a data folder, and wait for it.
    Down(down::Options),
    /// End processes of a running stack in order, one after the other, and wait until each is there again.
    Restart(restart::Options),
    /// Bring a database up to this version, with a worker's configuration (IM_POSTGRES__URL, --set, --config).
    Migrate(shared::config::Args),
    /// Ask an edge or a worker whether it is ready: exit code 0 if it is.
    Ready(ready::Options),
    /// Say what is unsafe or will hurt, why, and what to do: stores, kernel, processes. Exit code 0 nothing above a note, 1
    /// warnings, 2 dangers, 3 something could not be looked at.
    Doctor(doctor::Options),
    /// Users, sessions, nodes, and what an operator does to them; by a worker's configuration, every command audited.
    Admin(admin::Options),
    /// Tell one message's road, by its sender's own id: which edge, which worker, each recipient's device, or why not.
    Trace(trace::Options),
    /// Drive a running stack with real clients; prints one JSON line of figures.
    Load(load::Options),
    #[command(flatten)]
    Chat(chat::Command),
    /// Inject faults into a stack of its own under load, and judge what came of it; prints one TOML ledger.
    Chaos(chaos::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        // Before anything is opened or any thread runs.
        Command::Up(ref options) if options.detached => up::cut_loose().and_then(|()| block_on(cli.command)),
        command => block_on(command),
    };
    done.unwrap_or_else(|error| {
        // A closed stderr is no reason to end otherwise.
        drop(writeln!(std::io::stderr(), "simple-im: {error:#}"));
        ExitCode::FAILURE
    })
}

fn block_on(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Up(options) => up::run(options).await,
            Command::Down(options) => down::run(options).await.map(|()| ExitCode::SUCCESS),
            Command::Admin(options) => admin::run(options).await,
            Command::Restart(options) => restart::run(options).await.map(|()| ExitCode::SUCCESS),
            Command::Trace(options) => trace::run(options).await,
            Command::Chat(command) => Ok(chat::run(command).await),
            Command::Chaos(options) => chaos::run(options).await,
            Command::Doctor(options) => doctor::run(options).await,
            Command::Load(options) => {
                let line = load::run(options).await?;
                writeln!(std::io::stdout(), "{line}")?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Migrate(args) => match args.start(DEFAULT, RULES) {
                Start::Run(config) => migrate::run(&config).await.map(|()| ExitCode::SUCCESS),
                Start::Exit(code) => Ok(code),
            },
            Command::Ready(options) => ready::ask(&options.address).await.map(|()| ExitCode::SUCCESS),
        }
    })
}
