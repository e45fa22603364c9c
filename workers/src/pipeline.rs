//! One chunk: everything that a committer's lanes held when it was ready, treated as a whole.
//!
//! decode ([`decode`]) → texts alone, all new: one statement (`at_once`); otherwise plan ([`plan`]) → rules and rows ([`run`])
//! → commit → effects ([`effect`]) → routes and
//! deliveries ([`crate::delivery`]) → acknowledgement ([`crate::lane::finish`]).
//!
//! A frame that is refused is answered on its own. A chunk that fails leaves nothing behind: its transaction is rolled
//! back, its caches are dropped, and its lanes are taken anew.

mod at_once;
pub mod cache;
pub mod decode;
pub mod digest;
pub mod effect;
pub mod plan;
pub mod requests;
pub mod run;
pub mod texts;

use shared::{
    command::Code,
    message::{Accepted, Refusal},
    subject::Lane,
};

use crate::store::StoreError;

/// One frame of a chunk.
#[derive(Debug, Clone)]
pub struct Item {
    /// The lane it came by.
    pub lane: Lane,
    /// Not committed before, as the lane's mark says: it is counted, and may be stored. What was committed before and is
    /// not found stored was refused then, and stays so, see [`not_stored_then`].
    pub fresh: bool,
    /// What it is.
    pub accepted: Accepted,
}

/// The refusal of a frame that was refused when its chunk was committed, comes again, and would be allowed by now: stored
/// now it would stand behind what its sender sent after it, and its sender was told that it was refused. Whoever has
/// that answer ignores this one; whoever has not sends it again, as a frame of its own.
pub(crate) fn not_stored_then() -> Refusal {
    Refusal::new(
        Code::Unavailable,
        "this was worked on before and is not stored; if no other answer has come, send it again",
    )
}

/// Why a chunk failed as a whole.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// PostgreSQL did.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something in it broke a rule of this program.
    #[error("a chunk broke off: {0}")]
    Broken(String),
}

impl ChunkError {
    /// Whether PostgreSQL was the reason, and not the chunk's own content.
    pub fn passing(&self) -> bool {
        matches!(self, Self::Store(error) if error.retry())
    }
}
