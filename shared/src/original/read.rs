//! From the original clients. Their own reader knows no escapes: a string ends at the next quote.

use crate::{
    command::Code,
    message::{Refusal, parse::not_utf8, write::quoted},
    numbers::{is_digits, is_number, is_number_in},
};

/// Cuts what one read brought at each `[[` outside of strings. Blanks alone are nothing.
pub fn split(read: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = read.trim_ascii_start();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (mut inside, mut end) = (false, rest.len());
        for at in 1..rest.len() {
            inside ^= rest[at - 1] == b'"';
            if !inside && at > 1 && rest[at..].starts_with(b"[[") {
                end = at;
                break;
            }
        }
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece.trim_ascii_end())
    })
}

/// One entry as standard TOML.
///
/// # Errors
/// A [`Refusal`] that says what was expected and what was found.
pub fn to_toml(entry: &[u8]) -> Result<Vec<u8>, Refusal> {
    let text = std::str::from_utf8(entry).map_err(|error| not_utf8(entry, error.valid_up_to()))?;
    let mut line = Line { text, at: 0 };
    let mut out = Vec::with_capacity(text.len() + 16);
    line.entry(&mut out).map_err(|expected| {
        let found: String = line.text[line.at..].chars().take(16).collect();
        let found = if found.is_empty() {
            "the end of what one read brought".to_owned()
        } else {
            format!("{found:?}")
        };
        let column = 1 + line.text[..line.at].chars().count();
        Refusal::new(Code::Malformed, format!("expected {expected} at column {column}; found {found}"))
    })?;
    Ok(out)
}

/// What is left of an entry.
struct Line<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Line<'a> {
    fn entry(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let header = "a header such as [[m]]";
        if !self.take("[[") {
            return Err(header);
        }
        let kind = self.until("]]").filter(|kind| is_name(kind)).ok_or(header)?;
        out.extend_from_slice(format!("[[{kind}]]\n").as_bytes());
        let mut table = "";
        loop {
            self.blanks();
            if self.at == self.text.len() {
                return Ok(());
            }
            if self.take("[") {
                let sub = "a header such as [m.to]";
                let name = self.until("]").ok_or(sub)?;
                let own = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('.'));
                table = own.filter(|name| is_name(name)).ok_or(sub)?;
                out.extend_from_slice(format!("[{kind}.{table}]\n").as_bytes());
            } else {
                let key = self.until("=").map(str::trim).filter(|key| is_name(key)).ok_or("a key and `=`")?;
                out.extend_from_slice(format!("{key} = ").as_bytes());
                let number = if table.is_empty() { is_number(key) } else { is_number_in(table, key) };
                self.blanks();
                self.value(number, out)?;
                out.push(b'\n');
            }
        }
    }

    fn value(&mut self, number: bool, out: &mut Vec<u8>) -> Result<(), &'static str> {
        if !self.take("[") {
            return self.plain(number, out);
        }
        out.push(b'[');
        let mut first = true;
        loop {
            while self.take(",") || self.blank() {}
            if self.take("]") {
                out.push(b']');
                return Ok(());
            }
            if !std::mem::take(&mut first) {
                out.extend_from_slice(b", ");
            }
            self.plain(number, out)?;
        }
    }

    /// A string or a whole number.
    fn plain(&mut self, number: bool, out: &mut Vec<u8>) -> Result<(), &'static str> {
        if self.take("\"") {
            let text = self.until("\"").ok_or("a closing quote")?;
            if number && is_digits(text) {
                out.extend_from_slice(text.as_bytes());
            } else {
                quoted(text, out);
            }
            return Ok(());
        }
        let rest = &self.text[self.at..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        // TOML has no leading zeros.
        if !is_digits(&rest[..digits]) {
            return Err("a string or a whole number");
        }
        out.extend_from_slice(&rest.as_bytes()[..digits]);
        self.at += digits;
        Ok(())
    }

    fn take(&mut self, what: &str) -> bool {
        let found = self.text[self.at..].starts_with(what);
        self.at += if found { what.len() } else { 0 };
        found
    }

    /// What stands before the next `end`, and past that.
    fn until(&mut self, end: &str) -> Option<&'a str> {
        let (before, _) = self.text[self.at..].split_once(end)?;
        self.at += before.len() + end.len();
        Some(before)
    }

    fn blank(&mut self) -> bool {
        [" ", "\t", "\r", "\n"].iter().any(|blank| self.take(blank))
    }

    fn blanks(&mut self) {
        while self.blank() {}
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
