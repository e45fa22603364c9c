//! Server frames to typed ones: the frequent shapes by hand, everything by the `toml` crate.

mod fast;
mod table;

use bytes::Bytes;

use super::{
    event::{Delivery, Receipt},
    handle::Refused,
};
use crate::{
    ids::{MessageId, Seq},
    message::write::Success,
};

pub use table::deliveries;

/// One entry of a server's frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// `[[m]]`, `[[gm]]`, `[[r]]`.
    Delivery(Delivery),
    /// `[[a]] lvl = "stored"`.
    Stored {
        /// The message's id.
        id: MessageId,
        /// Its place.
        seq: Seq,
        /// When it was accepted, Unix seconds.
        ts: i64,
    },
    /// Every other `[[a]]`.
    Receipt(Receipt),
    /// `[[rr]] s = 0`.
    Success {
        /// The request's id.
        id: String,
        /// What came with it.
        success: Success,
    },
    /// `[[rr]] s = 1`.
    Refused(Refused),
    /// `[[n]] t = "replaced"`.
    Replaced,
    /// `[[n]] t = "move"`.
    Move {
        /// `host:port`; `None` where there is no other node.
        server: Option<String>,
        /// Milliseconds to go.
        after: u64,
    },
    /// Anything else.
    Unknown(String),
}

/// Reads a frame; what is not known or not readable comes as [`Incoming::Unknown`].
pub fn parse(frame: &Bytes) -> Vec<Incoming> {
    match fast::parse(frame) {
        Some(one) => vec![one],
        None => table::parse(frame),
    }
}

#[cfg(test)]
mod tests;
