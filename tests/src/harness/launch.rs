//! Starting one server on a free port with its data in a directory.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use nix::unistd::{Pid, Uid, User};
use tokio::process::{Child, Command};

/// A server that answers.
#[derive(Debug)]
pub struct Launched {
    /// Where it answers.
    pub url: String,
    child: Child,
    stop: nix::sys::signal::Signal,
}

impl Launched {
    /// Ends it and waits until it is gone.
    pub async fn end(&mut self) {
        if let Some(pid) = self.child.id() {
            nix::sys::signal::kill(Pid::from_raw(pid as i32), self.stop).ok();
        }
        if tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await.is_err() {
            self.child.kill().await.ok();
        }
    }
}

/// NATS with JetStream.
///
/// # Errors
/// When it does not answer in time; its log is part of the error.
pub async fn nats(dir: &Path) -> anyhow::Result<Launched> {
    let port = free_port()?;
    let data = dir.join("nats");
    let mut command = bound_to_us("KILL", None, &program("nats-server", "NATS_SERVER")?);
    command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"]).arg(&data);
    let url = format!("nats://127.0.0.1:{port}");
    let mut server = spawn(dir, "nats", command, nix::sys::signal::Signal::SIGKILL, url.clone())?;
    answers(dir, "nats", &mut server, || async { Ok(drop(async_nats::connect(&url).await?)) }).await?;
    Ok(server)
}

/// Redis without persistence.
///
/// # Errors
/// When it does not answer in time; its log is part of the error.
pub async fn redis(dir: &Path) -> anyhow::Result<Launched> {
    let port = free_port()?;
    let mut command = bound_to_us("KILL", None, &program("redis-server", "REDIS_SERVER")?);
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
    let url = format!("redis://127.0.0.1:{port}");
    let mut server = spawn(dir, "redis", command, nix::sys::signal::Signal::SIGKILL, url.clone())?;
    let client = redis::Client::open(url)?;
    answers(dir, "redis", &mut server, || async {
        Ok(drop(client.get_multiplexed_async_connection().await?))
    })
    .await?;
    Ok(server)
}

/// PostgreSQL as its own user where this is root, who may not run it.
///
/// # Errors
/// When it does not answer in time; its log is part of the error.
pub async fn postgres(dir: &Path) -> anyhow::Result<Launched> {
    let port = free_port()?;
    let data = dir.join("postgres");
    fs::create_dir_all(&data)?;
    let user = match Uid::effective().is_root() {
        true => {
            Some(["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).ok().flatten()))
                .map(|user| {
                    user.context("expected a user postgres or nobody, as root may not run PostgreSQL")
                })
        }
        false => None,
    }
    .transpose()?;
    if let Some(user) = &user {
        nix::unistd::chown(&data, Some(user.uid), Some(user.gid))?;
    }
    let made = bound_to_us("KILL", user.as_ref(), &postgres_program("initdb")?)
        .args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-D"])
        .arg(&data)
        .output()
        .await?;
    if !made.status.success() {
        bail!("initdb: {}", String::from_utf8_lossy(&made.stderr));
    }
    let mut command = bound_to_us("QUIT", user.as_ref(), &postgres_program("postgres")?);
    command.arg("-D").arg(&data).args(["-p", &port.to_string()]).args([
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "unix_socket_directories=",
        "-c",
        "max_connections=400",
        "-c",
        "shared_buffers=64MB",
        "-c",
        "max_wal_size=512MB",
    ]);
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    let mut server = spawn(dir, "postgres", command, nix::sys::signal::Signal::SIGQUIT, url.clone())?;
    answers(dir, "postgres", &mut server, || async {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        client.simple_query("SELECT 1").await?;
        Ok(())
    })
    .await?;
    Ok(server)
}

/// The command, run so that the kernel sends it `signal` when this thread ends.
fn bound_to_us(signal: &str, user: Option<&User>, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if let Some(user) = user {
        command
            .arg(format!("--reuid={}", user.uid))
            .arg(format!("--regid={}", user.gid))
            .arg("--clear-groups");
    }
    command.arg(format!("--pdeathsig={signal}")).arg(program).stdin(Stdio::null()).kill_on_drop(true);
    // A directory that the server's user can enter, whatever ours is.
    command.current_dir("/");
    command
}

fn spawn(
    dir: &Path,
    name: &str,
    mut command: Command,
    stop: nix::sys::signal::Signal,
    url: String,
) -> anyhow::Result<Launched> {
    let log = File::create(dir.join(format!("{name}.log")))?;
    let child = command
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    Ok(Launched { url, child, stop })
}

async fn answers<F: Future<Output = anyhow::Result<()>>>(
    dir: &Path,
    name: &str,
    server: &mut Launched,
    ask: impl Fn() -> F,
) -> anyhow::Result<()> {
    let end = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let Err(error) = ask().await else { return Ok(()) };
        if let Some(status) = server.child.try_wait()? {
            bail!("{name} ended with {status}: {}", log_of(dir, name));
        }
        if tokio::time::Instant::now() > end {
            bail!("{name} does not answer: {error:#}\n{}", log_of(dir, name));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn log_of(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(format!("{name}.log"))).unwrap_or_default()
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn program(name: &str, variable: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.exists()).with_context(|| {
        format!("expected {name} on PATH (or its path in {variable}), found none: run ./ops/install")
    })
}

fn postgres_program(name: &str) -> anyhow::Result<PathBuf> {
    program(name, &name.to_uppercase()).or_else(|error| {
        let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .map(|version| version.path().join("bin").join(name))
            .filter(|path| path.exists())
            .collect();
        versions.sort();
        versions.pop().ok_or(error)
    })
}
