//! Values that do not print: passwords, and URLs with one inside.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What stands in place of a secret.
pub(super) const HIDDEN: &str = "***";

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

/// What the password in a URL is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strength {
    /// There is none.
    None,
    /// One that stands in examples, or that everyone tries first.
    Example,
    /// Shorter than [`SHORT`] characters.
    Short,
    /// Neither of these.
    Fine,
}

/// A password of fewer characters can be guessed by a machine that may try for long.
pub const SHORT: usize = 12;

/// What everyone tries first, and whatever stands as an example in this project. Compared without regard to case.
const EXAMPLES: [&str; 20] = [
    "123456",
    "12345678",
    "admin",
    "change-me",
    "change_me",
    "changeit",
    "changeme",
    "default",
    "example",
    "guest",
    "im",
    "letmein",
    "nats",
    "pass",
    "password",
    "postgres",
    "redis",
    "secret",
    "simple-im",
    "test",
];

impl SecretUrl {
    /// What its password is worth, as far as one can see.
    pub fn strength(&self) -> Strength {
        let (user, password) = self.login();
        worth(user, password)
    }

    /// User and password, empty where there is none. A token counts as a password.
    fn login(&self) -> (&str, &str) {
        if let Some(at) = self.0.to_ascii_lowercase().find("password=") {
            let rest = self.0[at + "password=".len()..].trim_start_matches('\'');
            return ("", rest.split(['&', ' ', '\'']).next().unwrap_or_default());
        }
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        let Some((login, _)) = rest.rsplit_once('@') else { return ("", "") };
        match login.split_once(':') {
            Some(both) => both,
            None if scheme.starts_with("nats") || scheme.starts_with("tls") => ("", login),
            None => (login, ""),
        }
    }
}

impl Secret {
    /// What it is worth as a password, as far as one can see.
    pub fn strength(&self) -> Strength {
        worth("", &self.0)
    }
}

fn worth(user: &str, password: &str) -> Strength {
    let known = password.to_ascii_lowercase();
    match password {
        "" => Strength::None,
        _ if known.contains("example")
            || EXAMPLES.contains(&known.as_str())
            || known == user.to_ascii_lowercase() =>
        {
            Strength::Example
        }
        _ if password.chars().count() < SHORT => Strength::Short,
        _ => Strength::Fine,
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

    #[test]
    fn a_password_that_everyone_knows_is_seen_for_what_it_is() {
        for (url, strength) in [
            ("postgres://im@db/im", Strength::None),
            ("redis://127.0.0.1:6379", Strength::None),
            ("postgres://im:example-only@db:5432/im", Strength::Example),
            ("postgres://worker:Worker@db/im", Strength::Example),
            ("postgres://im@db/im?password=PostGres&x=1", Strength::Example),
            ("host=db password='changeme' user=im", Strength::Example),
            ("nats://token@broker:4222", Strength::Short),
            ("redis://:eleven-char@cache", Strength::Short),
            ("redis://:twelve-chars@cache", Strength::Fine),
            ("postgres://im:1f0c5d9ab3@e42/7be@db/im", Strength::Fine),
        ] {
            assert_eq!(SecretUrl::new(url).strength(), strength, "{url}");
        }
    }
}
