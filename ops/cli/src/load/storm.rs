//! `storm`: many clients reconnect with their tokens at once, while others talk.

use std::io;

use anyhow::{Result, ensure};

use super::{
    Options,
    bare::{Engine, Got, Play},
    blocking,
    door::{self, Manner},
    line,
    meter::{Meter, say},
    pairs::{Drive, Pairs},
    party::Counts,
    people,
    place::Place,
    plot::Plot,
    run::{self, Scene, Started},
};

/// What `simple-im load storm` takes beside what every load does.
#[derive(Clone, Debug, clap::Args)]
pub struct Storm {
    /// Clients that come at once.
    #[arg(long, default_value_t = 10_000)]
    pub clients: usize,
    /// Messages a second of the others, over all pairs.
    #[arg(long, default_value_t = 500.0)]
    pub rate: f64,
}

/// How long the edges have to notice that all are gone, microseconds.
const GONE: u64 = 3_000_000;

/// Runs it; its line.
pub async fn drive(options: &Options, storm: &Storm, place: &Place) -> Result<String> {
    ensure!(storm.clients > 0 && storm.rate > 0.0, "expected clients, and a rate above 0");
    let (edges, database) = (place.edges()?, place.database().await?);
    let others = 2 * options.pairs;
    let clients = storm.clients.min(super::most_lines()?.saturating_sub(others));
    let mut people = people::make(&database, others + clients, &edges).await?;
    let coming = people.split_off(others);
    let mut line = line("storm", options, place).await?;
    let (settings, stack, rate) = (options.clone(), place.stack.clone(), storm.rate);
    let (measured, entered, scene) = blocking(move || {
        let mut engine = Engine::new()?;
        let pairs = Pairs::new(0, &people, Drive::Open { rate }, &settings);
        let mut scene = Beside { pairs, lines: people.len(), cut: 0 };
        door::enter(&mut engine, &people, &edges, Manner::Calm, &mut scene)?;
        let before = door::enter(&mut engine, &coming, &edges, Manner::Calm, &mut scene)?;
        let began = run::begin(&mut engine, &mut scene);
        run::go_on(&mut engine, &mut scene, began + settings.warm * 1_000_000)?;
        for line in before.lines {
            engine.close(line);
        }
        say("all are gone");
        let now = engine.now();
        run::go_on(&mut engine, &mut scene, now + GONE)?;
        say("all come at once");
        let from = Started::now(&engine, &mut scene, &stack);
        let entered = door::enter(&mut engine, &coming, &edges, Manner::Storm(usize::MAX), &mut scene)?;
        let measured = from.until_now(&engine, &mut scene, &stack);
        // Those who came are to stay; and what was due meanwhile is to be answered.
        let now = engine.now();
        run::go_on(&mut engine, &mut scene, now + 1_000_000)?;
        scene.stop();
        run::settle(&mut engine, &mut scene)?;
        Ok((measured, entered, scene))
    })
    .await?;
    line.put("clients", clients);
    line.put("pairs", options.pairs);
    line.figure("rate", storm.rate);
    line.put("logins_per_s", entered.per_second().round());
    line.put("login_retries", entered.retries);
    line.latencies("login_", &entered.took);
    // The others' messages meanwhile: what was due while clients logged in.
    let meter = &scene.pairs.meter;
    line.figure("seconds", measured.seconds);
    line.put("msgs_per_s", (meter.acks as f64 / measured.seconds).round());
    line.latencies("", &meter.acked);
    line.latencies("delivered_", &meter.shown);
    line.counts(&scene.counts());
    line.cpu("cpu_us_per_login", &measured.cpu, clients as u64);
    Plot::of(meter, "storm").draw(options)?;
    Ok(line.finish())
}

/// The others' pairs; clients that have logged in do nothing.
struct Beside {
    pairs: Pairs,
    lines: usize,
    cut: u64,
}

impl Play for Beside {
    fn got(&mut self, line: usize, got: Got<'_>, at: u64, out: &mut Vec<u8>) {
        if line < self.lines {
            self.pairs.got(line, got, at, out);
        }
    }

    fn ended(&mut self, line: usize, why: &io::Error) {
        if line < self.lines {
            return self.pairs.ended(line, why);
        }
        self.cut += 1;
    }
}

impl Scene for Beside {
    fn begin(&mut self, engine: &mut Engine, now: u64) {
        self.pairs.begin(engine, now);
    }

    fn due(&mut self, engine: &mut Engine, now: u64) -> u64 {
        self.pairs.due(engine, now)
    }

    fn stop(&mut self) {
        self.pairs.stop();
    }

    fn meters(&mut self) -> Vec<&mut Meter> {
        self.pairs.meters()
    }

    fn counts(&self) -> Counts {
        let mut counts = self.pairs.counts();
        counts.cut += self.cut;
        counts
    }
}
