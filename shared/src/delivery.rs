//! What travels on a node's subject: counted TOML documents, each a header for the edge and, from the first `[[` on,
//! the client's frame word for word.
//!
//! ```toml
//! d = "push"
//! to = [2, 3]
//! conv = "dm:2:3"
//! seq = 17
//! from = 2
//! id = "a_02"
//! skip = 4711
//! want = "delivered"
//! [[m]]
//! id = "a_02"
//! …
//! ```
//!
//! | `d` | its keys, in this order (`?`: may be absent) | body |
//! |---|---|---|
//! | `push` | `to`, `conv`, `seq`, `from`, `id`, `skip`?, `want`? | yes |
//! | `answer` | `user`, `session`, `conv` and `seq`? | yes |
//! | `receipt` | `user`, `device`, `conv`, `seq`, `by`, `read` | yes |
//! | `replaced` | `user`, `device`, `below` | no |
//! | `revoked` | `user`, `device`?, `below`? | no |
//! | `resync` | none | no |

pub mod pages;
mod read;
mod write;

use bytes::Bytes;

pub use self::{read::decode, write::encode};
use crate::ids::{Conversation, Device, MessageId, Seq, SessionNo, UserId};

/// One thing for a node to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivery {
    /// A stored frame, for every session of these users on this node (`d = "push"`).
    Push(Push),
    /// The answer to a frame that one session sent (`d = "answer"`).
    Answer {
        /// Whose session.
        user: UserId,
        /// Which session; if it is gone the answer is dropped.
        session: SessionNo,
        /// Where the frame was stored, if it was: the session's own step in that conversation.
        place: Option<(Conversation, Seq)>,
        /// The client's frame: `[[a]]` or `[[rr]]`.
        body: Bytes,
    },
    /// A receipt for the sender of a message (`d = "receipt"`); reported back as written in the cursor call.
    Receipt {
        /// The sender.
        user: UserId,
        /// The device that sent the message.
        device: Device,
        /// Which receipt, to be named when it has been written.
        key: ReceiptKey,
        /// `[[a]]`.
        body: Bytes,
    },
    /// Every session of this device with a lower number is to be closed (`d = "replaced"`).
    Replaced {
        /// Whose device.
        user: UserId,
        /// Which device.
        device: Device,
        /// Sessions with a number below this one close.
        below: SessionNo,
    },
    /// Sessions of this user whose token is this one close: logged out or revoked (`d = "revoked"`).
    Revoked {
        /// Whose sessions.
        user: UserId,
        /// Of which device; all of them if none is named.
        device: Option<Device>,
        /// Sessions with a number below this one close; all of them if none is named. A session that the device has
        /// begun since is not meant.
        below: Option<SessionNo>,
    },
    /// Every session of the node is to read its backlog (`d = "resync"`).
    Resync,
}

/// A stored frame on its way to recipients.
#[derive(Debug, Clone, PartialEq)]
pub struct Push {
    /// The recipients on this node; in a backlog reply just the one who asked.
    pub to: Vec<UserId>,
    /// Its conversation.
    pub conversation: Conversation,
    /// Its place there.
    pub seq: Seq,
    /// Who sent it.
    pub from: UserId,
    /// The sender's id for it.
    pub id: MessageId,
    /// The session that sent it and gets an answer instead.
    pub skip: Option<SessionNo>,
    /// Its sender wants to know when a device has acknowledged it (`want = "delivered"`).
    pub receipt: bool,
    /// It was stored before and is delivered once more (`again = true`): a session that cannot tell whether its device
    /// has had it reads its backlog in place of writing it.
    pub again: bool,
    /// The client's frame: `[[m]]`, `[[gm]]` or `[[r]]`.
    pub body: Bytes,
}

/// Which receipt: who acknowledged which message, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "named by their types")]
pub struct ReceiptKey {
    pub conversation: Conversation,
    pub seq: Seq,
    pub by: UserId,
    pub read: bool,
}

/// A delivery that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("not a delivery: expected {expected}, found {found}")]
pub struct NotADelivery {
    /// What would have been valid.
    pub expected: String,
    /// What stood there.
    pub found: String,
}

#[cfg(test)]
mod tests;
