//! The node that holds client connections: it frames, checks the shape, stamps who sent it, and hands on. No database,
//! no Redis, no business rule.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | every setting |
//! | [`listener`] | accepting connections within a limit |
//! | [`session`] | one connection: a state machine without I/O and the task that drives it |
//! | [`outbox`], [`registry`] | how the rest of the node reaches a session, and finds it |
//! | [`publisher`] | accepted frames on their way to the broker, batched by lane |
//! | [`deliver`] | what workers send to this node's sessions |
//! | [`control`] | what operators tell it |
//! | [`calls`] | questions to the workers, over NATS request and reply |
//! | [`node`] | the node's name, heartbeat and directory epoch |
//! | [`broker`] | the connection to NATS |
//! | [`http`] | the HTTP API, answered by workers |
//! | [`tls`] | encrypting the public ports; certificates read again when they change |
//! | [`start`](mod@start), [`drain`] | putting a node together, and its ordered end |
//! | [`websocket`] | the same sessions over WebSocket |
//! | [`trace`] | what is remembered of messages that went by |
//! | [`vital`] | tasks without which the process is to end |
//! | [`compat`] | the listener for simple_im's original clients |
//! | [`context`], [`metric`], [`ready`], [`rest`], [`backoff`], [`hash`] | what these share |

pub mod backoff;
pub mod broker;
pub mod calls;
pub mod compat;
pub mod config;
pub mod context;
pub mod control;
pub mod deliver;
pub mod drain;
pub mod hash;
pub mod http;
pub mod listener;
pub mod metric;
pub mod node;
pub mod outbox;
pub mod publisher;
pub mod ready;
pub mod registry;
pub mod rest;
pub mod session;
pub mod start;
pub mod tls;
pub mod trace;
pub mod vital;
pub mod websocket;

pub use start::{Listeners, Running, StartError, start, start_on};

#[cfg(test)]
mod testing;
