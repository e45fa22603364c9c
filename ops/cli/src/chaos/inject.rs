//! Doing what the schedule says, and undoing it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::{BoxFuture, FutureExt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::sleep;

use super::fault::Action;
use super::people::People;
use super::random::Random;
use super::watch::Watch;
use super::world::World;
use crate::record::{Kind, Process};
use crate::restart;

/// How long an ordered end may take before it is made one by force.
const ORDERED: Duration = Duration::from_secs(30);
/// How long PostgreSQL is left waiting for its clients to go.
const SMART: Duration = Duration::from_secs(3);
/// How many of a hundred clients reconnect at once.
const RECONNECTING: usize = 30;

/// Does it, waits for as long as it lasts, and returns once it is undone: processes run again, networks are whole.
///
/// The counters of an edge that is to end are read just before.
pub fn inject<'a>(
    world: &'a World,
    people: &'a People,
    watch: &'a Watch,
    action: &'a Action,
) -> BoxFuture<'a, Result<()>> {
    async move {
        match action {
            Action::Kill(name) => {
                let process = world.process(name)?;
                watch.before_its_end(&process).await;
                process.identity.signal(Signal::SIGKILL)?;
                world.is_back(&process).await
            }
            Action::Term(name) => {
                let process = world.process(name)?;
                watch.before_its_end(&process).await;
                term(&process).await?;
                world.is_back(&process).await
            }
            Action::Down(names, time) => down(world, watch, names, *time, || Ok(())).await,
            Action::Wipe => {
                let files = world.dir().join("nats").join("jetstream");
                let remove = || std::fs::remove_dir_all(&files).with_context(|| files.display().to_string());
                down(world, watch, &["nats".to_owned()], Duration::ZERO, remove).await
            }
            Action::Flush => flush(&world.url("redis")?).await,
            Action::Freeze(name, time) => freeze(&world.process(name)?, *time).await,
            Action::Cut(name, store, time) => {
                let proxy = world.proxy(name, store)?;
                proxy.cut(true);
                sleep(*time).await;
                proxy.cut(false);
                Ok(())
            }
            Action::Reconnect(seed) => {
                let mut random = Random::new(*seed);
                for client in people.clients() {
                    if random.percent(RECONNECTING) {
                        // One that has ended is the judge's business.
                        drop(client.reconnect().await);
                    }
                }
                Ok(())
            }
            Action::Roll(names) => {
                for name in names {
                    watch.before_its_end(&world.process(name)?).await;
                    restart::one(world.dir(), name).await?;
                }
                Ok(())
            }
            Action::Both(one, other) => {
                let (one, other) =
                    tokio::join!(inject(world, people, watch, one), inject(world, people, watch, other));
                one.and(other)
            }
        }
    }
    .boxed()
}

async fn term(process: &Process) -> Result<()> {
    process.identity.signal(Signal::SIGTERM)?;
    if process.kind == Kind::Postgres && !process.identity.ends_within(SMART).await {
        process.identity.signal(Signal::SIGINT)?;
    }
    ensure!(process.identity.ends_within(ORDERED).await, "{} does not end on SIGTERM", process.name);
    Ok(())
}

async fn down(
    world: &World,
    watch: &Watch,
    names: &[String],
    time: Duration,
    meanwhile: impl Fn() -> Result<()>,
) -> Result<()> {
    let mut processes = Vec::new();
    for name in names {
        world.hold(name, true)?;
        let process = world.process(name)?;
        watch.before_its_end(&process).await;
        processes.push(process);
    }
    for process in &processes {
        process.identity.signal(Signal::SIGKILL)?;
    }
    for process in &processes {
        ensure!(process.identity.ends_within(ORDERED).await, "{} cannot be killed", process.name);
    }
    let done = meanwhile();
    sleep(time).await;
    for name in names {
        world.hold(name, false)?;
    }
    for process in &processes {
        world.is_back(process).await?;
    }
    done
}

async fn freeze(process: &Process, time: Duration) -> Result<()> {
    let pid = Pid::from_raw(process.identity.pid.cast_signed());
    ensure!(process.identity.lives(), "{} does not run", process.name);
    kill(pid, Signal::SIGSTOP)?;
    sleep(time).await;
    if process.identity.lives() {
        kill(pid, Signal::SIGCONT)?;
    }
    Ok(())
}

/// Tried again, for Redis may just have been killed as well.
async fn flush(url: &str) -> Result<()> {
    let client = redis::Client::open(url)?;
    let mut last = None;
    for _ in 0..100 {
        let flushed = async {
            let mut connection = client.get_multiplexed_async_connection().await?;
            redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await
        };
        match flushed.await {
            Ok(()) => return Ok(()),
            Err(error) => last = Some(error),
        }
        sleep(Duration::from_millis(200)).await;
    }
    Err(last.map_or_else(|| anyhow::anyhow!("Redis was not asked"), Into::into)).context("FLUSHALL")
}
