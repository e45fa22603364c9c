//! The node that holds client connections: it frames, checks the shape, stamps who sent it, and hands on. No database,
//! no Redis, no business rule.
//!
//! | module | holds |
//! |---|---|
//! | [`calls`] | questions to the workers, over NATS request and reply |
//! | [`ready`] | whether this node can serve |
//! | [`http`] | the HTTP API, answered by workers |

pub mod calls;
pub mod config;
pub mod http;
pub mod ready;
