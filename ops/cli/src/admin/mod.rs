//! `simple-im admin`: what operators do to a running system, each command with its line in table `audit`.
//!
//! It reads a worker's configuration (IM_POSTGRES__URL and the like) and talks to the stores itself; edges are told over
//! the broker (`shared::control`). It needs no worker.
//!
//! | module | holds |
//! |---|---|
//! | [`desk`] | the connections, and the audit around each command |
//! | [`users`], [`sessions`], [`nodes`], [`lanes`], [`dead`], [`retention`], [`restore`] | the commands |
//! | [`tell`] | telling edges |
//! | [`table`] | rows for people |

mod dead;
mod desk;
mod lanes;
mod nodes;
mod restore;
mod retention;
mod sessions;
mod table;
mod tell;
mod users;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use shared::config::Start;
use workers::{
    config::{DEFAULT, RULES, WorkerConfig},
    store::admin::audit,
};

use self::{desk::Desk, table::Table};
use crate::record::Stack;

/// What `simple-im admin` takes.
#[derive(Debug, Args)]
pub struct Options {
    /// The data folder of a stack of `simple-im up`: its stores, with their passwords.
    #[arg(long, value_name = "DIR", global = true)]
    stack: Option<PathBuf>,
    #[command(flatten)]
    config: shared::config::Args,
    /// Who you are, for the audit, beside the operating system's user.
    #[arg(long = "as", value_name = "NAME", global = true)]
    said: Option<String>,
    /// One JSON object on stdout: the command, its number in the audit, whether it was done, the result, rows.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Accounts: list, create, disable, enable, reset-password.
    #[command(subcommand)]
    Users(users::Command),
    /// Tokens and connections of a user: list, revoke, kick.
    #[command(subcommand)]
    Sessions(sessions::Command),
    /// Edges: list, drain.
    #[command(subcommand)]
    Nodes(nodes::Command),
    /// Lanes: list, and changing their number.
    #[command(subcommand)]
    Lanes(lanes::Command),
    /// Frames that were set aside: list, show, replay, drop.
    #[command(subcommand)]
    Dead(dead::Command),
    /// Remove old messages; every conversation keeps its newest.
    Retention(retention::Options),
    /// After a backup was restored, before workers start: no number that clients have seen is given again.
    AfterRestore(restore::Options),
    /// Who did what, the newest last.
    Audit {
        /// How many lines.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        /// Only lines with a lower number.
        #[arg(long, value_name = "ID")]
        before: Option<i64>,
    },
}

/// Runs one command.
///
/// # Errors
/// What stood in its way; the audit has it too, if PostgreSQL could be reached.
pub async fn run(options: Options) -> Result<std::process::ExitCode> {
    let config = Stack::over(options.config, options.stack.as_deref())?;
    let config: WorkerConfig = match config.start(DEFAULT, RULES) {
        Start::Run(config) => config,
        Start::Exit(code) => return Ok(code),
    };
    let desk = Desk::open(config, options.said, options.json).await?;
    match options.command {
        Command::Users(command) => users::run(&desk, command).await,
        Command::Sessions(command) => sessions::run(&desk, command).await,
        Command::Nodes(command) => nodes::run(&desk, command).await,
        Command::Lanes(command) => lanes::run(&desk, command).await,
        Command::Dead(command) => dead::run(&desk, command).await,
        Command::Retention(options) => retention::run(&desk, &options).await,
        Command::AfterRestore(options) => restore::run(&desk, &options).await,
        Command::Audit { limit, before } => list(&desk, before, limit).await,
    }?;
    Ok(std::process::ExitCode::SUCCESS)
}

async fn list(desk: &Desk, before: Option<i64>, limit: i64) -> Result<()> {
    let mut lines = audit::list(&desk.pool, before, limit).await?;
    lines.reverse();
    let mut table = Table::new(["id", "at", "who", "host", "as", "what", "on", "result"]).counting(&["id"]);
    for line in lines {
        let result = line.result.unwrap_or_else(|| "(cut short)".to_owned());
        let said = line.who.said.unwrap_or_default();
        table.row([
            line.id.to_string(),
            line.at,
            line.who.os_user,
            line.who.host,
            said,
            line.action,
            line.target,
            result,
        ]);
    }
    desk.show(&table)?;
    desk.print_rows()
}
