//! The rules of contacts: asked, accepted, declined, ended, blocked. All of it happens in the two users' conversation.

use shared::{
    command::Code,
    ids::UserId,
    message::{Ask, write::Success},
};

use crate::{
    message::{both_sides, no_user},
    pipeline::{
        ChunkError,
        requests::{Decision, Desk},
    },
    store::chunk::contacts::{self, Standing},
};

/// Decides a contact request.
///
/// # Errors
/// [`ChunkError`].
pub async fn decide(desk: &mut Desk<'_>) -> Result<Decision, ChunkError> {
    let (me, other) = (desk.sender(), addressee(&desk.request.what)?);
    if me == other {
        return Ok(Decision::refused(
            Code::Invalid,
            format!("expected another user's id in `to`, found your own, {me}"),
        ));
    }
    let standing = contacts::standing(desk.session, me, other).await?;
    if !standing.exists {
        return Ok(Decision::Refused(no_user(other)));
    }
    match desk.request.what {
        Ask::AddContact { ref message, .. } => add(desk, other, standing, message).await,
        Ask::AcceptContact { .. } => accept(desk, other, standing).await,
        Ask::DeclineContact { .. } => decline(desk, other, standing).await,
        Ask::DeleteContact { .. } => delete(desk, other, standing).await,
        Ask::Block { .. } => {
            contacts::block(desk.session, me, other).await?;
            desk.cache.forget_pair(me, other);
            Ok(Decision::Quiet)
        }
        Ask::Unblock { .. } => {
            contacts::unblock(desk.session, me, other).await?;
            desk.cache.forget_pair(me, other);
            Ok(Decision::Quiet)
        }
        _ => Err(ChunkError::Broken("a group's request among the contacts'".to_owned())),
    }
}

/// The users whose contact versions a request may change; locked before anything else in a chunk's transaction.
pub fn versions_of(ask: &Ask, sender: UserId) -> Option<[UserId; 2]> {
    match *ask {
        Ask::AddContact { to, .. } | Ask::AcceptContact { to } | Ask::DeleteContact { to } => {
            Some([sender, to])
        }
        _ => None,
    }
}

fn addressee(ask: &Ask) -> Result<UserId, ChunkError> {
    match *ask {
        Ask::AddContact { to, .. }
        | Ask::AcceptContact { to }
        | Ask::DeclineContact { to }
        | Ask::DeleteContact { to }
        | Ask::Block { to }
        | Ask::Unblock { to } => Ok(to),
        _ => Err(ChunkError::Broken("a group's request among the contacts'".to_owned())),
    }
}

async fn add(
    desk: &mut Desk<'_>,
    other: UserId,
    standing: Standing,
    message: &str,
) -> Result<Decision, ChunkError> {
    let me = desk.sender();
    if standing.they_block_me {
        return Ok(blocked(other));
    }
    if standing.contacts {
        return Ok(Decision::refused(Code::Exists, format!("user {other} is your contact already")));
    }
    if standing.i_asked {
        return Ok(Decision::refused(Code::Waiting, format!("waiting for user {other} to accept")));
    }
    if standing.they_asked {
        // Two that cross: each wants the other, so they are contacts at once.
        return make_contacts(desk, other).await;
    }
    contacts::ask(desk.session, me, other, message).await?;
    told(desk, None).await
}

async fn accept(desk: &mut Desk<'_>, other: UserId, standing: Standing) -> Result<Decision, ChunkError> {
    if !standing.they_asked {
        return Ok(no_request(other));
    }
    if standing.they_block_me {
        return Ok(blocked(other));
    }
    make_contacts(desk, other).await
}

async fn decline(desk: &mut Desk<'_>, other: UserId, standing: Standing) -> Result<Decision, ChunkError> {
    if !standing.they_asked {
        return Ok(no_request(other));
    }
    contacts::forget(desk.session, desk.sender(), other).await?;
    told(desk, None).await
}

/// Allowed to one who is blocked, too: ending a contact is one's own right.
async fn delete(desk: &mut Desk<'_>, other: UserId, standing: Standing) -> Result<Decision, ChunkError> {
    if !standing.contacts {
        return Ok(Decision::refused(Code::NotFound, format!("user {other} is not your contact")));
    }
    let versions = contacts::set_contact(desk.session, desk.sender(), other, true).await?;
    told(desk, Some(versions)).await
}

async fn make_contacts(desk: &mut Desk<'_>, other: UserId) -> Result<Decision, ChunkError> {
    contacts::forget(desk.session, desk.sender(), other).await?;
    let versions = contacts::set_contact(desk.session, desk.sender(), other, false).await?;
    told(desk, Some(versions)).await
}

async fn told(desk: &mut Desk<'_>, versions: Option<(i64, i64)>) -> Result<Decision, ChunkError> {
    let me = desk.sender();
    let conversation = desk
        .request
        .what
        .conversation(me)
        .ok_or_else(|| ChunkError::Broken("a contact request outside a conversation".to_owned()))?;
    let seq = desk.append(conversation, None, versions).await?;
    let success = Success { seq: Some(seq), contact_version: versions.map(|(mine, _)| mine), group_id: None };
    Ok(Decision::Told { conversation, to: both_sides(conversation), success })
}

fn blocked(other: UserId) -> Decision {
    Decision::refused(Code::Blocked, format!("user {other} does not accept requests from you"))
}

fn no_request(other: UserId) -> Decision {
    Decision::refused(Code::NoRequest, format!("no contact request from user {other} waits for your answer"))
}
