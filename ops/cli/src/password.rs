//! A password from the terminal, without an echo and twice; or the first line of stdin. Never an argument: those stand in
//! the process list.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};

use anyhow::{Context, Result, ensure};
use nix::sys::termios::{self, LocalFlags, SetArg};
use shared::config::Secret;

/// More than any password may have.
const MOST: u64 = 4096;

/// Asks for a new password.
///
/// # Errors
/// Nothing was typed, or not twice the same.
pub fn new_password() -> Result<Secret> {
    if !stdin().is_terminal() {
        return line(stdin().lock());
    }
    let (first, second) = hidden(|| Ok((ask("New password: ")?, ask("Once more: ")?)))?;
    ensure!(first == second, "expected the same password twice, found two");
    Ok(first)
}

/// Asks for a password that there is.
///
/// # Errors
/// Nothing was typed.
pub fn password() -> Result<Secret> {
    if !stdin().is_terminal() {
        return line(stdin().lock());
    }
    hidden(|| ask("Password: "))
}

/// Asks for something that may be seen.
///
/// # Errors
/// Nothing was typed.
pub fn asked(prompt: &str) -> Result<String> {
    ask(prompt).map(|typed| typed.expose().to_owned())
}

fn hidden<T>(asking: impl FnOnce() -> Result<T>) -> Result<T> {
    let input = stdin();
    let shown = termios::tcgetattr(&input).context("the terminal's settings")?;
    let mut hidden = shown.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    termios::tcsetattr(&input, SetArg::TCSAFLUSH, &hidden).context("hiding what is typed")?;
    let asked = asking();
    termios::tcsetattr(&input, SetArg::TCSAFLUSH, &shown).context("the terminal's settings")?;
    asked
}

fn ask(prompt: &str) -> Result<Secret> {
    let mut out = stderr();
    out.write_all(prompt.as_bytes())?;
    out.flush()?;
    let typed = line(stdin().lock());
    out.write_all(b"\n")?;
    typed
}

fn line(input: impl BufRead) -> Result<Secret> {
    let mut text = String::new();
    std::io::Read::take(input, MOST).read_line(&mut text).context("reading stdin")?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    ensure!(!text.is_empty(), "expected an answer on stdin, found an empty line");
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password() {
        assert_eq!(line(&b"geheim \nand more"[..]).unwrap().expose(), "geheim ");
        assert_eq!(line(&b"no end"[..]).unwrap().expose(), "no end");
        assert_eq!(line(&b"dos\r\n"[..]).unwrap().expose(), "dos");
        assert!(line(&b"\n"[..]).is_err() && line(&b""[..]).is_err());
    }
}
