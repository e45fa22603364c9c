//! A committer's chunk: taken apart, tried, committed, handed on.

use std::{sync::Arc, time::Instant};

use async_nats::jetstream::message::Acker;
use shared::{subject::Lane, telemetry::Moment};

use super::{
    Pulled,
    committer::{Committer, SessionEnd},
    finish::Since,
    probation::{self, TRIALS},
    reach::Reach,
};
use crate::{
    fail::{self, Step},
    metric::{Tally, metrics},
    pipeline::{
        Item,
        decode::{self, Dead, Decoded},
        effect::{Effect, Outcome},
        run::{self, Rules},
    },
    store::lanes::{self, Mark, Place},
};

/// Processes batches as one chunk, or, where it has crashed before, frame by frame; returns how many frames it had.
///
/// # Errors
/// [`SessionEnd`]: then the session is at its end, and the lanes are taken anew.
pub(super) async fn process(
    to: &mut Committer,
    batches: Vec<Pulled>,
    pulled: Instant,
) -> Result<usize, SessionEnd> {
    fail::reached(Step::Pulled);
    let accepted = batches.iter().map(|batch| batch.accepted).min().unwrap_or_else(Moment::now);
    let since = Since { pulled, accepted, number: to.shared.tools.trace.begin(pulled) };
    let mut decoded = Decoded::default();
    let mut reach = Reach::default();
    let mut ackers = Vec::with_capacity(batches.len());
    for Pulled { lane, stream, stream_seq, payload, acker, .. } in batches {
        let committed = committed(to, lane, &stream).await?;
        let fresh = reach.note(lane, stream_seq, committed);
        let before = decoded.items.len();
        decode::batch(lane, stream_seq, fresh, &payload, to.shared.config.nats.lanes, &mut decoded);
        if let Some(owned) = to.lanes.get(&lane).filter(|owned| !owned.alone.is_empty()) {
            for (item, place, _) in &mut decoded.items[before..] {
                item.fresh &= !owned.alone.contains(&(place.stream_seq, place.frame));
            }
        }
        ackers.push(acker);
    }
    fail::reached(Step::Decoded);
    let frames = decoded.items.len() + decoded.dead.len();
    metrics().chunk_frames.record(frames as f64);
    metrics().decode_seconds.record(pulled.elapsed());
    metrics().lane_wait_seconds.record((accepted.elapsed() - pulled.elapsed().as_secs_f64()).max(0.0));

    let first = reach.first();
    let trying: Vec<(Lane, u64)> =
        first.filter(|(lane, _)| to.lanes.get(lane).is_some_and(|owned| owned.probation)).collect();
    let mut alone = false;
    for (lane, stream_seq) in &trying {
        let trial = Place { lane: *lane, stream_seq: *stream_seq, frame: -1 };
        alone |= lanes::attempt(&to.session, trial).await? > TRIALS;
    }
    if alone {
        let (lanes, chunk) = (tracing::field::debug(&trying), since.number.0);
        tracing::warn!(chunk, lanes, "a chunk has crashed {TRIALS} times; its frames are tried one by one");
        one_by_one(to, decoded, &reach, ackers, since).await?;
    } else {
        together(to, decoded, &reach, ackers, since).await?;
    }
    if !trying.is_empty() {
        let tried: Vec<(Lane, u64)> =
            reach.newest().filter(|(lane, _)| trying.iter().any(|one| one.0 == *lane)).collect();
        lanes::forgive(&to.session, &tried).await?;
    }
    for (lane, committed) in reach.newest() {
        if let Some(owned) = to.lanes.get_mut(&lane) {
            owned.committed = committed;
            owned.alone.retain(|(stream_seq, _)| *stream_seq > committed);
            owned.probation = !owned.alone.is_empty();
        }
    }
    Ok(frames)
}

/// How far the lane is in this stream, read when a batch of another one than before comes.
async fn committed(to: &mut Committer, lane: Lane, stream: &Arc<str>) -> Result<u64, SessionEnd> {
    let Some(owned) = to.lanes.get_mut(&lane) else { return Ok(0) };
    if owned.stream != *stream {
        let lanes::Committed { upto, alone } = lanes::committed(&to.session, lane, stream).await?;
        (owned.committed, owned.alone, owned.stream) = (upto, alone, stream.clone());
    }
    Ok(owned.committed)
}

async fn together(
    to: &mut Committer,
    decoded: Decoded,
    reach: &Reach,
    ackers: Vec<Acker>,
    since: Since,
) -> Result<(), SessionEnd> {
    let mut marks = marks(to, reach.newest());
    let mut effects = bury(to, &decoded.dead, &mut marks).await?;
    let (items, places): (Vec<Item>, Vec<Place>) =
        decoded.items.into_iter().map(|(item, place, _)| (item, place)).unzip();
    let done = commit(to, &items, &marks, None).await?;
    to.shared.tools.trace.committed(since.number, &items, &places, &done);
    to.shared.tools.trace.dead(since.number, &decoded.dead);
    effects.extend(done);
    let finisher = to.finisher.clone();
    Ok(to.awake(finisher.finish(effects, ackers, since)).await??)
}

/// Each frame is a transaction of its own; the one that has been tried too often is set aside.
async fn one_by_one(
    to: &mut Committer,
    decoded: Decoded,
    reach: &Reach,
    ackers: Vec<Acker>,
    since: Since,
) -> Result<(), SessionEnd> {
    let mut dead = decoded.dead;
    let mut effects = Vec::new();
    for (mut item, place, payload) in decoded.items {
        let attempts = lanes::attempt(&to.session, place).await?;
        if attempts > TRIALS {
            let reason = format!("it failed {TRIALS} times on its own");
            dead.push(Dead { place, fresh: item.fresh, reason, payload, accepted: Some(item.accepted) });
            continue;
        }
        // Done before, and what followed it crashed: answered and delivered again, and not counted again.
        item.fresh &= attempts > 0;
        let at = to.lanes.get(&place.lane).map(|owned| (place.lane, owned.committed));
        let marks = marks(to, at.into_iter());
        let items = [item];
        let done = commit(to, &items, &marks, Some(place)).await?;
        to.shared.tools.trace.committed(since.number, &items, &[place], &done);
        effects.extend(done);
    }
    let mut marks = marks(to, reach.newest());
    effects.extend(bury(to, &dead, &mut marks).await?);
    commit(to, &[], &marks, None).await?;
    to.shared.tools.trace.dead(since.number, &dead);
    let finisher = to.finisher.clone();
    Ok(to.awake(finisher.finish(effects, ackers, since)).await??)
}

async fn commit(
    to: &mut Committer,
    items: &[Item],
    marks: &[Mark],
    trial: Option<Place>,
) -> Result<Vec<Effect>, SessionEnd> {
    let begun = Instant::now();
    let members = usize::try_from(to.shared.config.group.members).unwrap_or(usize::MAX);
    let rules = Rules { group_members: members };
    let done = run::commit(&to.session, &mut to.cache, items, marks, trial, rules).await;
    metrics().store_seconds.record(begun.elapsed());
    match done {
        Ok(effects) => {
            metrics().chunks_ok.increment(1);
            count(items, &effects);
            Ok(effects)
        }
        Err(error) => {
            metrics().chunks_lost.increment(1);
            Err(error.into())
        }
    }
}

/// As the lanes' own counts: what was committed before is not counted again. Where a connection broke in the very commit
/// it is not counted at all; the lanes' counts are exact there too.
fn count(items: &[Item], effects: &[Effect]) {
    let mut tally = Tally::default();
    for (item, effect) in items.iter().zip(effects).filter(|(item, _)| item.fresh) {
        match effect.outcome {
            // Counted where it is set aside.
            Outcome::Dead => continue,
            Outcome::Refused(code) => metrics().refused(code),
            Outcome::Stored | Outcome::Duplicate => {}
        }
        tally.add(Some(item.accepted.batch_kind()), effect.outcome, 1);
    }
    metrics().frames(&tally);
}

/// Sets frames aside before their lane's mark says so.
async fn bury(to: &Committer, dead: &[Dead], marks: &mut [Mark]) -> Result<Vec<Effect>, SessionEnd> {
    let mut effects = Vec::new();
    for frame in dead {
        let stream = to.lanes.get(&frame.place.lane).map_or("", |owned| &owned.stream);
        probation::set_aside(&to.shared.js, &to.shared.subjects, stream, frame).await?;
        let kind = frame.accepted.as_ref().map(|accepted| accepted.batch_kind());
        let mut tally = Tally::default();
        tally.add(kind, Outcome::Dead, u64::from(frame.fresh));
        metrics().frames(&tally);
        if let Some(mark) = marks.iter_mut().find(|mark| mark.lane == frame.place.lane.0)
            && frame.fresh
        {
            mark.dead += 1;
        }
        effects.extend(probation::answer(frame));
    }
    Ok(effects)
}

fn marks(to: &Committer, reach: impl Iterator<Item = (Lane, u64)>) -> Vec<Mark> {
    reach
        .map(|(lane, committed)| Mark {
            lane: lane.0,
            stream: to.lanes.get(&lane).map_or_else(String::new, |owned| owned.stream.to_string()),
            committed: i64::try_from(committed).unwrap_or(i64::MAX),
            ..Mark::default()
        })
        .collect()
}
