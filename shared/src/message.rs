//! Typed frames: what clients send, what the broker carries, what clients get.
//!
//! A frame is parsed once, at the edge ([`parse`]); what passes is stamped with who sent it and travels as an
//! [`Accepted`] frame ([`accepted`]); what a worker has stored is written for clients by [`mod@write`].

pub mod accepted;
pub(crate) mod canonical;
mod keys;
pub mod parse;
#[cfg(test)]
pub(crate) mod samples;
pub mod write;

use crate::{
    command::{Code, RequestName},
    ids::{Conversation, Device, GroupId, MessageId, NodeId, Seq, SessionNo, TokenDigest, UserId},
    subject::{BatchKind, Lane},
};

/// The longest name of a group, in bytes: lists of thousands of groups are one answer after another, not one too many.
pub const GROUP_NAME_BYTES: usize = 256;

/// One entry of a client's frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// `[[r]] t = "login"` or `"reconnect"`.
    Login(Login),
    /// Every other `[[r]]`.
    Request(Request),
    /// `[[m]]` or `[[gm]]`.
    Message(Message),
    /// `[[a]]`.
    Ack(Ack),
}

/// A login as a client sends it. The token is a digest from the moment it is parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Login {
    /// The request's id.
    pub id: MessageId,
    /// `login` or `reconnect`, to be answered in kind.
    pub name: RequestName,
    /// Who it claims to be.
    pub user: UserId,
    /// On which device.
    pub device: Device,
    /// What the token digests to; `None` where none was given, which is enough for who brought one before.
    pub token: Option<TokenDigest>,
}

/// A message to a user or to a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The sender's own id.
    pub id: MessageId,
    /// `to` of `[[m]]`, `group` of `[[gm]]`.
    pub to: Target,
    /// The text, `c`.
    pub content: String,
    /// Which acknowledgement the sender wants beyond `stored`.
    pub ack: WantedAck,
}

/// Whom something is addressed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// A user.
    User(UserId),
    /// A group.
    Group(GroupId),
}

impl Target {
    /// The conversation of `user` with this target.
    pub fn conversation(self, user: UserId) -> Conversation {
        match self {
            Self::User(other) => Conversation::direct(user, other),
            Self::Group(group) => Conversation::Group(group),
        }
    }
}

/// `ack = "…"` of a message; `stored` always comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WantedAck {
    /// No more than `stored`.
    #[default]
    Stored,
    /// Also when the broker has taken it.
    Queued,
    /// Also when a recipient's device acknowledges it.
    Delivered,
    /// Also when a recipient has read it.
    Read,
    /// Both of these: when a recipient's device acknowledges it, and when the recipient has read it.
    Receipts,
}

impl WantedAck {
    /// As it stands in `ack = "…"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Queued => "queued",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Receipts => "receipts",
        }
    }

    /// A recipient's acknowledgement is to be told to the sender.
    pub fn wants_delivered(self) -> bool {
        matches!(self, Self::Delivered | Self::Receipts)
    }

    /// The level that is written so.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Stored, Self::Queued, Self::Delivered, Self::Read, Self::Receipts]
            .into_iter()
            .find(|level| level.as_str() == text)
    }
}

/// A client's acknowledgement of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Ack {
    /// The delivery's id, where given.
    pub id: Option<MessageId>,
    /// Its place, where given.
    pub seq: Option<Seq>,
    /// `[a.from] id`, or `group`, where given.
    pub from: Option<Target>,
    /// `[a.to] id`, which tells the conversation of a copy of one's own message.
    pub to: Option<UserId>,
    /// `lvl = "read"`: everything up to `seq` is read.
    pub read: bool,
}

/// A request that a worker decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The request's id.
    pub id: MessageId,
    /// What is asked.
    pub what: Ask,
}

/// What a request asks.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are the frame's own keys")]
pub enum Ask {
    AddContact {
        to: UserId,
        message: String,
    },
    AcceptContact {
        to: UserId,
    },
    DeclineContact {
        to: UserId,
    },
    DeleteContact {
        to: UserId,
    },
    Block {
        to: UserId,
    },
    Unblock {
        to: UserId,
    },
    /// `name` of 1 to [`GROUP_NAME_BYTES`].
    CreateGroup {
        name: String,
        members: Vec<UserId>,
    },
    CreateGroupMember {
        group: GroupId,
        member: UserId,
    },
    /// `member` absent: the sender itself.
    DeleteGroupMember {
        group: GroupId,
        member: Option<UserId>,
    },
    DeleteGroup {
        group: GroupId,
    },
}

impl Ask {
    /// Its `t`.
    pub fn name(&self) -> RequestName {
        match self {
            Self::AddContact { .. } => RequestName::AddContact,
            Self::AcceptContact { .. } => RequestName::AcceptContact,
            Self::DeclineContact { .. } => RequestName::DeclineContact,
            Self::DeleteContact { .. } => RequestName::DeleteContact,
            Self::Block { .. } => RequestName::Block,
            Self::Unblock { .. } => RequestName::Unblock,
            Self::CreateGroup { .. } => RequestName::CreateGroup,
            Self::CreateGroupMember { .. } => RequestName::CreateGroupMember,
            Self::DeleteGroupMember { .. } => RequestName::DeleteGroupMember,
            Self::DeleteGroup { .. } => RequestName::DeleteGroup,
        }
    }

    /// The conversation it takes place in; `None` for a group that is yet to be made.
    pub fn conversation(&self, sender: UserId) -> Option<Conversation> {
        match *self {
            Self::AddContact { to, .. }
            | Self::AcceptContact { to }
            | Self::DeclineContact { to }
            | Self::DeleteContact { to }
            | Self::Block { to }
            | Self::Unblock { to } => Some(Conversation::direct(sender, to)),
            Self::CreateGroup { .. } => None,
            Self::CreateGroupMember { group, .. }
            | Self::DeleteGroupMember { group, .. }
            | Self::DeleteGroup { group } => Some(Conversation::Group(group)),
        }
    }
}

/// What a worker gets to decide on: a message or a request, with the authenticated sender.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// Who sent it, as the edge authenticated it.
    pub from: Sender,
    /// When the edge accepted it, Unix seconds.
    pub ts: i64,
    /// Makes a repeated id a new message, for simple_im's original clients only.
    pub nonce: Option<u64>,
    /// What it is.
    pub what: Body,
}

/// The authenticated sender of an accepted frame.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "named by their types")]
pub struct Sender {
    pub user: UserId,
    pub device: Device,
    pub session: SessionNo,
    pub node: NodeId,
}

/// The two things that travel to workers.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "named by their types")]
pub enum Body {
    Message(Message),
    Request(Request),
}

impl Accepted {
    /// Its lane.
    pub fn lane(&self, lanes: u16) -> Lane {
        match &self.what {
            Body::Message(message) => Lane::of(&message.to.conversation(self.from.user), lanes),
            Body::Request(request) => match request.what.conversation(self.from.user) {
                Some(conversation) => Lane::of(&conversation, lanes),
                None => Lane::of_creator(self.from.user, lanes),
            },
        }
    }

    /// What it counts as in a batch's subject.
    pub fn batch_kind(&self) -> BatchKind {
        match &self.what {
            Body::Message(Message { to: Target::User(_), .. }) => BatchKind::Message,
            Body::Message(Message { to: Target::Group(_), .. }) => BatchKind::GroupMessage,
            Body::Request(_) => BatchKind::Request,
        }
    }

    /// The id its sender gave it.
    pub fn id(&self) -> &MessageId {
        match &self.what {
            Body::Message(message) => &message.id,
            Body::Request(request) => &request.id,
        }
    }
}

/// A refusal, on its way to becoming `[[rr]] s = 1`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people: what was expected, what was found.
    pub reason: String,
    /// The refused frame's id, where one could be read.
    pub id: Option<MessageId>,
    /// The refused request's `t`, where one could be read.
    pub t: Option<RequestName>,
}

impl Refusal {
    /// Without id and `t`, to be filled in where they are known.
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), id: None, t: None }
    }

    /// With the refused frame's id.
    pub fn for_id(mut self, id: &MessageId) -> Self {
        self.id = Some(id.clone());
        self
    }

    /// With the refused request's `t`.
    pub fn for_request(mut self, name: RequestName) -> Self {
        self.t = Some(name);
        self
    }
}

/// What was stored, ready to be shown to a client: a row of `messages`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the columns of the row")]
pub struct Stored {
    pub conversation: Conversation,
    pub seq: Seq,
    pub sender: UserId,
    pub device: Device,
    pub id: MessageId,
    pub ts: i64,
    pub what: StoredBody,
}

/// The kinds of stored frames.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredBody {
    /// A message to a user or group.
    Text {
        /// The text, `c`.
        content: String,
        /// Which receipt its sender wants.
        ack: WantedAck,
    },
    /// A forwarded request: delivered as `[[r]]`.
    Request {
        /// What was asked.
        what: Ask,
        /// The group it made, for `create_group`.
        group: Option<GroupId>,
        /// The contact version of the one who reads it, where the request changed it.
        contact_version: Option<i64>,
    },
}
