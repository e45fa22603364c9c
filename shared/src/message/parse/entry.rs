//! One entry of a client's frame.

use toml::de::DeTable;

use super::{
    super::{
        Ack, Ask, Entry, GROUP_NAME_BYTES, Login, Message, Refusal, Request, Target, WantedAck,
        keys::{Keys, Wrong, found},
    },
    Limits,
};
use crate::{
    command::{Code, RequestName},
    ids::{GroupId, Seq, TokenDigest, UserId},
};

/// Reads the entry of a known kind.
pub(super) fn read(kind: &str, table: &DeTable<'_>, limits: &Limits) -> Result<Entry, Refusal> {
    let keys = Keys::of(table);
    let entry = match kind {
        "m" | "gm" => message(kind, keys, limits.text).map(Entry::Message),
        "a" => ack(keys).map(Entry::Ack),
        _ => request(keys, limits),
    };
    entry.map_err(|wrong| Refusal {
        code: wrong.code,
        reason: format!("expected {}; found {}", wrong.expected, wrong.found),
        id: keys.maybe_id().ok().flatten(),
        t: if kind == "r" { keys.maybe_str("t").ok().flatten().and_then(RequestName::parse) } else { None },
    })
}

/// `[[m]]` and `[[gm]]`, from a client as from the broker.
pub(in crate::message) fn message(kind: &str, keys: Keys<'_>, longest: usize) -> Result<Message, Wrong> {
    Ok(Message {
        id: keys.id()?,
        to: match kind {
            "m" => Target::User(keys.user("to", "[m.to]")?),
            _ => Target::Group(keys.group("group")?),
        },
        content: keys.text("c", longest)?,
        ack: match keys.maybe_str("ack")? {
            None => WantedAck::default(),
            Some(level) => WantedAck::parse(level).ok_or_else(|| {
                Wrong::invalid(
                    "`ack` as \"stored\", \"queued\", \"delivered\", \"read\" or \"receipts\"",
                    found(keys.get("ack")),
                )
            })?,
        },
    })
}

fn ack(keys: Keys<'_>) -> Result<Ack, Wrong> {
    let id = keys.maybe_id()?;
    let seq = keys.maybe_whole("seq", Seq::new)?;
    let from = ack_from(keys)?;
    let to = keys.maybe_user("to", "[a.to]")?;
    let read = match keys.maybe_str("lvl")? {
        None | Some("delivered") => false,
        Some("read") => true,
        Some(_) => return Err(Wrong::invalid("`lvl` as \"delivered\" or \"read\"", found(keys.get("lvl")))),
    };
    let ack = Ack { id, seq, from, to, read };
    match ack_lacks(&ack) {
        None => Ok(ack),
        Some(expected) => {
            Err(Wrong::invalid(expected, if seq.is_some() { "`seq` alone" } else { "no `seq`" }))
        }
    }
}

/// What an acknowledgement lacks to say what is meant; `None` when it lacks nothing.
pub(super) fn ack_lacks(ack: &Ack) -> Option<&'static str> {
    let addressed = ack.seq.is_some() && (ack.from.is_some() || ack.to.is_some());
    match (ack.read, &ack.id) {
        _ if addressed => None,
        (true, _) => Some("`seq` with [a.from] id or `group` beside lvl = \"read\""),
        (false, None) => Some("`id`, or `seq` with [a.from] id or `group`"),
        (false, Some(_)) => None,
    }
}

/// `group = 9`, `[a.from] group = 9`, `[a.from] id = 1` or `from = 1`. A group's deliveries also have a sender, so
/// a client may well name both: the group tells the conversation.
fn ack_from(keys: Keys<'_>) -> Result<Option<Target>, Wrong> {
    let mut group = keys.maybe_whole("group", GroupId::new)?;
    let mut user = None;
    if keys.get("from").is_some_and(|value| value.is_table()) {
        if let Some(from) = keys.table("from", "[a.from]")? {
            user = from.maybe_whole("id", UserId::new)?;
            group = group.or(from.maybe_whole("group", GroupId::new)?);
        }
    } else {
        user = keys.maybe_user("from", "[a.from]")?;
    }
    Ok(group.map(Target::Group).or(user.map(Target::User)))
}

fn request(keys: Keys<'_>, limits: &Limits) -> Result<Entry, Wrong> {
    let name = request_name(keys)?;
    let id = keys.id()?;
    if name == RequestName::CreateGroup {
        keys.maybe_text("name", GROUP_NAME_BYTES)?;
    }
    if !matches!(name, RequestName::Login | RequestName::Reconnect) {
        return Ok(Entry::Request(Request { id, what: ask(name, keys, limits)? }));
    }
    let Some(user) = keys.table("user", "[r.user]")? else {
        return Err(Wrong::invalid("[r.user] with `id`, `device` and `token`", "nothing"));
    };
    Ok(Entry::Login(Login {
        id,
        name,
        user: user.whole("id", UserId::new)?,
        device: user.device()?,
        token: user.maybe_str("token")?.map(TokenDigest::of),
    }))
}

/// `t`, one of the table of requests.
pub(in crate::message) fn request_name(keys: Keys<'_>) -> Result<RequestName, Wrong> {
    let t = keys.str("t")?;
    RequestName::parse(t).ok_or_else(|| {
        let known: Vec<_> = RequestName::ALL.iter().map(|name| name.as_str()).collect();
        let expected = format!("`t` as one of {}", known.join(", "));
        Wrong { code: Code::Unknown, expected, found: found(keys.get("t")) }
    })
}

/// What a request other than a login asks, from a client as from the broker.
pub(in crate::message) fn ask(name: RequestName, keys: Keys<'_>, limits: &Limits) -> Result<Ask, Wrong> {
    let to = || keys.user("to", "[r.to]");
    let group = || keys.group("group_id");
    Ok(match name {
        RequestName::AddContact => Ask::AddContact {
            to: to()?,
            message: keys.maybe_text("message", limits.text)?.unwrap_or_default(),
        },
        RequestName::AcceptContact => Ask::AcceptContact { to: to()? },
        RequestName::DeclineContact => Ask::DeclineContact { to: to()? },
        RequestName::DeleteContact => Ask::DeleteContact { to: to()? },
        RequestName::Block => Ask::Block { to: to()? },
        RequestName::Unblock => Ask::Unblock { to: to()? },
        RequestName::CreateGroup => {
            let name = keys.text("name", limits.text)?;
            if name.is_empty() {
                return Err(Wrong::invalid("`name` of 1 byte or more", "an empty one"));
            }
            Ask::CreateGroup {
                name,
                members: keys.maybe_users("members", limits.members)?.unwrap_or_default(),
            }
        }
        RequestName::CreateGroupMember => {
            Ask::CreateGroupMember { group: group()?, member: keys.whole("member_id", UserId::new)? }
        }
        RequestName::DeleteGroupMember => {
            Ask::DeleteGroupMember { group: group()?, member: keys.maybe_whole("member_id", UserId::new)? }
        }
        RequestName::DeleteGroup => Ask::DeleteGroup { group: group()? },
        RequestName::Login | RequestName::Reconnect => {
            return Err(Wrong::invalid("`t` as a request that a worker decides", found(keys.get("t"))));
        }
    })
}
