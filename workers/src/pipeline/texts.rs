//! The messages of a stage, as one set: rules, look-up of what is stored already, insert, effects.

use std::collections::HashMap;

use shared::{
    ids::{Conversation, Seq},
    message::{Accepted, Body, Message, Target},
};

use super::{ChunkError, Item, cache::Cache, digest, effect::Effect, effect::Outcome, not_stored_then};
use crate::{
    message::{self, Verdict},
    store::{
        Session,
        chunk::messages::{self, Digest, NewRow, Participant, Stands},
        rows,
    },
};

pub(super) struct Text<'a> {
    pub place: usize,
    pub frame: &'a Accepted,
    pub message: &'a Message,
    pub conversation: Conversation,
    pub digest: Digest,
    pub fresh: bool,
}

/// Where a message came to stand.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    pub seq: Seq,
    pub ts: i64,
    pub outcome: Outcome,
}

/// Stores the messages at `places` and sets their effects. `careful`: look every digest up first, as the insert has
/// objected before.
///
/// # Errors
/// [`ChunkError`]; see [`messages::is_duplicate`] for the one that asks for a careful second try.
pub async fn run(
    session: &Session,
    cache: &mut Cache,
    items: &[Item],
    places: &[usize],
    careful: bool,
    effects: &mut [Option<Effect>],
) -> Result<(), ChunkError> {
    let texts: Vec<Text<'_>> = places.iter().filter_map(|place| text(*place, &items[*place])).collect();
    load_rules(session, cache, &texts).await?;
    let mut verdicts: Vec<Verdict> =
        texts.iter().map(|text| message::judge(cache, text.frame.from.user, text.message.to)).collect();

    // A retry gets its first answer even where the rules would refuse it by now, so what is refused is looked up too. So
    // is what was committed before: found it is a duplicate, not found it was not stored then and is not stored now.
    let asked: Vec<usize> =
        (0..texts.len()).filter(|n| careful || !texts[*n].fresh || verdicts[*n].is_err()).collect();
    let digests: Vec<_> = asked.iter().map(|n| (texts[*n].conversation, texts[*n].digest)).collect();
    let mut standing: Vec<Option<Standing>> = vec![None; texts.len()];
    for (found, seq, ts) in messages::look_up(session, &digests).await? {
        standing[asked[found]] = Some(Standing { seq, ts, outcome: Outcome::Duplicate });
    }

    let mut first: HashMap<(Conversation, Digest), usize> = HashMap::new();
    let mut new: Vec<usize> = Vec::with_capacity(texts.len());
    let mut same_as: Vec<Option<usize>> = vec![None; texts.len()];
    for (n, text) in texts.iter().enumerate() {
        if standing[n].is_some() || verdicts[n].is_err() {
            continue;
        }
        match first.entry((text.conversation, text.digest)) {
            std::collections::hash_map::Entry::Occupied(earlier) => same_as[n] = Some(*earlier.get()),
            std::collections::hash_map::Entry::Vacant(_) if !text.fresh => {
                verdicts[n] = Err(not_stored_then())
            }
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(n);
                new.push(n);
            }
        }
    }
    insert(session, &texts, &new, &mut standing).await?;
    for (n, earlier) in same_as.iter().enumerate() {
        if let Some(earlier) = earlier {
            standing[n] = standing[*earlier].map(|stands| Standing { outcome: Outcome::Duplicate, ..stands });
        }
    }

    for (n, text) in texts.iter().enumerate() {
        let effect = match (&standing[n], &verdicts[n]) {
            (Some(stands), _) => stored(cache, text, *stands),
            (None, Err(refusal)) => Effect::refused(text.frame, Outcome::Refused(refusal.code), refusal),
            (None, Ok(())) => {
                return Err(ChunkError::Broken("a message was neither stored nor refused".to_owned()));
            }
        };
        effects[text.place] = Some(effect);
    }
    Ok(())
}

pub(super) fn text(place: usize, item: &Item) -> Option<Text<'_>> {
    match &item.accepted.what {
        Body::Message(message) => Some(Text {
            place,
            frame: &item.accepted,
            message,
            conversation: message.to.conversation(item.accepted.from.user),
            digest: digest::of(&item.accepted),
            fresh: item.fresh,
        }),
        Body::Request(_) => None,
    }
}

pub(super) async fn load_rules(
    session: &Session,
    cache: &mut Cache,
    texts: &[Text<'_>],
) -> Result<(), ChunkError> {
    let (mut pairs, mut groups) = (Vec::new(), Vec::new());
    for text in texts {
        match text.message.to {
            Target::User(user) => pairs.push((text.frame.from.user, user)),
            Target::Group(group) => groups.push(group),
        }
    }
    cache.pairs(session, pairs).await?;
    cache.groups(session, groups).await?;
    Ok(())
}

async fn insert(
    session: &Session,
    texts: &[Text<'_>],
    new: &[usize],
    standing: &mut [Option<Standing>],
) -> Result<(), ChunkError> {
    if new.is_empty() {
        return Ok(());
    }
    let rows: Vec<NewRow<'_>> = new.iter().map(|n| row(&texts[*n])).collect();
    let inserted = messages::insert(session, &rows).await?;
    let mut begun = Vec::new();
    for (n, Stands { seq, first }) in new.iter().zip(inserted) {
        let text = &texts[*n];
        standing[*n] = Some(Standing { seq, ts: text.frame.ts, outcome: Outcome::Stored });
        if first {
            begun.extend(participants(text.conversation));
        }
    }
    messages::participate(session, &begun).await?;
    Ok(())
}

pub(super) fn row<'a>(text: &Text<'a>) -> NewRow<'a> {
    NewRow {
        conversation: text.conversation,
        sender: text.frame.from.user,
        ts: text.frame.ts,
        kind: rows::TEXT,
        want: rows::want(text.message.ack),
        device: text.frame.from.device.as_str(),
        id: text.message.id.as_str(),
        content: &text.message.content,
        digest: text.digest,
        version_sender: None,
        version_target: None,
    }
}

/// Both sides of a direct conversation take part from its first message on.
pub fn participants(conversation: Conversation) -> Vec<Participant> {
    match conversation {
        Conversation::Direct(low, high) => {
            let mut both = vec![low, high];
            both.dedup();
            both.into_iter().map(|user| Participant { user, conversation, from: Seq(1) }).collect()
        }
        Conversation::Group(_) => Vec::new(),
    }
}

pub(super) fn stored(cache: &Cache, text: &Text<'_>, stands: Standing) -> Effect {
    let again = stands.outcome == Outcome::Duplicate;
    let show = message::show(cache, text.frame, text.message, stands.seq, stands.ts, again);
    Effect::text(text.frame, stands.outcome, (text.conversation, stands.seq), stands.ts, vec![show])
}
