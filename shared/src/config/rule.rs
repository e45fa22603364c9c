//! What a key's value may be. One rule a key, and rules between two keys.

use toml::Value;

use super::{SecretUrl, secret::HIDDEN};

/// A rule for one key, or between two.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub(super) key: &'static str,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Range(i64, i64),
    OneOf(&'static [&'static str]),
    Text(fn(&str) -> bool, &'static str),
    Url(&'static [&'static str]),
    AtMost(&'static str),
    Secret,
    Any,
}

impl Rule {
    /// A whole number from `low` to `high`, both included.
    pub const fn range(key: &'static str, low: i64, high: i64) -> Self {
        Self { key, kind: Kind::Range(low, high) }
    }

    /// One of these words.
    pub const fn one_of(key: &'static str, words: &'static [&'static str]) -> Self {
        Self { key, kind: Kind::OneOf(words) }
    }

    /// A text for which `valid` holds; `allowed` says what that is.
    pub const fn text(key: &'static str, valid: fn(&str) -> bool, allowed: &'static str) -> Self {
        Self { key, kind: Kind::Text(valid, allowed) }
    }

    /// A URL of one of these schemes. It may hold a password and is never printed with it.
    pub const fn url(key: &'static str, schemes: &'static [&'static str]) -> Self {
        Self { key, kind: Kind::Url(schemes) }
    }

    /// A text that is never printed.
    pub const fn secret(key: &'static str) -> Self {
        Self { key, kind: Kind::Secret }
    }

    /// Anything of the default's type.
    pub const fn any(key: &'static str) -> Self {
        Self { key, kind: Kind::Any }
    }

    /// `key` is at most the value of another key. Comes on top of the key's own rule.
    pub const fn at_most(key: &'static str, other: &'static str) -> Self {
        Self { key, kind: Kind::AtMost(other) }
    }

    /// `host:port`; port 0 takes a free one.
    pub const fn address(key: &'static str) -> Self {
        Self::text(
            key,
            is_address,
            "host:port with a port from 0 to 65535 (0: a free one), for example 127.0.0.1:1987",
        )
    }

    /// `host:port`, or nothing.
    pub const fn address_or_empty(key: &'static str) -> Self {
        Self::text(
            key,
            |text| text.is_empty() || is_address(text),
            "host:port, or an empty text to leave it off",
        )
    }

    /// Log directives.
    pub const fn log_filter(key: &'static str) -> Self {
        Self::text(key, crate::telemetry::is_filter, "log directives such as info or info,edge=debug")
    }

    /// A collector of traces, or nothing.
    pub const fn collector(key: &'static str) -> Self {
        Self::text(
            key,
            is_collector,
            "an http:// URL such as http://127.0.0.1:4318/v1/traces, or an empty text for none",
        )
    }

    /// A name of letters, digits, `-` and `_`.
    pub const fn name(key: &'static str) -> Self {
        Self::text(key, is_name, "1 to 40 of a-z, A-Z, 0-9, - and _")
    }

    /// What would be valid, for people.
    pub(super) fn allowed(&self) -> String {
        match self.kind {
            Kind::Range(low, high) => format!("a whole number from {low} to {high}"),
            Kind::OneOf(words) => format!("one of {}", words.join(", ")),
            Kind::Text(_, allowed) => allowed.to_owned(),
            Kind::Url(schemes) => format!("a URL that begins with {}", schemes.join(":// or ") + "://"),
            Kind::AtMost(other) => format!("at most {other}"),
            Kind::Secret => "a text".to_owned(),
            Kind::Any => "any value".to_owned(),
        }
    }

    /// Whether the value fits. Types have been checked before; rules between keys are judged elsewhere.
    pub(super) fn fits(&self, value: &Value) -> bool {
        match (self.kind, value) {
            (Kind::Range(low, high), Value::Integer(number)) => (low..=high).contains(number),
            (Kind::OneOf(words), Value::String(text)) => words.contains(&text.as_str()),
            (Kind::Text(valid, _), Value::String(text)) => valid(text),
            (Kind::Url(schemes), Value::String(text)) => text
                .split_once("://")
                .is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty()),
            (Kind::Secret, Value::String(_)) | (Kind::Any | Kind::AtMost(_), _) => true,
            _ => false,
        }
    }

    /// Whether values of this key may be secret.
    pub(super) fn hides(&self) -> bool {
        matches!(self.kind, Kind::Url(_) | Kind::Secret)
    }

    /// The value as it may be shown.
    pub(super) fn shown(&self, value: &Value) -> String {
        match (self.kind, value) {
            (Kind::Url(_), Value::String(url)) => Value::String(SecretUrl::new(url).redacted()).to_string(),
            (Kind::Secret, Value::String(secret)) if !secret.is_empty() => Value::from(HIDDEN).to_string(),
            _ => value.to_string(),
        }
    }
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn is_collector(text: &str) -> bool {
    text.is_empty() || text.strip_prefix("http://").is_some_and(|rest| !rest.is_empty())
}

fn is_name(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Keys of a default that no rule covers, and rules without a key: for a test that keeps both lists together.
pub fn without_rule(default: &str, rules: &[Rule]) -> Vec<String> {
    let known: Vec<String> = super::Layers::new(default).keys().map(str::to_owned).collect();
    let ruled =
        |key: &String| rules.iter().any(|rule| rule.key == key && !matches!(rule.kind, Kind::AtMost(_)));
    let no_rule = known.iter().filter(|key| !ruled(key)).cloned();
    let no_key = rules.iter().map(|rule| rule.key.to_owned()).filter(|key| !known.contains(key));
    no_rule.chain(no_key).collect()
}
