//! "Equal, except where the expected text says `…`": how tests compare frames, bodies and console output.

use toml::{Table, Value};

/// What an expected value says when any value will do.
pub const ANYTHING: &str = "…";

/// Parses what a test expects.
///
/// # Panics
/// When the test's own text is not TOML.
pub fn table(text: &str) -> Table {
    text.parse().unwrap_or_else(|error| panic!("the test's expectation is not TOML: {error}\n{text}"))
}

/// Where and how `found` differs from `expected`; `None` when it does not. Keys are compared both ways.
pub fn difference(expected: &Value, found: &Value) -> Option<String> {
    differs("", expected, found)
}

fn differs(at: &str, expected: &Value, found: &Value) -> Option<String> {
    match (expected, found) {
        (Value::String(any), _) if any == ANYTHING => None,
        (Value::Table(expected), Value::Table(found)) => {
            for (key, value) in expected {
                let at = format!("{at}.{key}");
                match found.get(key) {
                    None => return Some(format!("{at}: expected {value}, found no such key")),
                    Some(other) => {
                        if let Some(why) = differs(&at, value, other) {
                            return Some(why);
                        }
                    }
                }
            }
            found
                .iter()
                .find(|(key, _)| !expected.contains_key(*key))
                .map(|(key, value)| format!("{at}.{key}: expected no such key, found {value}"))
        }
        (Value::Array(expected), Value::Array(found)) => {
            if expected.len() != found.len() {
                return Some(format!("{at}: expected {} entries, found {}", expected.len(), found.len()));
            }
            expected
                .iter()
                .zip(found)
                .enumerate()
                .find_map(|(n, (expected, found))| differs(&format!("{at}[{n}]"), expected, found))
        }
        _ if expected == found => None,
        _ => Some(format!("{at}: expected {expected}, found {found}")),
    }
}

/// Whether `text` fits `expected`, in which each `…` stands for any run of characters (line breaks included).
pub fn fits(expected: &str, text: &str) -> bool {
    let mut parts = expected.split(ANYTHING);
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_fits_anything_and_nothing_else_does() {
        let expected = Value::Table(table("a = 1\nts = \"…\"\nb = { c = [1, \"…\"] }"));
        let same = Value::Table(table("ts = 5\na = 1\nb = { c = [1, 2] }"));
        assert_eq!(difference(&expected, &same), None);
        for (other, at) in [
            ("ts = 5\na = 2\nb = { c = [1, 2] }", ".a: expected 1, found 2"),
            ("ts = 5\na = 1\nb = { c = [1] }", ".b.c: expected 2 entries, found 1"),
            ("ts = 5\na = 1\nb = { c = [3, 2] }", ".b.c[0]: expected 1, found 3"),
            ("a = 1\nb = { c = [1, 2] }", ".ts: expected \"…\", found no such key"),
            ("ts = 5\na = 1\nx = 3\nb = { c = [1, 2] }", ".x: expected no such key, found 3"),
        ] {
            assert_eq!(difference(&expected, &Value::Table(table(other))).as_deref(), Some(at));
        }
    }

    #[test]
    fn text_fits_with_gaps() {
        assert!(fits("a … c", "a long way to c"));
        assert!(fits("…", ""));
        assert!(fits("token = \"…\"\n", "token = \"abc\"\n"));
        assert!(!fits("a … c", "a long way to d"));
        assert!(!fits("a", "ab"));
        assert!(!fits("x…x", "x"));
    }
}
