//! A run in time: some seconds to warm up, some that are measured, and what is still on its way afterwards.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{
    Options,
    bare::{Engine, Play},
    cpu,
    meter::Meter,
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

    /// From now on nothing new is sent.
    fn stop(&mut self);

    /// What is measured.
    fn meter(&mut self) -> &mut Meter;

    /// What was seen so far.
    fn counts(&self) -> Counts;

    /// Everything sent is answered, and everything acked is delivered.
    fn is_settled(&self) -> bool {
        let counts = self.counts();
        counts.unanswered == 0 && counts.lost == 0
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Measured {
    /// The measured time.
    pub seconds: f64,
    /// CPU microseconds in that time, by kind of process.
    pub cpu: BTreeMap<&'static str, u64>,
    /// Everything, warming included.
    pub counts: Counts,
    /// What was measured.
    pub meter: Meter,
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
    let began = engine.now();
    scene.meter().begin(began);
    scene.begin(engine, began);
    go_on(engine, scene, began, began + options.warm * SECOND)?;
    scene.meter().counts = true;
    let (before, from) = (cpu::spent(stack), engine.now());
    go_on(engine, scene, began, from + options.secs * SECOND)?;
    let (after, to) = (cpu::spent(stack), engine.now());
    scene.meter().counts = false;
    scene.stop();
    settle(engine, scene)?;
    let cpu = cpu::between(&before, &after);
    let (seconds, counts) = ((to - from) as f64 / SECOND as f64, scene.counts());
    Ok(Measured { seconds, cpu, counts, meter: std::mem::take(scene.meter()) })
}

/// Until that moment, with progress each second since `began`.
pub fn go_on(engine: &mut Engine, scene: &mut impl Scene, began: u64, until: u64) -> Result<()> {
    let mut second = (engine.now() - began) / SECOND + 1;
    loop {
        let now = engine.now();
        if now >= began + second * SECOND {
            scene.meter().second(now, began);
            second = (now - began) / SECOND + 1;
        }
        if now >= until {
            return Ok(());
        }
        let next = scene.due(engine, now).min(until).min(began + second * SECOND);
        engine.turn(scene, next)?;
    }
}

/// Until everything is settled, or nothing moves any more.
pub fn settle(engine: &mut Engine, scene: &mut impl Scene) -> Result<()> {
    let (mut last, mut moved) = (scene.counts(), engine.now());
    while !scene.is_settled() && engine.now() < moved + QUIET {
        let until = engine.now() + SECOND / 20;
        while engine.now() < until {
            let next = scene.due(engine, engine.now()).min(until);
            engine.turn(scene, next)?;
        }
        let counts = scene.counts();
        if counts != last {
            (last, moved) = (counts, engine.now());
        }
    }
    Ok(())
}
