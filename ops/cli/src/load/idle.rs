//! `idle`: what logged-in sessions that do nothing cost one edge.

use anyhow::{Result, ensure};

use super::{
    Options,
    bare::Engine,
    blocking, cpu,
    door::{self, Manner, Nobody},
    line, memory,
    meter::say,
    people,
    place::Place,
    run,
};

/// What `simple-im load idle` takes beside what every load does: `--warm` seconds after the last login memory is looked
/// at, and CPU over the `--secs` that follow. The stack should have done nothing before.
#[derive(Clone, Debug, clap::Args)]
pub struct Idle {
    /// Sessions, all on the stack's first edge. Fewer where this process may not have as many files.
    #[arg(long, default_value_t = 19_000)]
    pub sessions: usize,
}

const SECOND: u64 = 1_000_000;

/// Runs it; its line.
pub async fn drive(options: &Options, idle: &Idle, place: &Place) -> Result<String> {
    let edges = place.edges()?[..1].to_vec();
    let sessions = idle.sessions.min(super::most_lines()?);
    ensure!(sessions > 0, "expected sessions");
    let people = people::make(&place.database().await?, sessions, &edges).await?;
    let mut line = line("idle", options, place).await?;
    let (pid, warm, secs) = (edges[0].pid, options.warm * SECOND, options.secs.max(1) * SECOND);
    let (before, entered, after, spent, seconds) = blocking(move || {
        let mut engine = Engine::new()?;
        let before = memory::resident(pid);
        let entered = door::enter(&mut engine, &people, &edges, Manner::Calm, &mut Nobody)?;
        say(&format!("all {} are in", people.len()));
        let now = engine.now();
        run::go_on(&mut engine, &mut Nobody, now + warm)?;
        let (after, cpu, from) = (memory::resident(pid), cpu::of_threads(pid), engine.now());
        run::go_on(&mut engine, &mut Nobody, from + secs)?;
        let spent = cpu::of_threads(pid).saturating_sub(cpu);
        let micros = engine.now() - from;
        Ok((before, entered, after, spent, micros as f64 / SECOND as f64))
    })
    .await?;
    line.put("sessions", sessions);
    line.put("edge_bytes_before", before);
    line.put("edge_bytes_after", after);
    // On an edge that had more to do before it may be less than nothing: what it had then is given back meanwhile.
    line.put("edge_bytes_per_session", ((after as f64 - before as f64) / sessions as f64).round());
    line.figure("edge_cpu_percent", spent as f64 / seconds / 10_000.0);
    line.figure("seconds", seconds);
    line.put("logins_per_s", entered.per_second().round());
    line.latencies("login_", &entered.took);
    Ok(line.finish())
}
