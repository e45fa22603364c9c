//! The chunk as it nearly always is, texts alone, all new and within the rules, in one statement and so one transaction.

use std::collections::{BTreeMap, HashSet};

use super::{
    ChunkError, Item,
    cache::Cache,
    effect::{Effect, Outcome},
    texts::{self, Standing, Text},
};
use crate::{
    fail, message,
    store::{
        Session,
        chunk::messages::{self, NewRow},
        lanes::Mark,
    },
};

/// Commits the chunk, or says by `None` that it is one to be worked through step by step, and has changed nothing.
///
/// # Errors
/// [`ChunkError`]; see [`messages::is_duplicate`] for the one that asks for a careful second try.
pub async fn commit(
    session: &Session,
    cache: &mut Cache,
    items: &[Item],
    marks: &[Mark],
) -> Result<Option<Vec<Effect>>, ChunkError> {
    if items.is_empty() || !items.iter().all(|item| item.fresh) || fail::between_writing_and_commit() {
        return Ok(None);
    }
    let texts: Vec<Text<'_>> =
        items.iter().enumerate().filter_map(|(place, item)| texts::text(place, item)).collect();
    if texts.len() < items.len() {
        return Ok(None);
    }
    texts::load_rules(session, cache, &texts).await?;
    let mut seen = HashSet::with_capacity(texts.len());
    for text in &texts {
        let allowed = message::judge(cache, text.frame.from.user, text.message.to).is_ok();
        if !allowed || !seen.insert((text.conversation, text.digest)) {
            return Ok(None);
        }
    }
    let rows: Vec<NewRow<'_>> = texts.iter().map(texts::row).collect();
    let may_begin = |conversation: &_| !cache.has_begun(conversation);
    let seqs = messages::insert_all(session, &rows, may_begin, &counted(marks, items)).await?;
    fail::reached(fail::Step::Committed);
    cache.have_begun(texts.iter().map(|text| text.conversation));
    let effect = |(text, seq): (&Text<'_>, _)| {
        texts::stored(cache, text, Standing { seq, ts: text.frame.ts, outcome: Outcome::Stored })
    };
    Ok(Some(texts.iter().zip(seqs).map(effect).collect()))
}

/// The marks with every frame counted as stored.
fn counted(marks: &[Mark], items: &[Item]) -> Vec<Mark> {
    let mut stored = BTreeMap::<u16, i64>::new();
    for item in items {
        *stored.entry(item.lane.0).or_default() += 1;
    }
    let add = |mark: &Mark| {
        let more = stored.get(&mark.lane).copied().unwrap_or(0);
        Mark { stored: mark.stored + more, ..mark.clone() }
    };
    marks.iter().map(add).collect()
}
