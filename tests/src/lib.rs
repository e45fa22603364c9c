//! The harness that runs the real system, and what its suites share.
//!
//! | module | holds |
//! |---|---|
//! | [`harness`] | real servers once a run, real binaries a test, what a test may look at, the checks at its end |
//! | [`document`] | runs the frames and calls that a Markdown file shows |
//! | [`wire`] | a raw connection: bytes out, frames in, compared with the TOML a test expects |
//! | [`people`] | users as tests need them: registered, with tokens, on the wire, doing everyday things |
//! | [`admin`] | an operator's commands |
//! | [`away`] | messages to one who need not be there, and `/offline` |
//! | [`flood`] | clients that write for as long as their socket takes it |
//! | [`talk`] | two users who talk while other things happen |
//! | [`tour`] | runs the shell blocks of the README |
//! | [`private`] | a private stack, as `simple-im up` starts one |
//! | [`shell`] | a person at a shell: login, send, tail |
//! | [`terminal`] | a person at a terminal: a screen, a keyboard, a program |
//! | [`original`] | a tiny imitation of simple_im's original clients |
//! | [`socket`] | the same over WebSocket, in either dialect |
//! | [`certificates`] | an authority of a test's own, and what it signs |
//! | [`web`] | HTTP calls and their answers |
//! | [`pattern`] | "equal, except where the expected text says `…`" |

pub mod admin;
pub mod away;
pub mod certificates;
pub mod document;
pub mod flood;
pub mod harness;
pub mod original;
pub mod pattern;
pub mod people;
pub mod private;
pub mod shell;
pub mod socket;
pub mod talk;
pub mod terminal;
pub mod tour;
pub mod web;
pub mod wire;
