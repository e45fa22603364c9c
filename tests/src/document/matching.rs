//! Placeholders, and whether what came is what the document shows.
//!
//! `{name}` stands for a whole number, `"{name}"` for a text. Where it is expected it takes the value that came, unless
//! it has one; from then on it stands for that value wherever it is written. `{ts}` is any time within five minutes of
//! now and takes no value; `"…"` is any text.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use toml::{Table, Value};

/// Begins what [`parse`] puts in the place of an unquoted placeholder.
const BARE: char = '\u{1}';
/// How far a time may be from now, in seconds.
const CLOCK: i64 = 300;

/// The values of placeholders.
#[derive(Debug, Clone, Default)]
pub struct Names(BTreeMap<String, Value>);

impl Names {
    /// The text with the values that are known in the place of their names.
    ///
    /// # Errors
    /// A name without a value.
    pub fn fill(&self, text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, name, after)) = placeholder(rest) {
            out.push_str(before);
            match self.0.get(name) {
                Some(Value::String(text)) => out.push_str(text),
                Some(other) => out.push_str(&other.to_string()),
                None => return Err(format!("expected {{{name}}} to have a value by now, found none")),
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// Takes the values from `found` when it is what is expected.
    ///
    /// # Errors
    /// Where they differ; then no name has taken a value.
    pub fn fit(&mut self, expected: &Value, found: &Value) -> Result<(), String> {
        let mut taken = self.clone();
        taken.compare("", expected, found)?;
        *self = taken;
        Ok(())
    }

    fn compare(&mut self, at: &str, expected: &Value, found: &Value) -> Result<(), String> {
        match (expected, found) {
            (Value::String(any), Value::String(_)) if any == crate::pattern::ANYTHING => Ok(()),
            (Value::String(text), found) if text.starts_with(BARE) => self.take(at, &text[1..], found, true),
            (Value::String(text), found) => match placeholder(text) {
                Some(("", name, "")) => self.take(at, name, found, false),
                Some(_) => same(at, &Value::String(self.fill(text)?), found),
                None => same(at, expected, found),
            },
            (Value::Table(expected), Value::Table(found)) => self.tables(at, expected, found),
            (Value::Array(expected), Value::Array(others)) if expected.len() == others.len() => {
                expected.iter().zip(others).enumerate().try_for_each(|(n, (expected, found))| {
                    self.compare(&format!("{at}[{n}]"), expected, found)
                })
            }
            _ => same(at, expected, found),
        }
    }

    fn tables(&mut self, at: &str, expected: &Table, found: &Table) -> Result<(), String> {
        if let Some(key) = found.keys().find(|key| !expected.contains_key(*key)) {
            return Err(format!("{at}.{key}: expected no such key, found {}", found[key]));
        }
        for (key, value) in expected {
            let at = format!("{at}.{key}");
            match found.get(key) {
                None => return Err(format!("{at}: expected {}, found no such key", shown(value))),
                Some(other) => self.compare(&at, value, other)?,
            }
        }
        Ok(())
    }

    fn take(&mut self, at: &str, name: &str, found: &Value, bare: bool) -> Result<(), String> {
        if found.is_integer() != bare || found.is_str() == bare {
            let kind = if bare { "a whole number" } else { "a text" };
            return Err(format!("{at}: expected {kind} for {{{name}}}, found {found}"));
        }
        if name == "ts" {
            let near = found.as_integer().is_some_and(|ts| (now() - ts).abs() <= CLOCK);
            return if near {
                Ok(())
            } else {
                Err(format!("{at}: expected a time about now, found {found}"))
            };
        }
        match self.0.get(name) {
            Some(known) => same(at, known, found),
            None => {
                self.0.insert(name.to_owned(), found.clone());
                Ok(())
            }
        }
    }
}

fn same(at: &str, expected: &Value, found: &Value) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{at}: expected {}, found {found}", shown(expected))) }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.starts_with(BARE) => format!("{{{}}}", &text[1..]),
        other => other.to_string(),
    }
}

/// What the document expects: TOML, or JSON where it begins with `{"`, with placeholders.
///
/// # Errors
/// What the parser says.
pub fn parse(text: &str) -> Result<Table, String> {
    let plain = quote_bare(text);
    if text.trim_start().starts_with("{\"") {
        return serde_json::from_str(&plain).map_err(|error| format!("expected JSON, found: {error}"));
    }
    plain.parse().map_err(|error: toml::de::Error| format!("expected TOML, found: {}", error.message()))
}

/// Puts unquoted placeholders in quotes, marked, so that the text can be parsed.
fn quote_bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while let Some((before, name, after)) = placeholder(rest) {
            out.push_str(before);
            let quotes = out.rsplit('\n').next().unwrap_or_default().matches('"').count();
            if quotes.is_multiple_of(2) {
                out.push_str(&format!("\"\\u{:04x}{name}\"", u32::from(BARE)));
            } else {
                out.push_str(&format!("{{{name}}}"));
            }
            rest = after;
        }
        out.push_str(rest);
    }
    out
}

/// The first placeholder: what stands before it, its name, what stands after it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(open) = text[from..].find('{').map(|at| from + at) {
        let rest = &text[open + 1..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')));
        match end {
            Some(end) if end > 0 && rest[end..].starts_with('}') => {
                return Some((&text[..open], &rest[..end], &rest[end + 1..]));
            }
            _ => from = open + 1,
        }
    }
    None
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(since).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(names: &mut Names, expected: &str, found: &str) -> Result<(), String> {
        names.fit(&Value::Table(parse(expected).unwrap()), &Value::Table(found.parse().unwrap()))
    }

    #[test]
    fn placeholders_take_values_and_keep_them() {
        let mut names = Names::default();
        fit(&mut names, "id = {bob}\nt = \"{bob.token}\"", "id = 2\nt = \"a+/=\"").unwrap();
        assert_eq!(
            names.fill("to = {bob} \"{bob.token}\" {\"x\":1} { id = 1 }").unwrap(),
            "to = 2 \"a+/=\" {\"x\":1} { id = 1 }"
        );
        fit(&mut names, "[[m]]\nto = {bob}\nc = \"for {bob}\"", "[[m]]\nto = 2\nc = \"for 2\"").unwrap();
        let error = fit(&mut names, "x = {new}\nto = {bob}", "x = 1\nto = 3").unwrap_err();
        assert_eq!(error, ".to: expected 2, found 3");
        assert!(names.fill("{new}").is_err(), "what does not fit takes no values");
        assert!(names.fill("{never}").unwrap_err().contains("{never}"));
    }

    #[test]
    fn kinds_and_keys_are_compared() {
        for (expected, found, fits) in [
            ("a = {x}", "a = \"1\"", false),
            ("a = \"{x}\"", "a = 1", false),
            ("a = \"…\"", "a = \"anything\"", true),
            ("a = \"…\"", "a = 1", false),
            ("a = 1", "a = 1\nb = 2", false),
            ("a = 1\nb = 2", "a = 1", false),
            ("a = [1, {x}]", "a = [1, 2]", true),
            ("a = [1]", "a = [1, 2]", false),
            ("a = 1", "a = \"1\"", false),
            ("[a.b]\nc = {x}", "a = { b = { c = 3 } }", true),
            ("a = {ts}", "a = 1444719450", false),
        ] {
            assert_eq!(fit(&mut Names::default(), expected, found).is_ok(), fits, "{expected} / {found}");
        }
        let mut names = Names::default();
        fit(&mut names, "a = {ts}\nb = {ts}", &format!("a = {}\nb = {}", now(), now() - 2)).unwrap();
    }

    #[test]
    fn json_has_placeholders_too() {
        let mut names = Names::default();
        let expected = parse("{\"response\":[{\"status\":0,\"id\":{id},\"t\":\"{t}\"}]}").unwrap();
        let found: Table = "[[response]]\nstatus = 0\nid = 7\nt = \"x\"".parse().unwrap();
        names.fit(&Value::Table(expected), &Value::Table(found)).unwrap();
        assert_eq!(names.fill("{id}{t}").unwrap(), "7x");
    }
}
