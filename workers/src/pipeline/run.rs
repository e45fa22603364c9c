//! A chunk through PostgreSQL: one transaction, in which everything happens or nothing.

use std::collections::BTreeMap;

use shared::{ids::UserId, message::Body};

use super::{
    ChunkError, Item, at_once,
    cache::Cache,
    effect::{Effect, Outcome},
    plan, requests, texts,
};
use crate::{
    contact,
    fail::{self, Step},
    store::{
        Session, StoreError,
        chunk::{contacts, messages},
        lanes::{self, Mark, Place},
    },
};

/// What a chunk is run with, besides its frames.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The most members a group may have.
    pub group_members: usize,
}

/// Runs a chunk and commits it. `marks` say per lane how far it reaches and what was set aside from it; the counts of
/// its frames are added here. `trial`: the frame that is tried alone after crashes, noted as done. Optimistic first; redone with a look-up when something in it is stored already.
///
/// # Errors
/// [`ChunkError`]; nothing of the chunk has been written then, or, if the connection broke in the commit itself,
/// nothing or all.
pub async fn commit(
    session: &Session,
    cache: &mut Cache,
    items: &[Item],
    marks: &[Mark],
    trial: Option<Place>,
    rules: Rules,
) -> Result<Vec<Effect>, ChunkError> {
    if trial.is_none() {
        match at_once::commit(session, cache, items, marks).await {
            Ok(Some(effects)) => return Ok(effects),
            Ok(None) => {}
            // The statement was a transaction of its own: nothing is to be rolled back.
            Err(ChunkError::Store(error)) if messages::is_duplicate(&error) => {
                return attempt(session, cache, items, marks, trial, rules, true).await;
            }
            Err(error) => return Err(error),
        }
    }
    match attempt(session, cache, items, marks, trial, rules, false).await {
        Err(ChunkError::Store(error)) if messages::is_duplicate(&error) => {
            roll_back(session).await?;
            // What the first try's requests changed and remembered is rolled back with it.
            cache.clear();
            attempt(session, cache, items, marks, trial, rules, true).await
        }
        other => other,
    }
}

async fn roll_back(session: &Session) -> Result<(), StoreError> {
    Ok(session.client().batch_execute("ROLLBACK").await?)
}

async fn attempt(
    session: &Session,
    cache: &mut Cache,
    items: &[Item],
    marks: &[Mark],
    trial: Option<Place>,
    rules: Rules,
    careful: bool,
) -> Result<Vec<Effect>, ChunkError> {
    // Both are sent before either is answered.
    let (begun, worked) =
        tokio::join!(session.client().batch_execute("BEGIN"), work(session, cache, items, rules, careful));
    begun.map_err(StoreError::from)?;
    let effects = worked?;
    fail::swallowed(items);
    fail::reached(Step::Written);
    let marks = counted(marks, items, &effects);
    if let Some(trial) = trial {
        lanes::done(session, trial).await?;
    }
    // Both are sent before either is answered; if the first fails the second rolls back.
    lanes::prepare_mark(session).await?;
    let (marked, committed) =
        tokio::join!(lanes::mark(session, &marks), session.client().batch_execute("COMMIT"));
    marked?;
    committed.map_err(StoreError::from)?;
    fail::reached(Step::Committed);
    Ok(effects)
}

async fn work(
    session: &Session,
    cache: &mut Cache,
    items: &[Item],
    rules: Rules,
    careful: bool,
) -> Result<Vec<Effect>, ChunkError> {
    let versions = versions(items);
    if !versions.is_empty() {
        contacts::lock_versions(session, &versions).await?;
    }
    let mut effects: Vec<Option<Effect>> = vec![None; items.len()];
    for stage in plan::stages(items) {
        if !stage.texts.is_empty() {
            texts::run(session, cache, items, &stage.texts, careful, &mut effects).await?;
        }
        for place in stage.requests {
            effects[place] = Some(requests::run(session, cache, &items[place], rules.group_members).await?);
        }
    }
    effects
        .into_iter()
        .map(|effect| {
            effect.ok_or_else(|| ChunkError::Broken("a frame was left out of its chunk's plan".to_owned()))
        })
        .collect()
}

/// The users whose contact versions may change, in order and once each.
fn versions(items: &[Item]) -> Vec<UserId> {
    let mut users: Vec<UserId> = items
        .iter()
        .filter_map(|item| match &item.accepted.what {
            Body::Request(request) => contact::versions_of(&request.what, item.accepted.from.user),
            Body::Message(_) => None,
        })
        .flatten()
        .collect();
    users.sort_unstable();
    users.dedup();
    users
}

/// Adds each fresh frame to its lane's counts. What was committed before is not counted again.
fn counted(marks: &[Mark], items: &[Item], effects: &[Effect]) -> Vec<Mark> {
    let mut by_lane: BTreeMap<u16, Mark> = marks.iter().map(|mark| (mark.lane, mark.clone())).collect();
    for (item, effect) in items.iter().zip(effects) {
        if let Some(mark) = by_lane.get_mut(&item.lane.0)
            && item.fresh
        {
            match effect.outcome {
                Outcome::Stored => mark.stored += 1,
                Outcome::Duplicate => mark.duplicate += 1,
                Outcome::Refused(_) => mark.refused += 1,
                Outcome::Dead => mark.dead += 1,
            }
        }
    }
    by_lane.into_values().collect()
}
