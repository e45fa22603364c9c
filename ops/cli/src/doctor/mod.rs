//! `simple-im doctor`: reads the live configuration of the stores, the kernel and our processes, and says what is unsafe
//! or will hurt, why, and what to do.
//!
//! | module | holds |
//! |---|---|
//! | `place` | where to look |
//! | `finding`, `print` | what is found, and how it is told |
//! | `nats`, `postgres`, `redis` | the stores |
//! | `processes` | edges and workers: settings, readiness, versions |
//! | `kernel`, `clock`, `secrets` | limits, time, passwords |
//!
//! Each subject has its facts as a plain structure, checks that judge them without asking anybody, and a part that asks.

mod clock;
mod finding;
mod kernel;
mod nats;
mod place;
mod postgres;
mod print;
mod processes;
mod redis;
mod secrets;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use futures::future::join_all;
use shared::config::{Start, Strength};
use shared::telemetry::{Machine, open_files};
use workers::config::{DEFAULT, RULES, WorkerConfig};

use self::finding::{Finding, Report};
use self::kernel::Host;
use self::place::Place;
use self::processes::{Part, Process};
use self::secrets::Seen;

pub use self::place::Options;

/// The exit code of a report that could not be made whole.
const BLIND: u8 = 3;
/// What an edge's batches are bounded by where none could be asked: the most that the setting allows.
const BATCH_BYTES: i64 = 900_000;

/// Looks everywhere and prints what was found. The exit code says how bad the worst is: 0 nothing above a note, 1
/// warnings, 2 dangers, 3 something could not be looked at; 64 a bad configuration.
///
/// # Errors
/// When the report cannot be written.
pub async fn run(options: Options) -> Result<ExitCode> {
    let place = match Place::of(&options) {
        Ok(place) => place,
        Err(error) => {
            writeln!(std::io::stderr(), "simple-im doctor: {error:#}")?;
            return Ok(ExitCode::from(BLIND));
        }
    };
    let config: WorkerConfig = match place.config.start(DEFAULT, RULES) {
        Start::Run(config) => config,
        Start::Exit(code) => return Ok(code),
    };
    let report = Report::of(look(&options, &place, config).await);
    let text = match options.json {
        true => print::json(&report)?,
        false => print::text(&report, options.all),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::from(report.exit))
}

/// Asks everybody at once, the processes first: what they run with says what to expect of the stores.
async fn look(options: &Options, place: &Place, mut config: WorkerConfig) -> Vec<Finding> {
    let (mut findings, mut clocks, mut processes) = (Vec::new(), Vec::new(), Vec::new());
    let asked = place.processes.iter().map(async |(name, address)| {
        processes::gather(name, address).await.map_err(|error| (name, format!("{address}: {error:#}")))
    });
    for answer in join_all(asked).await {
        match answer {
            Ok(answer) => {
                processes.push(answer.process);
                clocks.extend(answer.clock);
            }
            Err((name, reason)) => findings.push(processes::UNREACHABLE.unreachable(name, reason)),
        }
    }
    adopt(&mut config, &processes);
    let nats = nats::gather(nats::Asked { nats: &config.nats, monitor: options.nats_monitor.as_deref() });
    let (nats, postgres, redis) =
        tokio::join!(nats, postgres::gather(&config.postgres), redis::gather(&config.redis));
    let mut heard = None;
    match nats {
        Ok(told) => {
            findings.extend(nats::check(&told.nats, &nats_wants(&config, &processes)));
            clocks.extend(told.clock);
            heard = Some(told.heard);
        }
        Err(error) => findings.push(nats::UNREACHABLE.unreachable("nats", format!("{error:#}"))),
    }
    match postgres {
        Ok(told) => {
            findings.extend(postgres::check(
                &told.postgres,
                &told.road,
                &postgres_wants(&config, &processes),
            ));
            clocks.extend(told.clock);
        }
        Err(error) => findings.push(postgres::UNREACHABLE.unreachable("postgres", format!("{error:#}"))),
    }
    match redis {
        Ok(told) => {
            findings.extend(redis::check(&told.redis));
            clocks.extend(told.clock);
        }
        Err(error) => findings.push(redis::UNREACHABLE.unreachable("redis", format!("{error:#}"))),
    }
    findings.extend(processes::check(&processes, heard.as_ref()));
    findings.extend(limits(place, &processes));
    findings.extend(secrets::check(&passwords(&config, &processes), &secrets::gather(&place.files)));
    findings.extend(clock::check(&clocks));
    findings
}

/// Takes from the first process that answered, workers before edges, what decides where things lie.
fn adopt(config: &mut WorkerConfig, processes: &[Process]) {
    let of = |part: Part| processes.iter().filter(move |process| process.part == Some(part));
    let asked = of(Part::Worker).chain(of(Part::Edge));
    let text = |key: &str, into: &mut String| {
        if let Some(value) = asked.clone().find_map(|process| process.text(key)) {
            value.clone_into(into);
        }
    };
    text("nats.prefix", &mut config.nats.prefix);
    text("postgres.schema", &mut config.postgres.schema);
    let number = |key: &str| asked.clone().find_map(|process| process.number(key));
    if let Some(lanes) = number("nats.lanes").and_then(|lanes| u16::try_from(lanes).ok()) {
        config.nats.lanes = lanes;
    }
    if let Some(bytes) = number("nats.stream_bytes") {
        config.nats.stream_bytes = bytes;
    }
}

fn nats_wants(config: &WorkerConfig, processes: &[Process]) -> nats::Wants {
    let batches = processes.iter().filter_map(|process| process.number("publisher.batch_bytes"));
    nats::Wants {
        lanes: i64::from(config.nats.lanes),
        stream_bytes: config.nats.stream_bytes,
        batch_bytes: batches.max().unwrap_or(BATCH_BYTES),
        queued_acks: processes.iter().map(|process| process.queued_acks).sum(),
    }
}

/// A worker's sessions: its pool and its committers. Where none could be asked, one as this command is configured.
fn postgres_wants(config: &WorkerConfig, processes: &[Process]) -> postgres::Wants {
    let sessions = |it: &Process| Some(it.number("postgres.pool")? + it.number("worker.committers")?);
    let mut each: Vec<i64> = processes.iter().filter_map(sessions).collect();
    if each.is_empty() {
        let committers = i64::try_from(config.worker.committers).unwrap_or(i64::MAX);
        each.push(i64::from(config.postgres.pool).saturating_add(committers));
    }
    postgres::Wants {
        sessions: each.iter().sum(),
        largest: each.iter().copied().max().unwrap_or_default(),
        migration: i64::from(workers::store::migrate::newest()),
    }
}

/// Of every process that says its own, and of stores that run on this machine.
fn limits(place: &Place, processes: &[Process]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for process in processes {
        let Some(about) = &process.about else { continue };
        let takes = process.part == Some(Part::Edge);
        let connections = process.number("limits.connections").filter(|_| takes);
        findings.extend(kernel::check(&Host { name: &process.name, machine: &about.machine, connections }));
    }
    for (name, pid) in &place.stores {
        let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        let Some((soft, hard)) = open_files(&text) else { continue };
        let machine = Machine { open_files: Some(soft), open_files_hard: Some(hard), ..Machine::default() };
        findings.extend(kernel::check(&Host { name, machine: &machine, connections: None }));
    }
    findings
}

/// Those that processes say they have, and those that this command was given.
fn passwords(config: &WorkerConfig, processes: &[Process]) -> Vec<Seen> {
    let seen = |key: &str, who: &str, strength: Strength| Seen {
        key: key.to_owned(),
        who: who.to_owned(),
        strength,
    };
    let mut all = Vec::new();
    for (store, url, password) in [
        ("nats", &config.nats.way.url, &config.nats.way.password),
        ("postgres", &config.postgres.url, &config.postgres.password),
        ("redis", &config.redis.url, &config.redis.password),
    ] {
        // A password apart stands in place of the URL's.
        all.push(match password.strength() {
            Strength::None => seen(&format!("{store}.url"), "this command", url.strength()),
            worth => seen(&format!("{store}.password"), "this command", worth),
        });
    }
    for process in processes {
        let settings = process.about.iter().flat_map(|about| &about.settings);
        all.extend(settings.filter_map(|(key, setting)| Some(seen(key, &process.name, setting.secret?))));
    }
    all
}
