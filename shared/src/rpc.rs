//! The calls that edges make and any worker answers, over NATS request/reply with a deadline. TOML, by serde.
//!
//! | call | request | reply |
//! |---|---|---|
//! | `hb.<node>` | [`Heartbeat`] | [`HeartbeatReply`] |
//! | `session.numbers` | [`Numbers`] | [`NumbersDrawn`] |
//! | `session.connect` | [`ConnectBatch`] | [`ConnectReply`] |
//! | `session.register` | [`Register`] | [`Registered`] |
//! | `session.backlog` | [`BacklogBatch`] | [`crate::delivery::pages`] |
//! | `session.cursor` | [`Cursors`] | [`Done`] |
//! | `session.close` | [`Close`] | [`Done`] |
//! | `session.seen` | [`Seen`] | [`Done`] |
//! | `account.*`, `api.*` | [`HttpCall`] | [`HttpReply`] |
//!
//! A worker that cannot answer now (its stores are down) replies with the header `im-error: <code>` and the reason as
//! the payload; the edge tries again within its deadline, with back-off.
//!
//! A worker may hang with a call in its socket. A call that is [`repeatable`] is then put to another one, which has just
//! said (`who`) that it does not hang; it may so be carried out twice, the second time long after its caller has gone.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{
    command,
    contract::Speaks,
    delivery::ReceiptKey,
    ids::{Conversation, Device, NodeId, Seq, SessionNo, TokenDigest, UserId},
};

/// Header of a reply that is a failure: a [`crate::command::Code`].
pub const ERROR_HEADER: &str = "im-error";

/// Header of a batch of deliveries: who sends it and the how-manieth of it to this node, from 1, as `{sender} {number}`. A
/// node that misses one knows by the next.
pub const BATCH_HEADER: &str = "im-batch";

/// Header of a batch of frames on their way in, and of the deliveries that came of it: when the oldest frame was accepted,
/// as a [`crate::telemetry::Moment`]. For latencies alone; a batch without it is as good.
pub const ACCEPTED_HEADER: &str = "im-accepted";

/// Header of a reply to `who`: the worker's name, by which it can be called itself.
pub const WORKER_HEADER: &str = "im-worker";

/// The calls of an edge for its sessions.
pub const SESSION_CALLS: [&str; 7] = [
    "session.numbers",
    "session.connect",
    "session.register",
    "session.close",
    "session.cursor",
    "session.backlog",
    "session.seen",
];

/// Whether a call may be carried out twice, or late, without harm. Those of sessions all may: drawn numbers need not be
/// used; a login is fenced by its number; a route gives way to a higher number, and only the session that wrote it
/// removes it; positions only move up; a backlog is only read.
pub fn repeatable(call: &str) -> bool {
    SESSION_CALLS.contains(&call) || command::call(call).is_some_and(|call| call.repeatable)
}

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Host name or address.
    pub server: String,
    /// Port.
    pub port: u16,
}

/// A node says that it lives; sent every `heartbeat` interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// This start of this node.
    pub node: NodeId,
    /// The address handed out at login.
    pub server: String,
    /// The port handed out at login.
    pub port: u16,
    /// Logged-in sessions.
    pub sessions: u64,
    /// Whether it takes no new sessions.
    pub draining: bool,
    /// The directory epoch under which all its sessions are registered.
    #[serde(default)]
    pub epoch: Option<String>,
    /// Its last one: it has no sessions any more and is about to end, so nobody is to wait for it.
    #[serde(default)]
    pub gone: bool,
    /// Which build it is.
    #[serde(default)]
    pub speaks: Speaks,
    /// When it started, Unix seconds; 0: of before this was told.
    #[serde(default)]
    pub started: i64,
    /// Where simple_im's original clients connect; `None`: it does not serve them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compat: Option<Address>,
}

impl Heartbeat {
    /// The first one of a node of this build at this address: it has nothing to tell yet.
    pub fn first(node: NodeId, server: &str, port: u16) -> Self {
        let (server, speaks) = (server.to_owned(), Speaks::this());
        Self {
            node,
            server,
            port,
            sessions: 0,
            draining: false,
            epoch: None,
            gone: false,
            speaks,
            started: 0,
            compat: None,
        }
    }
}

/// A worker has seen the heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeartbeatReply {
    /// The directory's epoch now; a node registered under another registers all its sessions again.
    /// `None` while Redis cannot be reached.
    #[serde(default)]
    pub epoch: Option<String>,
    /// Which build answers.
    #[serde(default)]
    pub speaks: Speaks,
}

/// An edge draws numbers for logins that have come to it.
///
/// The number is what fences a login off: drawn once the client's frame is there and before the login is carried out, it
/// is lower than that of any login begun after this one was given up. Numbers drawn ahead would be no fence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// How many, 1 to 1,000.
    pub count: u32,
}

/// Numbers never given before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumbersDrawn {
    /// As many as asked for, each higher than the one before it.
    pub numbers: Vec<SessionNo>,
    /// Who drew them: it does not hang, so the logins go to it.
    pub worker: String,
}

/// Logins that gathered while the last call was under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectBatch {
    /// The node they connect to.
    pub node: NodeId,
    /// Its address, for `client_{token}` in Redis.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// The logins' numbers, one each, in order, from [`Numbers`]. A login whose number is not above its device's newest
    /// is refused (`code = "unavailable"`): a newer one has overtaken it. The same one again is answered as before.
    pub numbers: Vec<SessionNo>,
    /// Which build the node is.
    #[serde(default)]
    pub speaks: Speaks,
    /// The logins. Of two on one device the one with the higher number is logged in, the other overtaken.
    pub logins: Vec<Connect>,
}

/// One login.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named by their types")]
pub struct Connect {
    pub user: UserId,
    pub device: Device,
    pub token: TokenDigest,
    pub peer: IpAddr,
}

/// One result a login, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectReply {
    /// Which build answers.
    #[serde(default)]
    pub speaks: Speaks,
    /// The results.
    pub results: Vec<ConnectResult>,
}

/// What became of one login.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectResult {
    /// The session's number, when it succeeded.
    #[serde(default)]
    pub session: Option<SessionNo>,
    /// The epoch under which its route stands; `None`: not registered, the edge registers it until it succeeds.
    #[serde(default)]
    pub epoch: Option<String>,
    /// A [`crate::command::Code`] when refused.
    #[serde(default)]
    pub code: Option<String>,
    /// The reason when refused.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A node's sessions, to be written to the directory (again).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Register {
    /// The node.
    pub node: NodeId,
    /// The epoch it registers under: the one from the heartbeat's reply.
    pub epoch: String,
    /// Whether every session of the node has been sent under this epoch once this call is done.
    pub complete: bool,
    /// Up to 1,000 sessions a call.
    #[serde(default)]
    pub sessions: Vec<Registration>,
}

/// One session of a [`Register`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named by their types")]
pub struct Registration {
    pub user: UserId,
    pub device: Device,
    pub session: SessionNo,
}

/// Whether it was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Registered {
    /// The directory's epoch when it was written; another one than asked for means: begin again under this one.
    #[serde(default)]
    pub epoch: Option<String>,
}

/// Reads of many sessions that gathered while the last call was under way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BacklogBatch {
    /// At most [`BACKLOG_READS`]; a page comes back for each, in order.
    #[serde(default)]
    pub reads: Vec<Backlog>,
}

/// The most reads of one [`BacklogBatch`].
pub const BACKLOG_READS: usize = 128;

/// A session asks for what its device has not been sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backlog {
    /// Whose.
    pub user: UserId,
    /// For which device.
    pub device: Device,
    /// On which session: one that has been replaced, or whose token was revoked, is told so and gets nothing.
    pub session: SessionNo,
    /// At most this many deliveries, and fewer where many are asked for together.
    pub limit: u32,
    /// Where this session is further than the device's stored cursor: the last `seq` written (or stored by itself).
    #[serde(default)]
    pub after: Vec<Place>,
}

/// A place in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Which conversation.
    pub conv: Conversation,
    /// Which place.
    pub seq: Seq,
}

/// Acknowledgements of many sessions, coalesced. Every part is idempotent: losing a call only repeats deliveries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cursors {
    /// Devices' cursors, moved up only.
    #[serde(default)]
    pub moves: Vec<Move>,
    /// Moves over frames that the device sent itself. They never cross: an edge keeps them for longer, since whoever
    /// writes to many would have a cursor moved for every message.
    #[serde(skip)]
    pub own: Vec<Move>,
    /// Read positions, moved up only.
    #[serde(default)]
    pub reads: Vec<Read>,
    /// Deliveries acknowledged whose sender wants to know.
    #[serde(default)]
    pub delivered: Vec<ReceiptKey>,
    /// Receipts that have been written to their sender's socket and can be forgotten.
    #[serde(default)]
    pub told: Vec<Told>,
}

/// A device's cursor in one conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named by their types")]
pub struct Move {
    pub user: UserId,
    pub device: Device,
    pub conv: Conversation,
    pub seq: Seq,
    /// The session that moves it, where that only holds for its device's newest one: it has sent something itself and
    /// takes it that nothing before is missing, which a newer session may have been sent in its place. From one that is
    /// no longer the newest such a move is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<SessionNo>,
}

/// A user's read position in one conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named by their types")]
pub struct Read {
    pub user: UserId,
    pub conv: Conversation,
    pub seq: Seq,
}

/// A receipt that reached its sender's device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named by their types")]
pub struct Told {
    pub user: UserId,
    pub device: Device,
    pub receipt: ReceiptKey,
}

/// A session has ended: its route goes, if it is still its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Close {
    /// The node it was on.
    pub node: NodeId,
    /// The sessions that ended.
    pub sessions: Vec<Registration>,
}

/// Sessions that are there, said a few times a day: a device that is only quiet is not forgotten.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// At most a thousand.
    pub sessions: Vec<Registration>,
}

/// Nothing to say but that it is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {}

/// An HTTP call, its body and query already taken apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpCall {
    /// What the token cookie digests to, if there is one.
    #[serde(default)]
    pub token: Option<TokenDigest>,
    /// The caller's address, for limits.
    pub peer: IpAddr,
    /// The caller is one of simple_im's original clients: it is to be sent where a node serves those.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub original: bool,
    /// The arguments of path, query and body. Values are strings, as forms have nothing else.
    #[serde(default)]
    pub args: std::collections::BTreeMap<String, String>,
}

/// Its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpReply {
    /// The HTTP status.
    pub status: u16,
    /// Seconds, for 429 and 503.
    #[serde(default)]
    pub retry_after: Option<u64>,
    /// The body: `[[response]]` first.
    pub body: toml::Table,
}

/// Reads a call or a reply.
///
/// # Errors
/// What the `toml` crate found.
pub fn from_slice<'de, T: Deserialize<'de>>(payload: &'de [u8]) -> Result<T, toml::de::Error> {
    toml::from_slice(payload)
}

/// Writes a call or a reply. These types always have a TOML form.
pub fn to_vec<T: Serialize>(value: &T) -> Vec<u8> {
    match toml::to_string(value) {
        Ok(text) => text.into_bytes(),
        Err(error) => unreachable!("rpc types have a TOML form: {error}"),
    }
}
