//! One client's connection: a state machine without I/O, and the thin task that drives it.
//!
//! | module | holds |
//! |---|---|
//! | [`waiting`] | before the login: a type that cannot publish |
//! | [`live`] | after it: frames, deliveries, live and backlog mode |
//! | [`tracks`] | per conversation: what was written, what is acknowledged, where the cursor stands |
//! | [`output`] | what a step of the state machine wants done |
//! | [`dialect`] | what a connection's frames are written in |
//! | [`wire`] | what a driver needs of a connection: TCP now, TLS and WebSocket by the same trait |
//! | [`frames`] | bytes to entries; what needs no session is answered here |
//! | [`login`] | a connection until its login |
//! | [`driver`] | a logged-in session at work |
//! | [`connection`] | the task of one connection, from its accept to its end |
//! | [`end`] | how it can end |

pub mod connection;
pub mod dialect;
pub mod driver;
pub mod end;
pub mod frames;
pub mod live;
pub mod login;
pub mod output;
pub mod tracks;
pub mod waiting;
pub mod wire;

pub use output::{Output, Stamped};
