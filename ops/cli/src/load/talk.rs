//! `throughput` and `latency`: pairs of users, in a closed or an open loop.

use anyhow::Result;

use super::{
    Options,
    bare::Engine,
    blocking, door, line,
    pairs::{Drive, Pairs},
    people,
    place::Place,
    run::{self, Measured},
};

/// Runs it; its line.
pub async fn drive(options: &Options, place: &Place, drive: Drive) -> Result<String> {
    let mut line = match drive {
        Drive::Closed { window } => {
            let mut line = line("throughput", options, place).await?;
            line.put("window", window);
            line
        }
        Drive::Open { rate } => {
            let mut line = line("latency", options, place).await?;
            line.figure("rate", rate);
            line
        }
    };
    line.put("pairs", options.pairs);
    let measured = measure(options, place, drive).await?;
    line.messages(&measured);
    Ok(line.finish())
}

/// Makes the pairs, logs them in and lets them talk.
pub async fn measure(options: &Options, place: &Place, drive: Drive) -> Result<Measured> {
    let edges = place.edges()?;
    let database = place.database().await?;
    // In turn to the edges: the two of a pair are on different ones where there are two.
    let people = people::make(&database, 2 * options.pairs, &edges).await?;
    let (options, stack) = (options.clone(), place.stack.clone());
    blocking(move || {
        let mut engine = Engine::new()?;
        let text = "x".repeat(options.body);
        let mut pairs = Pairs::new(engine.lines(), &people, &text, drive, options.acks, options.seed);
        door::enter(&mut engine, &people, &edges, door::AT_ONCE, &mut pairs)?;
        run::measure(&options, &stack, &mut engine, &mut pairs)
    })
    .await
}
