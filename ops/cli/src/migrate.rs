//! `simple-im migrate`: brings the database up to what this version knows.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use shared::config::{Args, ConfigErrors};
use workers::config::{DEFAULT, RULES, WorkerConfig};
use workers::store::Applied;

/// Applies what is missing; the database is the one that a worker with this configuration would use.
pub async fn run(config: &WorkerConfig) -> Result<()> {
    let applied = workers::store::migrate(&config.postgres).await.context("migrating")?;
    let mut out = std::io::stdout();
    if applied.is_empty() {
        writeln!(out, "the schema is up to date")?;
    }
    applied.iter().try_for_each(|migration| writeln!(out, "{}", said(migration)))?;
    Ok(())
}

/// The same for a private stack: the workers' own file there, and the database's address over it.
pub async fn stack(file: Option<&Path>, url: &str) -> Result<Vec<String>> {
    let config = Args {
        config: file.map(Path::to_path_buf),
        set: vec![format!("postgres.url={url}")],
        ..Args::default()
    };
    let config: Result<_, ConfigErrors> = config.load::<WorkerConfig>(DEFAULT, RULES);
    let postgres = config.context("the workers' configuration")?.config.postgres;
    let applied = workers::store::migrate(&postgres).await.context("migrating")?;
    Ok(applied.iter().map(said).collect())
}

fn said(migration: &Applied) -> String {
    format!("migration {} applied: {}", migration.version, migration.name)
}
