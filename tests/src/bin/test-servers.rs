//! Holds a test run's NATS, PostgreSQL and Redis: `test-servers DIR PID` starts them with their data in DIR, writes
//! their addresses to DIR/servers.toml, and ends them, and whatever else the run left behind, when PID is gone.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context;
use nix::unistd::Pid;
use tests::harness::{
    launch::{self, Launched},
    servers::{RUN, Servers},
};
use tokio::signal::unix::{SignalKind, signal};

// One thread: the kernel ends the children when the thread that started them ends.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().context("expected the directory as the first argument")?);
    let watched: i32 =
        args.next().context("expected the process to watch as the second argument")?.parse()?;
    // Fails only where this process leads a group already, which is as good.
    nix::unistd::setsid().ok();
    let run = std::env::var(RUN).context("expected the run's name in the environment")?;
    sweep_dead_runs(&dir);
    fs::write(dir.join("test-servers.pid"), std::process::id().to_string())?;

    let result = serve(&dir, &run, Pid::from_raw(watched)).await;
    end_processes_of(&run);
    // The directory goes last: it is how a later run would know what to sweep up.
    if result.is_ok() {
        fs::remove_dir_all(&dir).ok();
    }
    result
}

async fn serve(dir: &std::path::Path, run: &str, watched: Pid) -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let (nats, postgres, redis) =
        tokio::try_join!(launch::nats(dir), launch::postgres(dir), launch::redis(dir))?;
    let mut all: Vec<Launched> = vec![nats, redis, postgres];
    let servers = Servers {
        nats: all[0].url.clone(),
        redis: all[1].url.clone(),
        postgres: all[2].url.clone(),
        run: run.to_owned(),
    };
    let draft = dir.join("servers.toml.new");
    fs::write(&draft, toml::to_string(&servers)?)?;
    fs::rename(draft, dir.join("servers.toml"))?;

    while alive(watched) {
        tokio::select! {
            _ = terminated.recv() => break,
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
    end_processes_of(run);
    for server in &mut all {
        server.end().await;
    }
    Ok(())
}

fn alive(pid: Pid) -> bool {
    // A zombie is gone too: its parent only has not looked yet.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
    })
}

/// Ends what carries the run's name in its environment: edges and workers of tests that were killed.
fn end_processes_of(run: &str) {
    let name = format!("{RUN}={run}");
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return };
    for pid in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let of_run = fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|b| *b == 0).any(|pair| pair == name.as_bytes()));
        let server = fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|comm| ["postgres", "redis-server", "nats-server"].contains(&comm.trim()));
        if of_run && !server && pid != own {
            nix::sys::signal::kill(Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL).ok();
        }
    }
}

/// Runs whose `test-servers` was killed.
fn sweep_dead_runs(own: &std::path::Path) {
    let Some(entries) = own.parent().and_then(|tmp| fs::read_dir(tmp).ok()) else { return };
    for dir in entries.flatten().map(|entry| entry.path()).filter(|dir| dir != own) {
        let Some(run) =
            dir.file_name().and_then(|name| name.to_str()?.strip_prefix("run-").map(str::to_owned))
        else {
            continue;
        };
        let holder = fs::read_to_string(dir.join("test-servers.pid")).ok().and_then(|pid| pid.parse().ok());
        if holder.is_some_and(|pid| !alive(Pid::from_raw(pid))) {
            end_processes_of(&run);
            fs::remove_dir_all(&dir).ok();
        }
    }
}
