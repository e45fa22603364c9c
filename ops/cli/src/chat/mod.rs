//! Chatting from a terminal and from scripts, on the client library: `simple-im login`, `logout`, `chat`, `send`, `tail`.
//!
//! | module | holds |
//! |---|---|
//! | [`account`], [`place`], [`kept`] | who; where, and who is believed there; the session file |
//! | [`login`] | logging in and out |
//! | [`tui`] | the terminal client |
//! | [`send`], [`tail`] | line mode, for scripts and pipes |
//! | [`line`], [`clean`], [`clock`] | a delivery as one line, as JSON, free of control characters, and when it was |
//! | [`target`] | whom something is addressed to, as typed |
//! | [`failure`] | why a command did not succeed, and its exit code |

mod account;
mod clean;
mod clock;
mod failure;
mod kept;
mod line;
mod login;
mod place;
mod send;
mod tail;
mod target;
mod tui;

use std::{io::Write, process::ExitCode};

use clap::Subcommand;

use self::failure::Failure;

/// The commands for people and their scripts.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Chat, on a terminal of any kind, with the keyboard alone; F1 there shows the keys.
    Chat(tui::Options),
    /// Log in for `chat`, `send` and `tail`, once: asks for the password, or takes stdin's first line, and keeps tokens.
    Login(login::In),
    /// Revoke the kept tokens and forget them.
    Logout(login::Out),
    /// Send a message, or each line of stdin as one, and wait until they are stored.
    Send(send::Options),
    /// Print messages as they come, each once, beginning with what was missed.
    Tail(tail::Options),
}

/// Runs one command.
///
/// # Errors
/// None: it says what went wrong itself and gives the exit code for it.
pub async fn run(command: Command) -> ExitCode {
    let done = match command {
        Command::Chat(options) => tui::run(options).await,
        Command::Login(options) => login::log_in(options).await,
        Command::Logout(options) => login::log_out(options).await,
        Command::Send(options) => send::run(options).await,
        Command::Tail(options) => tail::run(options).await,
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            say(&failure.to_string());
            failure.code()
        }
    }
}

/// A line on stderr; a closed one is no reason to end otherwise.
fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "simple-im: {}", clean::line(text)));
}

type Done = Result<ExitCode, Failure>;
