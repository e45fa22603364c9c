//! What a chunk reads and writes, one statement a table. Everything here runs on a committer's own session.

pub mod contacts;
pub mod groups;
pub mod messages;
pub mod requests;
