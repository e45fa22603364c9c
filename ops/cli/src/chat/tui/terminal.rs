//! The terminal itself: taken for the time of the conversation, and given back as it was, whatever happens.

use std::{
    env,
    io::{IsTerminal, Stdout, stdin, stdout},
    panic,
};

use crossterm::{
    cursor::Show,
    event::{DisableBracketedPaste, EnableBracketedPaste},
    execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use ratatui::{Terminal, backend::CrosstermBackend};

use crate::chat::failure::Failure;

/// The screen while it is ours.
#[derive(Debug)]
pub struct Screen {
    /// To be drawn on.
    pub terminal: Terminal<CrosstermBackend<Stdout>>,
}

/// Whether there is a terminal that a screen can be drawn on.
///
/// # Errors
/// [`Failure::Usage`], with what there is instead.
pub fn check() -> Result<(), Failure> {
    let instead = "simple-im tail and simple-im send work without one";
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return Err(Failure::Usage(format!(
            "expected a terminal as stdin and stdout, found a file or a pipe: {instead}"
        )));
    }
    match env::var("TERM") {
        Ok(term) if !term.is_empty() && term != "dumb" => Ok(()),
        term => Err(Failure::Usage(format!(
            "expected a terminal that can move its cursor, found TERM={}: {instead}",
            term.unwrap_or_default()
        ))),
    }
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// What the terminal said.
    pub fn open() -> std::io::Result<Self> {
        // A panic anywhere gives the terminal back before it is told, so that it can be read.
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
        enable_raw_mode()?;
        // From here on an error gives it back, too.
        let screen = Self { terminal: Terminal::new(CrosstermBackend::new(stdout()))? };
        execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Nothing more can be done about what fails here.
fn give_back() {
    drop(execute!(stdout(), DisableBracketedPaste, LeaveAlternateScreen, Show));
    drop(disable_raw_mode());
}
