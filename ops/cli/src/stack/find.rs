//! Where the servers' programs are: named by the environment, on the PATH, in cargo's own folder of programs
//! (where `ops/install` puts what no system package offers), or where Debian keeps PostgreSQL.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// nats-server, or where `SIMPLE_IM_NATS_SERVER` says.
pub fn nats_server() -> Result<PathBuf> {
    program("nats-server", "SIMPLE_IM_NATS_SERVER")
}

/// redis-server, or where `SIMPLE_IM_REDIS_SERVER` says.
pub fn redis_server() -> Result<PathBuf> {
    program("redis-server", "SIMPLE_IM_REDIS_SERVER")
}

/// The folder of PostgreSQL's programs: `SIMPLE_IM_POSTGRES_BIN`, else the newest that is installed, and of
/// exactly this major version if the data folder was made by one.
pub fn postgres_bin(major: Option<&str>) -> Result<PathBuf> {
    if let Some(given) = env::var_os("SIMPLE_IM_POSTGRES_BIN") {
        let dir = PathBuf::from(given);
        if !dir.join("initdb").is_file() {
            bail!("SIMPLE_IM_POSTGRES_BIN = {}: no initdb in it", dir.display());
        }
        return Ok(dir);
    }
    let mut installed: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").is_file())
        .collect();
    installed.sort();
    if let Some(major) = major {
        if let Some((_, bin)) = installed.iter().find(|(version, _)| version.to_string() == major) {
            return Ok(bin.clone());
        }
        if !installed.is_empty() {
            bail!("the data was made by PostgreSQL {major}, which is not installed (found: {installed:?})");
        }
    }
    if let Some((_, bin)) = installed.pop() {
        return Ok(bin);
    }
    let initdb = on_path("initdb").context("PostgreSQL is not installed; ops/install does it")?;
    let real = initdb.canonicalize().with_context(|| format!("{}", initdb.display()))?;
    Ok(real.parent().unwrap_or(Path::new("/usr/bin")).to_path_buf())
}

fn program(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(given) = env::var_os(variable) {
        let path = PathBuf::from(given);
        if !path.is_file() {
            bail!("{variable} = {}: no such file", path.display());
        }
        return Ok(path);
    }
    on_path(name)
        .or_else(|| in_cargo_home(name))
        .with_context(|| format!("{name} is not installed; ops/install does it, or name it in {variable}"))
}

fn in_cargo_home(name: &str) -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))?;
    Some(home.join("bin").join(name)).filter(|path| path.is_file())
}

fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}
