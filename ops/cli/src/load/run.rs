//! A run in time: some seconds to warm up, some that are measured, and what is still on its way afterwards.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{
    Options,
    aside::Aside,
    bare::{Engine, Play},
    cpu,
    meter::Meter,
    pairs::Pairs,
    party::Counts,
};
use crate::record::Stack;

/// Without any progress for so long, what is missing will not come, microseconds.
const QUIET: u64 = 15_000_000;
const SECOND: u64 = 1_000_000;

/// Who takes part in a run.
pub trait Scene: Play {
    /// The run begins.
    fn begin(&mut self, engine: &mut Engine, now: u64);

    /// Does what is due by now; when the next thing is.
    fn due(&mut self, engine: &mut Engine, now: u64) -> u64;

    /// This line is that one's, of those who are logging in.
    fn opened(&mut self, _line: usize, _who: usize) {}

    /// From now on nothing new is sent.
    fn stop(&mut self);

    /// What is measured; the first one's seconds are the run's.
    fn meters(&mut self) -> Vec<&mut Meter>;

    /// What was seen so far.
    fn counts(&self) -> Counts;

    /// Everything sent is answered, and everything acked is delivered.
    fn is_settled(&self) -> bool {
        let counts = self.counts();
        counts.unanswered == 0 && counts.lost == 0
    }
}

/// What came of a run; latencies are in the scene's meters.
#[derive(Debug)]
pub struct Measured {
    /// The measured time.
    pub seconds: f64,
    /// CPU microseconds in that time, by kind of process.
    pub cpu: BTreeMap<&'static str, u64>,
}

/// Runs the scene.
///
/// # Errors
/// What the operating system says.
pub fn measure(
    options: &Options,
    stack: &Stack,
    engine: &mut Engine,
    scene: &mut impl Scene,
) -> Result<Measured> {
    Ok(measure_beside(options, stack, engine, scene, None)?.0)
}

/// The same, with pairs beside it that talk and are measured in the same time.
///
/// # Errors
/// What the operating system says.
pub fn measure_beside(
    options: &Options,
    stack: &Stack,
    engine: &mut Engine,
    scene: &mut impl Scene,
    aside: Option<Aside>,
) -> Result<(Measured, Option<Pairs>)> {
    let tell = |word: fn(&Aside)| aside.iter().for_each(word);
    tell(Aside::begin);
    let began = begin(engine, scene);
    go_on(engine, scene, began + options.warm * SECOND)?;
    tell(Aside::measure);
    let from = Started::now(engine, scene, stack);
    go_on(engine, scene, from.at + options.secs * SECOND)?;
    let measured = from.until_now(engine, scene, stack);
    tell(Aside::measured);
    scene.stop();
    settle(engine, scene)?;
    Ok((measured, aside.map(Aside::end).transpose()?))
}

/// The scene begins now.
pub fn begin(engine: &mut Engine, scene: &mut impl Scene) -> u64 {
    let now = engine.now();
    scene.meters().into_iter().for_each(|meter| meter.begin(now));
    scene.begin(engine, now);
    now
}

/// The measured time has begun.
#[derive(Debug)]
pub struct Started {
    /// When.
    pub at: u64,
    cpu: BTreeMap<&'static str, u64>,
}

impl Started {
    /// It begins now.
    pub fn now(engine: &Engine, scene: &mut impl Scene, stack: &Stack) -> Self {
        let (cpu, at) = (cpu::spent(stack), engine.now());
        scene.meters().into_iter().for_each(|meter| meter.measure_from(at));
        Self { at, cpu }
    }

    /// It ends now.
    pub fn until_now(self, engine: &Engine, scene: &mut impl Scene, stack: &Stack) -> Measured {
        let at = engine.now();
        scene.meters().into_iter().for_each(|meter| meter.measure_to(at));
        let seconds = (at - self.at) as f64 / SECOND as f64;
        Measured { seconds, cpu: cpu::between(&self.cpu, &cpu::spent(stack)) }
    }
}

/// Until that moment, with progress each second.
pub fn go_on(engine: &mut Engine, scene: &mut impl Scene, until: u64) -> Result<()> {
    loop {
        let now = engine.now();
        let second = seconds(scene, now);
        if now >= until {
            return Ok(());
        }
        let due = scene.due(engine, now);
        engine.turn(scene, until.min(second).min(due))?;
    }
}

/// Keeps the second that is over, if one is; when the next will be.
pub fn seconds(scene: &mut impl Scene, now: u64) -> u64 {
    let Some(meter) = scene.meters().into_iter().next() else { return u64::MAX };
    // Not begun: nothing is counted.
    if meter.has_begun() && now >= meter.next() {
        meter.second(now);
    }
    if meter.has_begun() { meter.next() } else { u64::MAX }
}

/// Until everything is settled, or nothing moves any more.
pub fn settle(engine: &mut Engine, scene: &mut impl Scene) -> Result<()> {
    let (mut last, mut moved) = (scene.counts(), engine.now());
    while !scene.is_settled() && engine.now() < moved + QUIET {
        go_on(engine, scene, engine.now() + SECOND / 50)?;
        let counts = scene.counts();
        if counts != last {
            (last, moved) = (counts, engine.now());
        }
    }
    Ok(())
}
