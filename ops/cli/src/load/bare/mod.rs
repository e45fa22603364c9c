//! Many bare connections in one thread, for a generator that costs the stack little: one loop over the operating
//! system's readiness, one read and one write for all that came at once, frames written and read by hand.
//!
//! | module | holds |
//! |---|---|
//! | [`engine`] | the connections, and the loop |
//! | [`scan`] | what matters of the frames that come |
//! | [`mod@write`] | the frames that go out |

pub mod engine;
pub mod scan;
pub mod write;

pub use self::{
    engine::{Engine, Play},
    scan::Got,
};
