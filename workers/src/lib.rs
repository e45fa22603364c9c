//! The workers: they consume accepted frames lane by lane, decide, store, and deliver; and they answer the edges' calls.
//!
//! | module | holds |
//! |---|---|
//! | [`lane`] | who owns which lane, pulling it from JetStream, acknowledging it |
//! | [`pipeline`] | one chunk from decode to delivery |
//! | [`message`], [`contact`], [`group`] | the rules of each domain |
//! | [`account`] | the rules of users, tokens and devices |
//! | [`store`] | all SQL |
//! | [`directory`] | all Redis |
//! | [`delivery`] | what goes to which node, and its confirmation |
//! | [`nodes`] | which edges live |
//! | [`metric`], [`observe`] | its figures; what it finds out about the stores for them |
//! | [`rpc`] | the answers to the edges' calls |
//! | [`trace`] | what is remembered of messages that went by |
//! | [`fail`] | where a debug build ends itself, for tests |

pub mod account;
pub mod config;
pub mod contact;
pub mod delivery;
pub mod directory;
pub mod fail;
pub mod group;
pub mod lane;
pub mod message;
pub mod metric;
pub mod nodes;
pub mod observe;
pub mod pipeline;
pub mod rpc;
pub mod serve;
pub mod store;
pub mod trace;
