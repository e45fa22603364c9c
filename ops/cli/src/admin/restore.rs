//! `admin after-restore`: before the first start on a restored backup.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use workers::store::admin::{
    lanes::Alone,
    restore::{self, STEP},
};

use super::desk::Desk;

const SAY: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Once more, after a run that has ended: another backup was restored.
    #[arg(long)]
    again: bool,
    /// By how many millions numbers go up. For a backup that was restored before: one more each time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..=1000))]
    millions: i64,
    /// Conversations, or users, in one statement.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(i32).range(1..=20_000))]
    batch: i32,
}

pub async fn run(desk: &Desk, options: &Options) -> Result<()> {
    let again = if options.again { ", again" } else { "" };
    let target = format!("{} million{again}", options.millions);
    desk.audited("after-restore", &target, go_on(desk, options)).await
}

async fn go_on(desk: &Desk, options: &Options) -> Result<String> {
    let alone = Alone::take(&desk.config).await?;
    let alone = alone.context("expected no worker, found committers in PostgreSQL: stop them first")?;
    let mut run = match restore::begin(&desk.pool, STEP * options.millions, options.again).await? {
        Ok(run) => run,
        Err(ended) => bail!(
            "expected a backup restored since the last run, which ended {ended}; if one was, and it holds that run: --again"
        ),
    };
    let mut said = Instant::now();
    while restore::versions(&desk.pool, &run, options.batch.into()).await? > 0 {
        ensure!(alone.holds(), "the connection to PostgreSQL was lost: run this again");
    }
    while restore::conversations(&desk.pool, &mut run, options.batch).await? > 0 {
        ensure!(alone.holds(), "the connection to PostgreSQL was lost: run this again");
        if said.elapsed() >= SAY {
            said = Instant::now();
            writeln!(std::io::stderr(), "{} conversations", run.conversations)?;
        }
    }
    // What Redis has of the time after the backup (routes, verified tokens) is of nobody any more.
    let redis = match desk.redis().await? {
        Some(redis) => match redis.wipe().await {
            Ok(keys) => format!("{keys} keys of Redis are gone"),
            Err(error) => format!("Redis was not wiped ({error}): FLUSHALL before the start"),
        },
        None => "Redis was not there: FLUSHALL before the start".to_owned(),
    };
    restore::end(&desk.pool, &run).await?;
    let resumed = if run.resumed { ", where it was cut short" } else { "" };
    Ok(format!("{} conversations go on {} further{resumed}; {redis}", run.conversations, run.step))
}
