//! Values that do not print: passwords, and URLs with one inside.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What stands in place of a secret.
const HIDDEN: &str = "***";

/// A secret text. Neither `Debug` nor `Display` show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({HIDDEN})")
    }
}

/// A URL that may hold a password (`postgres://im:secret@host/db`). `Debug` and `Display` show it without.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// Wraps it.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL with its password, for the one place that connects.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The URL with its password hidden: what stands before an `@`, and `password=` among the parameters.
    pub fn redacted(&self) -> String {
        let (scheme, rest) = match self.0.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), self.0.as_str()),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        // An unescaped '/' in a password would end the authority early: then hide up to the last '@' of all.
        let at = if rest[..end].contains('@') { rest[..end].rfind('@') } else { rest.rfind('@') };
        let shown = match at {
            None => rest.to_owned(),
            Some(at) => {
                let (login, host) = rest.split_at(at);
                match login.split_once(':') {
                    Some((user, _)) => format!("{user}:{HIDDEN}{host}"),
                    // A login without a password is a token for NATS and a user name elsewhere.
                    None if scheme.starts_with("nats") || scheme.starts_with("tls") => {
                        format!("{HIDDEN}{host}")
                    }
                    None => rest.to_owned(),
                }
            }
        };
        scheme + &hide_parameter(&shown)
    }
}

/// Hides the value of `password=…`, as connection strings and URL queries write it.
fn hide_parameter(text: &str) -> String {
    let Some(start) = text.to_ascii_lowercase().find("password=").map(|at| at + "password=".len()) else {
        return text.to_owned();
    };
    let tail = &text[start..];
    let end = if tail.starts_with('\'') { tail.len() } else { tail.find(['&', ' ']).unwrap_or(tail.len()) };
    format!("{}{HIDDEN}{}", &text[..start], &tail[end..])
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.redacted())
    }
}

// Written back (to print a configuration) without its password.
impl Serialize for SecretUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.redacted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("postgres://im:geheim@db:5432/im", "postgres://im:***@db:5432/im"),
            ("postgres://im:ge/he@im@db/im", "postgres://im:***@db/im"),
            ("postgres://im@db/im?password=geheim&x=1", "postgres://im@db/im?password=***&x=1"),
            ("host=db user=im password=geheim dbname=im", "host=db user=im password=*** dbname=im"),
            ("redis://:geheim@cache:6379/2", "redis://:***@cache:6379/2"),
            ("nats://token@broker:4222", "nats://***@broker:4222"),
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
        ] {
            let secret = SecretUrl::new(url);
            assert_eq!(secret.to_string(), shown);
            assert_eq!(secret.expose(), url);
            assert!(!format!("{secret:?}").contains("geheim"));
        }
        assert!(!format!("{:?} {}", Secret::new("geheim"), Secret::new("geheim")).contains("geheim"));
    }
}
