//! What the `simple-im` command is made of, as a library, so that the tests start the same servers the same way.
//!
//! - [`stack`]: finding the servers' programs, free ports, and NATS, PostgreSQL and Redis as private servers.

pub mod stack;
