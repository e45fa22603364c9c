//! `storm`: many clients reconnect with their tokens at once, while others talk, on a thread of their
//! own.

use std::io;

use anyhow::{Result, ensure};

use super::{
    Options,
    aside::Aside,
    bare::{Engine, Got, Play},
    blocking,
    door::{self, Manner},
    line,
    meter::{Meter, say},
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
    let (measured, entered, pairs, cut) = blocking(move || {
        let mut engine = Engine::new()?;
        let mut scene = Clients::default();
        let aside = Aside::enter(people, edges.clone(), rate, false, &settings)?;
        let before = door::enter(&mut engine, &coming, &edges, Manner::Calm, &mut scene)?;
        aside.begin();
        let now = engine.now();
        run::go_on(&mut engine, &mut scene, now + settings.warm * 1_000_000)?;
        for line in before.lines {
            engine.close(line);
        }
        say("all are gone");
        let now = engine.now();
        run::go_on(&mut engine, &mut scene, now + GONE)?;
        say("all come at once");
        aside.measure();
        let from = Started::now(&engine, &mut scene, &stack);
        let entered = door::enter(&mut engine, &coming, &edges, Manner::Storm(usize::MAX), &mut scene)?;
        let measured = from.until_now(&engine, &mut scene, &stack);
        aside.measured();
        // Those who came are to stay; and what was due meanwhile is to be answered.
        let now = engine.now();
        run::go_on(&mut engine, &mut scene, now + 1_000_000)?;
        Ok((measured, entered, aside.end()?, scene.cut))
    })
    .await?;
    line.put("clients", clients);
    line.put("pairs", options.pairs);
    line.figure("rate", storm.rate);
    line.put("logins_per_s", entered.per_second().round());
    line.put("login_retries", entered.retries);
    line.latencies("login_", &entered.took);
    // The others' messages meanwhile: what was due while clients logged in.
    let meter = &pairs.meter;
    line.figure("seconds", measured.seconds);
    line.put("msgs_per_s", (meter.acks as f64 / measured.seconds).round());
    line.latencies("", &meter.acked);
    line.latencies("delivered_", &meter.shown);
    let mut counts = pairs.counts();
    counts.cut += cut;
    line.counts(&counts);
    line.cpu("cpu_us_per_login", &measured.cpu, clients as u64);
    Plot::of(meter, "storm").draw(options)?;
    Ok(line.finish())
}

/// Clients that have logged in do nothing; how many of them were cut off is counted.
#[derive(Default)]
struct Clients {
    cut: u64,
}

impl Play for Clients {
    fn got(&mut self, _: usize, _: Got<'_>, _: u64, _: &mut Vec<u8>) {}

    fn ended(&mut self, _: usize, _: &io::Error) {
        self.cut += 1;
    }
}

impl Scene for Clients {
    fn begin(&mut self, _: &mut Engine, _: u64) {}

    fn due(&mut self, _: &mut Engine, _: u64) -> u64 {
        u64::MAX
    }

    fn stop(&mut self) {}

    fn meters(&mut self) -> Vec<&mut Meter> {
        Vec::new()
    }

    fn counts(&self) -> Counts {
        Counts { cut: self.cut, ..Counts::default() }
    }
}
