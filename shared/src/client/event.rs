//! What a client is told.

use std::time::Duration;

use bytes::Bytes;
use toml::Table;

use super::handle::Refused;
use crate::{
    command::RequestName,
    ids::{Conversation, Device, GroupId, MessageId, Seq, UserId},
    message::Target,
};

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A message or a request of someone else, or of this user on another device. Each `seq` of a conversation once.
    Delivery(Delivery),
    /// A message of this device got further.
    Receipt(Receipt),
    /// Logged in, at this address.
    Connected {
        /// `host:port`.
        server: String,
        /// How long there was no connection before it. Nothing for the first one, and where the one before still served
        /// when this one was there.
        away: Duration,
    },
    /// The connection is gone; the next one is under way.
    Disconnected {
        /// Why, for people.
        reason: String,
    },
    /// This node is about to end; the client will move by itself.
    Moved {
        /// `host:port` of the next one; `None` where there is no other.
        server: Option<String>,
    },
    /// This device logged in elsewhere. The last event.
    Replaced,
    /// The login was refused after a connection was lost: the token is revoked, say. The last event.
    LoginRefused(Refused),
    /// A refusal of something that this client does not wait for: an acknowledgement, say.
    Refusal(Refused),
    /// A frame that this version does not know, as it came.
    Unknown(String),
}

/// A stored frame, as every recipient gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Which of the three.
    pub kind: DeliveryKind,
    /// Whose talk it belongs to.
    pub conversation: Conversation,
    /// Its place there.
    pub seq: Seq,
    /// Who sent it.
    pub from: UserId,
    /// On which device.
    pub device: Option<Device>,
    /// The sender's id for it.
    pub id: MessageId,
    /// When it was accepted, Unix seconds.
    pub ts: i64,
    /// What it says.
    pub content: Content,
    /// The frame as it came.
    pub raw: Bytes,
}

/// The three kinds of delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryKind {
    /// `[[m]]`.
    Message,
    /// `[[gm]]`.
    GroupMessage,
    /// `[[r]]`.
    Request,
}

/// What a delivery says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// The text of a message.
    Text(String),
    /// A request, with all its own keys.
    Request {
        /// Its `t`.
        name: RequestName,
        /// All its keys.
        table: Table,
    },
}

impl Delivery {
    /// The text of a message; `None` for a request.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            Content::Request { .. } => None,
        }
    }

    /// Whom an answer of `me` goes to: the group, or the other side.
    pub fn answer_to(&self, me: UserId) -> Target {
        match self.conversation {
            Conversation::Group(group) => Target::Group(group),
            talk => Target::User(talk.peer(me).unwrap_or(self.from)),
        }
    }

    /// Name and keys of a request; `None` for a message.
    pub fn request(&self) -> Option<(RequestName, &Table)> {
        match &self.content {
            Content::Text(_) => None,
            Content::Request { name, table } => Some((*name, table)),
        }
    }
}

/// An acknowledgement beyond `stored`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The message's id.
    pub id: MessageId,
    /// How far it got.
    pub level: Level,
    /// Its place, where given.
    pub seq: Option<Seq>,
    /// Its group, where it went to one.
    pub group: Option<GroupId>,
    /// Who acknowledged it.
    pub by: Option<UserId>,
    /// On which device.
    pub device: Option<Device>,
}

/// How far a message got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// The broker has it.
    Queued,
    /// A device of a recipient has it.
    Delivered,
    /// A recipient has read it.
    Read,
}
