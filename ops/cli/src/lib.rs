//! What the `simple-im` command is made of, as a library, so that the tests start the same servers the same way.
//!
//! | module | holds |
//! |---|---|
//! | [`stack`] | programs, free ports, and NATS, PostgreSQL and Redis as private servers |
//! | [`up`], [`down`], [`restart`], [`migrate`], [`ready`] | the commands |
//! | [`load`] | the load generator |
//! | [`doctor`] | what is unsafe or will hurt, why, and what to do |
//! | [`chaos`] | faults on a stack of its own, and the judgement |
//! | [`admin`] | what operators do |
//! | [`trace`] | one message's road through the system |
//! | [`chat`] | for people and scripts: login, chat, send, tail |
//! | [`password`] | a password from the terminal or from stdin |
//! | [`record`] | `stack.toml` |
//! | [`lock`], [`process`], [`stale`] | one supervisor a folder; processes that are not our children |

pub mod admin;
pub mod chaos;
pub mod chat;
pub mod doctor;
pub mod down;
pub mod load;
pub mod lock;
pub mod migrate;
pub mod password;
pub mod process;
pub mod ready;
pub mod record;
pub mod restart;
pub mod stack;
pub mod stale;
pub mod trace;
pub mod up;
