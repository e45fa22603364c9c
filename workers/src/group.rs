//! The rules of groups: made with members, joined by invitation, left, ended. Each change is a frame in the group's own
//! conversation, and bounds what a member sees: from the notice of joining to the notice of leaving.

use std::sync::Arc;

use shared::{
    command::Code,
    ids::{Conversation, GroupId, Seq, UserId},
    message::{Ask, GROUP_NAME_BYTES, write::Success},
};

use crate::{
    message::no_user,
    pipeline::{
        ChunkError,
        requests::{Decision, Desk},
    },
    store::chunk::{
        contacts,
        groups::{self, Group},
        messages::{self, Participant},
    },
};

/// Decides a group's request.
///
/// # Errors
/// [`ChunkError`].
pub async fn decide(desk: &mut Desk<'_>) -> Result<Decision, ChunkError> {
    match &desk.request.what {
        Ask::CreateGroup { name, members } => create(desk, name, members).await,
        Ask::CreateGroupMember { group, member } => add(desk, *group, *member).await,
        Ask::DeleteGroupMember { group, member } => remove(desk, *group, *member).await,
        Ask::DeleteGroup { group } => dissolve(desk, *group).await,
        _ => Err(ChunkError::Broken("a contact request among the groups'".to_owned())),
    }
}

async fn create(desk: &Desk<'_>, name: &str, members: &[UserId]) -> Result<Decision, ChunkError> {
    // An edge has looked already; what it lets pass is everybody's list of groups.
    if name.len() > GROUP_NAME_BYTES {
        let (most, found) = (GROUP_NAME_BYTES, name.len());
        let reason = format!("expected `name` of at most {most} bytes; found {found} bytes");
        return Ok(Decision::refused(Code::TooLong, reason));
    }
    let creator = desk.sender();
    let mut everyone: Vec<UserId> = members.iter().copied().chain([creator]).collect();
    everyone.sort_unstable();
    everyone.dedup();
    if everyone.len() > desk.group_members {
        return Ok(too_many(desk.group_members, everyone.len()));
    }
    if let Some(refusal) = objection(desk, &everyone).await? {
        return Ok(refusal);
    }
    let group = groups::create(desk.session, name, creator).await?;
    let conversation = Conversation::Group(group);
    let seq = desk.append(conversation, Some(group), None).await?;
    let rows: Vec<_> =
        everyone.iter().map(|user| Participant { user: *user, conversation, from: seq }).collect();
    messages::participate(desk.session, &rows).await?;
    Ok(told(group, seq, everyone, Some(group)))
}

async fn add(desk: &mut Desk<'_>, id: GroupId, member: UserId) -> Result<Decision, ChunkError> {
    let sender = desk.sender();
    let group = match open(desk, id).await? {
        Ok(group) => group,
        Err(refusal) => return Ok(refusal),
    };
    if group.members.contains_key(&member) {
        return Ok(Decision::refused(
            Code::Exists,
            format!("user {member} is a member of group {id} already"),
        ));
    }
    if let Some(refusal) = objection(desk, &[member]).await? {
        return Ok(refusal);
    }
    if sender != group.creator && !contacts::standing(desk.session, sender, member).await?.contacts {
        let reason = format!("expected the creator of group {id}, or a contact of yours as `member_id`");
        return Ok(Decision::refused(Code::Forbidden, reason));
    }
    if group.members.len() >= desk.group_members {
        return Ok(too_many(desk.group_members, group.members.len() + 1));
    }
    let conversation = Conversation::Group(id);
    let seq = desk.append(conversation, None, None).await?;
    messages::participate(desk.session, &[Participant { user: member, conversation, from: seq }]).await?;
    desk.cache.forget_group(id);
    let to = group.everyone.iter().copied().chain([member]).collect();
    Ok(told(id, seq, to, None))
}

async fn remove(desk: &mut Desk<'_>, id: GroupId, member: Option<UserId>) -> Result<Decision, ChunkError> {
    let sender = desk.sender();
    let group = match open(desk, id).await? {
        Ok(group) => group,
        Err(refusal) => return Ok(refusal),
    };
    let member = member.unwrap_or(sender);
    if member == group.creator {
        let reason = format!("the creator of group {id} cannot leave it, only dissolve it with delete_group");
        return Ok(Decision::refused(Code::Forbidden, reason));
    }
    if member != sender && sender != group.creator {
        let reason = format!("expected the creator of group {id}, or your own id as `member_id`");
        return Ok(Decision::refused(Code::Forbidden, reason));
    }
    if !group.members.contains_key(&member) {
        return Ok(Decision::refused(Code::NotFound, format!("user {member} is not a member of group {id}")));
    }
    let seq = desk.append(Conversation::Group(id), None, None).await?;
    groups::end(desk.session, id, member, seq).await?;
    desk.cache.forget_group(id);
    Ok(told(id, seq, group.everyone.to_vec(), None))
}

async fn dissolve(desk: &mut Desk<'_>, id: GroupId) -> Result<Decision, ChunkError> {
    let group = match open(desk, id).await? {
        Ok(group) => group,
        Err(refusal) => return Ok(refusal),
    };
    if group.creator != desk.sender() {
        let reason = format!("expected the creator of group {id}, who alone may dissolve it");
        return Ok(Decision::refused(Code::Forbidden, reason));
    }
    let seq = desk.append(Conversation::Group(id), None, None).await?;
    groups::dissolve(desk.session, id, seq).await?;
    desk.cache.forget_group(id);
    Ok(told(id, seq, group.everyone.to_vec(), None))
}

/// The group, if it stands and the sender is a member of it.
async fn open(desk: &mut Desk<'_>, id: GroupId) -> Result<Result<Arc<Group>, Decision>, ChunkError> {
    desk.cache.groups(desk.session, [id]).await?;
    let to = shared::message::Target::Group(id);
    if let Err(refusal) = crate::message::judge(desk.cache, desk.sender(), to) {
        return Ok(Err(Decision::Refused(refusal)));
    }
    desk.cache
        .group(id)
        .map(Ok)
        .ok_or_else(|| ChunkError::Broken("a group that was judged is gone".to_owned()))
}

/// Whether someone named does not exist, or has blocked the one who names them.
async fn objection(desk: &Desk<'_>, named: &[UserId]) -> Result<Option<Decision>, ChunkError> {
    let (unknown, blocking) = groups::objections(desk.session, named, desk.sender()).await?;
    Ok(match (unknown.first(), blocking.first()) {
        (Some(user), _) => Some(Decision::Refused(no_user(*user))),
        (None, Some(user)) => {
            Some(Decision::refused(Code::Blocked, format!("user {user} does not accept requests from you")))
        }
        (None, None) => None,
    })
}

fn told(group: GroupId, seq: Seq, to: Vec<UserId>, made: Option<GroupId>) -> Decision {
    let success = Success { seq: Some(seq), contact_version: None, group_id: made };
    Decision::Told { conversation: Conversation::Group(group), to, success }
}

fn too_many(most: usize, found: usize) -> Decision {
    Decision::refused(Code::Limit, format!("expected at most {most} members in a group, found {found}"))
}
