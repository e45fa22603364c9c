//! A password from the terminal, without an echo and twice; or the first line of stdin. Never an argument: those stand in
//! the process list.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};

use anyhow::{Context, Result, ensure};
use nix::sys::termios::{self, LocalFlags, SetArg};
use shared::config::Secret;

/// More than any password may have.
const MOST: u64 = 4096;

/// Asks for a new password.
pub fn new_password() -> Result<Secret> {
    let input = stdin();
    if !input.is_terminal() {
        return line(input.lock());
    }
    let shown = termios::tcgetattr(&input).context("the terminal's settings")?;
    let mut hidden = shown.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    termios::tcsetattr(&input, SetArg::TCSAFLUSH, &hidden).context("hiding what is typed")?;
    let asked = ask("New password: ").and_then(|first| Ok((first, ask("Once more: ")?)));
    termios::tcsetattr(&input, SetArg::TCSAFLUSH, &shown).context("the terminal's settings")?;
    let (first, second) = asked?;
    ensure!(first == second, "expected the same password twice, found two");
    Ok(first)
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
    std::io::Read::take(input, MOST).read_line(&mut text).context("reading the password")?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    ensure!(!text.is_empty(), "expected a password on stdin, found an empty line");
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
