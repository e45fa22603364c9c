//! The canonical layout, read by hand: one `key = value` a line, basic strings, plain decimal numbers.
//!
//! Everything here takes a part of TOML and reads it exactly as TOML means it; whatever is more than that gives
//! `None`, and the `toml` crate decides.

use std::borrow::Cow;

/// Lines, one looked at at a time.
#[derive(Clone)]
pub(crate) struct Lines<'a> {
    rest: &'a str,
    line: Option<&'a str>,
}

impl<'a> Lines<'a> {
    /// The lines of a text. The last one may do without its newline.
    pub fn of(text: &'a str) -> Self {
        let mut lines = Self { rest: text, line: None };
        lines.skip();
        lines
    }

    /// The line at hand; `None` after the last.
    pub fn peek(&self) -> Option<&'a str> {
        self.line
    }

    /// On to the next one.
    pub fn skip(&mut self) {
        self.line = match self.rest.split_once('\n') {
            Some((line, rest)) => {
                self.rest = rest;
                Some(line)
            }
            None if self.rest.is_empty() => None,
            None => Some(std::mem::take(&mut self.rest)),
        };
    }

    /// The value of `key = value` if that is the line at hand, and on to the next line.
    pub fn value(&mut self, key: &str) -> Option<&'a str> {
        let value = self.line?.strip_prefix(key)?.strip_prefix(" = ")?;
        self.skip();
        Some(value)
    }

    /// Key and value if the line at hand is a pair with a bare key, and on to the next line.
    pub fn pair(&mut self) -> Option<(&'a str, &'a str)> {
        let line = self.line?;
        let length = line.bytes().take_while(|byte| byte.is_ascii_lowercase()).count();
        let (key, rest) = line.split_at(length);
        let value = rest.trim_start_matches(' ').strip_prefix('=')?.trim_start_matches(' ');
        if key.is_empty() {
            return None;
        }
        self.skip();
        Some((key, value))
    }
}

/// A number of 1 or more, without sign, leading zero or underscore.
pub(crate) fn whole(value: &str) -> Option<i64> {
    let bytes = value.as_bytes();
    if bytes.first().is_none_or(|&digit| digit == b'0') {
        return None;
    }
    bytes.iter().try_fold(0i64, |number, byte| {
        if !byte.is_ascii_digit() {
            return None;
        }
        number.checked_mul(10)?.checked_add(i64::from(byte - b'0'))
    })
}

/// The text of a basic string that uses the short escapes only.
pub(crate) fn unquoted(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    let special = inner.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20 | 0x7f));
    match special {
        None => Some(Cow::Borrowed(inner)),
        Some(at) => unescaped(inner, at).map(Cow::Owned),
    }
}

fn unescaped(inner: &str, first: usize) -> Option<String> {
    let mut text = String::with_capacity(inner.len());
    let (mut plain, mut at) = (0, first);
    let bytes = inner.as_bytes();
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => {
                text.push_str(&inner[plain..at]);
                text.push(match bytes.get(at + 1)? {
                    b'"' => '"',
                    b'\\' => '\\',
                    b'n' => '\n',
                    b't' => '\t',
                    b'r' => '\r',
                    b'b' => '\u{8}',
                    b'f' => '\u{c}',
                    _ => return None,
                });
                at += 2;
                plain = at;
            }
            b'"' | 0..0x20 | 0x7f => return None,
            _ => at += 1,
        }
    }
    text.push_str(&inner[plain..]);
    Some(text)
}
