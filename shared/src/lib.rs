//! What every part of simple-im agrees on: the wire, the names, the calls, and the client library.
//!
//! | module | holds |
//! |---|---|
//! | [`ids`] | newtypes for every id, conversations, token digests |
//! | [`frame`] | cutting a byte stream into frames and writing them; limits; no I/O |
//! | [`dialect`] | the one-line form of simple_im, turned into standard TOML |
//! | [`json`] | the `simple-im.json` dialect: the same tables as JSON, with every number exact
//! | [`original`] | what simple_im's own clients of 2015 write and read |
//! | [`message`] | typed frames: what clients send, what the broker carries, what clients get |
//! | [`command`] | the one table of requests, HTTP calls and refusal codes |
//! | [`subject`] | the only place where a broker subject is written or parsed; the lane hash |
//! | [`contract`] | which contract between edges and workers a build speaks |
//! | [`nats`] | connecting to the broker: credentials, inboxes, TLS |
//! | [`rpc`] | the calls that edges make and workers answer |
//! | [`delivery`] | what travels on a node's subject |
//! | [`control`] | what operators tell edges |
//! | [`config`] | layered configuration: default, file, environment, command line |
//! | [`telemetry`] | logs, metric names, the metrics and health endpoint |
//! | [`trace`] | the bounded trace: records, the ring, the question and its answer |
//! | [`client`] | the Rust client library |
//! | [`tls`] | certificates and keys from files, and whom a client trusts |
//! | [`seeded`] | random histories for tests, each with a seed that replays it |

pub mod client;
pub mod command;
pub mod config;
pub mod contract;
pub mod control;
pub mod delivery;
pub mod dialect;
pub mod frame;
pub mod ids;
pub mod json;
pub mod message;
pub mod nats;
mod numbers;
pub mod original;
pub mod rpc;
pub mod seeded;
pub mod subject;
pub mod telemetry;
pub mod tls;
pub mod trace;
