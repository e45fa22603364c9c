//! The requests of a stage, one by one: asked before? rules, effects, answer, all in the chunk's transaction.

use std::sync::Arc;

use shared::{
    command::Code,
    ids::{Conversation, GroupId, Seq, UserId},
    message::{Accepted, Ask, Body, Refusal, Request, write, write::Success},
};

use super::{
    ChunkError, Item, cache::Cache, digest, effect::Effect, effect::Outcome, effect::Show, not_stored_then,
    texts,
};
use crate::{
    contact, group,
    store::{
        Session, StoreError,
        chunk::messages::{self, Digest, NewRow, Stands},
        chunk::{groups, requests},
        rows,
    },
};

/// What a request is decided with.
pub struct Desk<'a> {
    /// The committer's session, inside the chunk's transaction.
    pub session: &'a Session,
    /// The committer's memory; what a request changes is forgotten there.
    pub cache: &'a mut Cache,
    /// The request's frame.
    pub frame: &'a Accepted,
    /// The request itself.
    pub request: &'a Request,
    /// The most members a group may have.
    pub group_members: usize,
    digest: Digest,
}

/// What was decided.
#[derive(Debug)]
pub enum Decision {
    /// Against a rule.
    Refused(Refusal),
    /// Done, and nobody else's business: a block.
    Quiet,
    /// Stored in a conversation as a frame of its own.
    Told {
        /// Where.
        conversation: Conversation,
        /// Who is shown it.
        to: Vec<UserId>,
        /// The answer; its `seq` is the frame's place.
        success: Success,
    },
}

impl Decision {
    /// A refusal.
    pub fn refused(code: Code, reason: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(code, reason))
    }
}

impl Desk<'_> {
    /// Who asks.
    pub fn sender(&self) -> UserId {
        self.frame.from.user
    }

    /// Stores the request as the next frame of a conversation. `versions` are the contact versions that the sender and
    /// the other side are shown; `made` the group that it made.
    ///
    /// # Errors
    /// The session's.
    pub async fn append(
        &self,
        conversation: Conversation,
        made: Option<GroupId>,
        versions: Option<(i64, i64)>,
    ) -> Result<Seq, ChunkError> {
        let (kind, content) = rows::encode_ask(&self.request.what, made);
        let row = NewRow {
            conversation,
            sender: self.sender(),
            ts: self.frame.ts,
            kind,
            want: 0,
            device: self.frame.from.device.as_str(),
            id: self.request.id.as_str(),
            content: &content,
            digest: self.digest,
            version_sender: versions.map(|(mine, _)| mine),
            version_target: versions.map(|(_, theirs)| theirs),
        };
        let inserted = messages::insert(self.session, &[row]).await?;
        let Some(&Stands { seq, first }) = inserted.first() else {
            return Err(ChunkError::Broken("an insert gave no seq".to_owned()));
        };
        if first {
            messages::participate(self.session, &texts::participants(conversation)).await?;
        }
        Ok(seq)
    }
}

/// Decides one request.
///
/// # Errors
/// [`ChunkError`].
pub async fn run(
    session: &Session,
    cache: &mut Cache,
    item: &Item,
    group_members: usize,
) -> Result<Effect, ChunkError> {
    let frame = &item.accepted;
    let Body::Request(request) = &frame.what else {
        return Err(ChunkError::Broken("a message among the requests".to_owned()));
    };
    let (digest, name) = (digest::of(frame), request.what.name());
    if let Some(success) = requests::find(session, &digest).await? {
        let conversation =
            request.what.conversation(frame.from.user).or(success.group_id.map(Conversation::Group));
        let shows = match conversation.zip(success.seq) {
            Some((conversation, seq)) => {
                let to = match conversation {
                    Conversation::Group(_) => groups::saw(session, conversation, seq).await?,
                    Conversation::Direct(..) => crate::message::both_sides(conversation),
                };
                shows(session, frame, (conversation, seq), to, true).await?
            }
            None => Vec::new(),
        };
        return Ok(Effect::request(frame, name, Outcome::Duplicate, conversation, &success, shows));
    }
    let mut desk = Desk { session, cache, frame, request, group_members, digest };
    let decision = if item.fresh { decide(&mut desk).await? } else { decide_again(&mut desk).await? };
    Ok(match decision {
        Decision::Refused(refusal) => Effect::refused(frame, Outcome::Refused(refusal.code), &refusal),
        Decision::Quiet => {
            let success = Success::default();
            requests::keep(session, &digest, frame.ts, &success).await?;
            Effect::request(frame, name, Outcome::Stored, None, &success, Vec::new())
        }
        Decision::Told { conversation, to, success } => {
            requests::keep(session, &digest, frame.ts, &success).await?;
            let shows = match success.seq {
                Some(seq) => shows(session, frame, (conversation, seq), to, false).await?,
                None => Vec::new(),
            };
            Effect::request(frame, name, Outcome::Stored, Some(conversation), &success, shows)
        }
    })
}

async fn decide(desk: &mut Desk<'_>) -> Result<Decision, ChunkError> {
    match &desk.request.what {
        Ask::CreateGroup { .. }
        | Ask::CreateGroupMember { .. }
        | Ask::DeleteGroupMember { .. }
        | Ask::DeleteGroup { .. } => group::decide(desk).await,
        _ => contact::decide(desk).await,
    }
}

/// Decides a request that was decided before and is not kept, so that it was refused: only the rules' word is taken, and
/// nothing of what it would do.
async fn decide_again(desk: &mut Desk<'_>) -> Result<Decision, ChunkError> {
    let client = desk.session.client();
    client.batch_execute("SAVEPOINT decided").await.map_err(StoreError::from)?;
    let decision = match decide(desk).await {
        // Its row is there, its answer has been removed since.
        Err(ChunkError::Store(error)) if messages::is_duplicate(&error) => Decision::Quiet,
        decided => decided?,
    };
    client
        .batch_execute("ROLLBACK TO SAVEPOINT decided; RELEASE SAVEPOINT decided")
        .await
        .map_err(StoreError::from)?;
    // What it has changed was forgotten, and read again by nobody since.
    Ok(match decision {
        Decision::Refused(_) => decision,
        Decision::Quiet | Decision::Told { .. } => Decision::Refused(not_stored_then()),
    })
}

/// The stored frame as each side is shown it: where it carries a contact version, each side has its own.
async fn shows(
    session: &Session,
    frame: &Accepted,
    (conversation, seq): (Conversation, Seq),
    to: Vec<UserId>,
    again: bool,
) -> Result<Vec<Show>, ChunkError> {
    let Some(row) = messages::stored(session, conversation, seq).await? else {
        // Retention has removed it; its answer is all that is left.
        return Ok(Vec::new());
    };
    let sender = frame.from.user;
    let show = |to: Vec<UserId>, reader: UserId| -> Result<Show, StoreError> {
        let stored = rows::stored(&row, reader)?;
        let mut body = Vec::new();
        write::stored(&stored, &mut body);
        Ok(Show {
            to: Arc::from(to),
            conversation,
            seq,
            from: sender,
            id: stored.id,
            skip: Some(frame.from.session),
            receipt: false,
            again,
            body: body.into(),
        })
    };
    let shows = match conversation {
        Conversation::Direct(..) => {
            to.into_iter().map(|user| show(vec![user], user)).collect::<Result<Vec<_>, _>>()?
        }
        Conversation::Group(_) => vec![show(to, sender)?],
    };
    Ok(shows)
}
