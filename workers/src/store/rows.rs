//! Rows of `messages` to frames, and requests to their columns.
//!
//! `kind` is 0 for a text and a number of its own for each request; `content` is the text, or the request's own keys as
//! TOML lines. Whom a contact request is for is not among them: it is the other side of the conversation.

use shared::{
    ids::{Conversation, Device, GroupId, MessageId, Seq, UserId},
    message::{Ask, Stored, StoredBody, WantedAck},
};
use tokio_postgres::Row;

use super::StoreError;

/// `kind` of a text.
pub const TEXT: i16 = 0;
/// Below 0: nothing that anybody is shown, owed or counted; only its `seq` matters, from which its conversation goes on.
/// Whoever reads rows of `messages` leaves them out. This one is made where a backup was restored.
pub const GAP: i16 = -1;
const ADD_CONTACT: i16 = 1;
const ACCEPT_CONTACT: i16 = 2;
const DECLINE_CONTACT: i16 = 3;
const DELETE_CONTACT: i16 = 4;
const CREATE_GROUP: i16 = 5;
const CREATE_GROUP_MEMBER: i16 = 6;
const DELETE_GROUP_MEMBER: i16 = 7;
const DELETE_GROUP: i16 = 8;
/// Never a row of `messages`, as the other side is not told; the numbers only tell their digests apart.
const BLOCK: i16 = 9;
const UNBLOCK: i16 = 10;

/// `messages.want`.
pub fn want(ack: WantedAck) -> i16 {
    match ack {
        WantedAck::Stored => 0,
        WantedAck::Queued => 1,
        WantedAck::Delivered => 2,
        WantedAck::Read => 3,
        WantedAck::Receipts => 4,
    }
}

/// `messages.want` read back.
pub fn wanted(want: i16) -> WantedAck {
    match want {
        1 => WantedAck::Queued,
        2 => WantedAck::Delivered,
        3 => WantedAck::Read,
        4 => WantedAck::Receipts,
        _ => WantedAck::Stored,
    }
}

/// A request's `kind` and `content`; `group` is the one that `create_group` made.
pub fn encode_ask(ask: &Ask, group: Option<GroupId>) -> (i16, String) {
    let mut keys = toml::Table::new();
    let mut put = |key: &str, value: toml::Value| {
        keys.insert(key.to_owned(), value);
    };
    let kind = match ask {
        Ask::AddContact { message, .. } => {
            put("message", message.clone().into());
            ADD_CONTACT
        }
        Ask::AcceptContact { .. } => ACCEPT_CONTACT,
        Ask::DeclineContact { .. } => DECLINE_CONTACT,
        Ask::DeleteContact { .. } => DELETE_CONTACT,
        Ask::Block { .. } => BLOCK,
        Ask::Unblock { .. } => UNBLOCK,
        Ask::CreateGroup { name, members } => {
            put("name", name.clone().into());
            let members: Vec<_> = members.iter().map(|member| toml::Value::from(member.0)).collect();
            put("members", members.into());
            if let Some(group) = group {
                put("group_id", group.0.into());
            }
            CREATE_GROUP
        }
        Ask::CreateGroupMember { group, member } => {
            put("group_id", group.0.into());
            put("member_id", member.0.into());
            CREATE_GROUP_MEMBER
        }
        Ask::DeleteGroupMember { group, member } => {
            put("group_id", group.0.into());
            if let Some(member) = member {
                put("member_id", member.0.into());
            }
            DELETE_GROUP_MEMBER
        }
        Ask::DeleteGroup { group } => {
            put("group_id", group.0.into());
            DELETE_GROUP
        }
    };
    (kind, keys.to_string())
}

/// A request read back, and the group that `create_group` made.
///
/// # Errors
/// [`StoreError::Row`].
pub fn decode_ask(
    kind: i16,
    content: &str,
    conversation: &Conversation,
    sender: UserId,
) -> Result<(Ask, Option<GroupId>), StoreError> {
    let keys: toml::Table =
        content.parse().map_err(|error: toml::de::Error| unreadable("TOML lines", error.message()))?;
    let number = |key: &str| keys.get(key).and_then(toml::Value::as_integer);
    let text = |key: &str| {
        let text = keys.get(key).and_then(toml::Value::as_str).map(str::to_owned);
        text.ok_or_else(|| unreadable("a text under its key", key))
    };
    let user = |key: &str| number(key).map(UserId).ok_or_else(|| unreadable("a user id under its key", key));
    let to = || conversation.peer(sender).ok_or_else(|| unreadable("two users' conversation", "a group's"));
    let group = || match (*conversation, number("group_id")) {
        (_, Some(group)) => Ok(GroupId(group)),
        (Conversation::Group(group), None) => Ok(group),
        (Conversation::Direct(..), None) => Err(unreadable("group_id", "none")),
    };
    let ask = match kind {
        ADD_CONTACT => Ask::AddContact { to: to()?, message: text("message")? },
        ACCEPT_CONTACT => Ask::AcceptContact { to: to()? },
        DECLINE_CONTACT => Ask::DeclineContact { to: to()? },
        DELETE_CONTACT => Ask::DeleteContact { to: to()? },
        BLOCK => Ask::Block { to: to()? },
        UNBLOCK => Ask::Unblock { to: to()? },
        CREATE_GROUP => {
            let members = keys.get("members").and_then(toml::Value::as_array);
            let members = members.ok_or_else(|| unreadable("an array of user ids", "none under members"))?;
            let members = members.iter().filter_map(toml::Value::as_integer).map(UserId).collect();
            return Ok((Ask::CreateGroup { name: text("name")?, members }, group().ok()));
        }
        CREATE_GROUP_MEMBER => Ask::CreateGroupMember { group: group()?, member: user("member_id")? },
        DELETE_GROUP_MEMBER => {
            Ask::DeleteGroupMember { group: group()?, member: number("member_id").map(UserId) }
        }
        DELETE_GROUP => Ask::DeleteGroup { group: group()? },
        other => return Err(unreadable("a kind from 0 to 10", &other.to_string())),
    };
    Ok((ask, None))
}

/// The columns that [`stored`] reads, in its order; `m` is the table's name in the statement.
pub const COLUMNS: &str = "m.conv, m.seq, m.sender, m.ts, m.kind, m.want, m.device, m.id, m.content, m.version_sender, m.version_target";

/// A row beginning with [`COLUMNS`], as `reader` is shown it.
///
/// # Errors
/// [`StoreError::Row`].
pub fn stored(row: &Row, reader: UserId) -> Result<Stored, StoreError> {
    stored_at(row, 0, reader)
}

/// As [`stored`], of a row in which [`COLUMNS`] begin at `first`.
///
/// # Errors
/// [`StoreError::Row`].
pub fn stored_at(row: &Row, first: usize, reader: UserId) -> Result<Stored, StoreError> {
    let conversation = conversation(row.get(first))?;
    let sender = UserId(row.get(first + 2));
    let kind: i16 = row.get(first + 4);
    let content: &str = row.get(first + 8);
    let what = if kind == TEXT {
        StoredBody::Text { content: content.to_owned(), ack: wanted(row.get(first + 5)) }
    } else {
        let (what, group) = decode_ask(kind, content, &conversation, sender)?;
        let contact_version = row.get(first + if reader == sender { 9 } else { 10 });
        StoredBody::Request { what, group, contact_version }
    };
    Ok(Stored {
        conversation,
        seq: Seq(row.get(first + 1)),
        sender,
        device: device(row.get(first + 6))?,
        id: message_id(row.get(first + 7))?,
        ts: row.get(first + 3),
        what,
    })
}

/// A `conv` column.
///
/// # Errors
/// [`StoreError::Row`].
pub fn conversation(text: &str) -> Result<Conversation, StoreError> {
    text.parse().map_err(|_| unreadable("dm:<user>:<user> or g:<group>", text))
}

/// A `device` column.
///
/// # Errors
/// [`StoreError::Row`].
pub fn device(text: &str) -> Result<Device, StoreError> {
    Device::new(text).map_err(|error| unreadable("a device", &error.found))
}

/// An `id` column.
///
/// # Errors
/// [`StoreError::Row`].
pub fn message_id(text: &str) -> Result<MessageId, StoreError> {
    MessageId::new(text).map_err(|error| unreadable("an id", &error.found))
}

fn unreadable(expected: &str, found: &str) -> StoreError {
    let found = found.chars().take(80).collect();
    StoreError::Row { table: "messages", expected: expected.to_owned(), found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_reads_back_from_its_columns() {
        let (me, you) = (UserId(7), UserId(3));
        let (talk, room) = (Conversation::direct(me, you), Conversation::Group(GroupId(9)));
        let group = GroupId(9);
        let cases = [
            (Ask::AddContact { to: you, message: "a \"quote\"\nand \\ a line".into() }, talk, None),
            (Ask::AddContact { to: you, message: String::new() }, talk, None),
            (Ask::AcceptContact { to: you }, talk, None),
            (Ask::DeclineContact { to: you }, talk, None),
            (Ask::DeleteContact { to: you }, talk, None),
            (Ask::Block { to: you }, talk, None),
            (Ask::Unblock { to: you }, talk, None),
            (Ask::CreateGroup { name: "friends".into(), members: vec![you, UserId(2)] }, room, Some(group)),
            (Ask::CreateGroup { name: "alone".into(), members: vec![] }, room, Some(group)),
            (Ask::CreateGroupMember { group, member: you }, room, None),
            (Ask::DeleteGroupMember { group, member: Some(you) }, room, None),
            (Ask::DeleteGroupMember { group, member: None }, room, None),
            (Ask::DeleteGroup { group }, room, None),
        ];
        for (ask, conversation, made) in cases {
            let (kind, content) = encode_ask(&ask, made);
            let read = decode_ask(kind, &content, &conversation, me).unwrap();
            assert_eq!(read, (ask, made), "{content}");
        }
    }

    #[test]
    fn content_is_toml_lines() {
        let (_, content) = encode_ask(&Ask::CreateGroupMember { group: GroupId(9), member: UserId(2) }, None);
        assert_eq!(content, "group_id = 9\nmember_id = 2\n");
        let (_, content) =
            encode_ask(&Ask::CreateGroup { name: "friends".into(), members: vec![UserId(2)] }, None);
        assert_eq!(content, "name = \"friends\"\nmembers = [2]\n");
    }

    #[test]
    fn what_is_not_a_request_is_said() {
        let room = Conversation::Group(GroupId(9));
        assert!(decode_ask(1, "message = \"x\"", &room, UserId(1)).is_err(), "a contact request in a group");
        assert!(decode_ask(6, "group_id = 9", &room, UserId(1)).is_err(), "no member");
        assert!(decode_ask(77, "", &room, UserId(1)).is_err(), "no such kind");
    }

    #[test]
    fn wanted_acks_read_back() {
        for ack in
            [WantedAck::Stored, WantedAck::Queued, WantedAck::Delivered, WantedAck::Read, WantedAck::Receipts]
        {
            assert_eq!(wanted(want(ack)), ack);
        }
    }
}
