//! Holds a test run's NATS, PostgreSQL and Redis: `test-servers RUN DIR PID` starts them with their data in DIR, writes
//! their addresses to DIR/servers.toml, and ends them, and whatever else the run left behind, when PID is gone.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use simple_im::stack::{
    ports,
    servers::{Nats, Postgres, Redis, Running},
};
use tests::harness::servers::{RUN, Servers};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let run = args.next().context("expected the run's name as the first argument")?;
    let dir = PathBuf::from(args.next().context("expected the directory as the second argument")?);
    let watched: i32 = args.next().context("expected the process to watch as the third argument")?.parse()?;
    // Fails only where this process leads a group already, which is as good.
    nix::unistd::setsid().ok();
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

async fn serve(dir: &Path, run: &str, watched: Pid) -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let log = |name: &str| dir.join(format!("{name}.log"));
    let start_postgres = async {
        let store = Postgres::prepare(&dir.join("postgres"), ports::free()?).await?;
        store.start(&log("postgres")).await
    };
    let start_nats = async { Nats::prepare(&dir.join("nats"), ports::free()?)?.start(&log("nats")).await };
    let start_redis =
        async { Redis::prepare(&dir.join("redis"), ports::free()?)?.start(&log("redis")).await };
    let (nats, postgres, redis) = tokio::try_join!(start_nats, start_postgres, start_redis)?;
    let servers = Servers {
        nats: nats.url(),
        postgres: postgres.url(),
        redis: redis.url(),
        run: run.to_owned(),
        pids: [&nats, &postgres, &redis].into_iter().filter_map(Running::pid).collect(),
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
    end_tests_of(dir);
    end_processes_of(run);
    nats.kill().await?;
    redis.kill().await?;
    // Killed, it would leave its backends for a moment and a segment of shared memory for ever.
    postgres.stop().await?;
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
        if of_run && pid != own {
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).ok();
        }
    }
}

/// Runs whose `test-servers` was killed.
fn sweep_dead_runs(own: &Path) {
    let Some(entries) = own.parent().and_then(|tmp| fs::read_dir(tmp).ok()) else { return };
    for dir in entries.flatten().map(|entry| entry.path()).filter(|dir| dir != own) {
        let Some(run) =
            dir.file_name().and_then(|name| name.to_str()?.strip_prefix("run-").map(str::to_owned))
        else {
            continue;
        };
        let holder = fs::read_to_string(dir.join("test-servers.pid")).ok().and_then(|pid| pid.parse().ok());
        if holder.is_some_and(|pid| !alive(Pid::from_raw(pid))) {
            end_tests_of(&dir);
            end_processes_of(&run);
            end_servers_of(&dir);
            fs::remove_dir_all(&dir).ok();
        }
    }
}

/// Ends tests that outlived their runner: without servers some would wait for ever.
fn end_tests_of(dir: &Path) {
    for pid in fs::read_dir(dir.join("tests")).into_iter().flatten().flatten() {
        let Some(pid) = pid.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // The number may be another process's by now: a test stands in a build's `deps`.
        let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        if exe.parent().is_some_and(|folder| folder.ends_with("deps")) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
        }
    }
}

fn end_servers_of(dir: &Path) {
    let Some(servers) = fs::read_to_string(dir.join("servers.toml"))
        .ok()
        .and_then(|text| toml::from_str::<Servers>(&text).ok())
    else {
        return;
    };
    for pid in servers.pids {
        // The number may be another process's by now.
        let signal = match fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim() {
            "postgres" => Signal::SIGINT,
            "nats-server" | "redis-server" => Signal::SIGKILL,
            _ => continue,
        };
        kill(Pid::from_raw(pid.cast_signed()), signal).ok();
    }
}
