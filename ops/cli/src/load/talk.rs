//! `throughput` and `latency`: pairs of users, in a closed or an open loop.

use anyhow::Result;

use super::{
    Options,
    bare::Engine,
    blocking, door, line,
    pairs::{Drive, Pairs},
    people,
    place::Place,
    plot::Plot,
    run::{self, Measured, Scene},
};

/// Runs it; its line.
pub async fn drive(options: &Options, place: &Place, drive: Drive) -> Result<String> {
    let name = match drive {
        Drive::Closed { .. } => "throughput",
        Drive::Open { .. } => "latency",
    };
    let mut line = line(name, options, place).await?;
    match drive {
        Drive::Closed { window } => line.put("window", window),
        Drive::Open { rate } => line.figure("rate", rate),
    }
    line.put("pairs", options.pairs);
    let (measured, pairs) = measure(options, place, drive).await?;
    line.messages(&measured, &pairs.meter, &pairs.counts());
    Plot::of(&pairs.meter, name).draw(options)?;
    Ok(line.finish())
}

/// Makes the pairs, logs them in and lets them talk.
pub async fn measure(options: &Options, place: &Place, drive: Drive) -> Result<(Measured, Pairs)> {
    let edges = place.edges()?;
    // The two of a pair are on different edges where there are two.
    let people = people::make(&place.database().await?, 2 * options.pairs, &edges).await?;
    let (options, stack) = (options.clone(), place.stack.clone());
    blocking(move || {
        let mut engine = Engine::new()?;
        let mut pairs = Pairs::new(&people, drive, &options);
        door::enter(&mut engine, &people, &edges, door::Manner::Calm, &mut pairs)?;
        let measured = run::measure(&options, &stack, &mut engine, &mut pairs)?;
        Ok((measured, pairs))
    })
    .await
}
