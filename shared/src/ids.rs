//! Newtypes for every id, so that the wrong one cannot be passed.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl $name {
            /// Accepts 1 and above, as every id of this system starts there.
            pub fn new(value: i64) -> Result<Self, InvalidId> {
                if value >= 1 { Ok(Self(value)) } else { Err(InvalidId { what: $what, expected: "a whole number of 1 or more", found: value.to_string() }) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.parse::<i64>()
                    .map_err(|_| InvalidId { what: $what, expected: "a whole number of 1 or more", found: text.chars().take(32).collect() })
                    .and_then(Self::new)
            }
        }
    };
}

number_id!(/** A user. */ UserId, "user id");
number_id!(/** A group. */ GroupId, "group id");
number_id!(/** A message's place in its conversation: 1, 2, 3, … */ Seq, "seq");
number_id!(/** One connection of one device. Numbers only grow, over all nodes. */ SessionNo, "session number");

/// An id that is not one, with what was expected and what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: expected {expected}, found {found:?}")]
pub struct InvalidId {
    /// Which id.
    pub what: &'static str,
    /// What would have been valid.
    pub expected: &'static str,
    /// What stood there, cut to a printable length.
    pub found: String,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The longest one, in bytes.
            pub const MAX: usize = $max;

            /// Checks length and characters.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(char) -> bool = $valid;
                if !text.is_empty() && text.len() <= $max && text.chars().all(valid) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId { what: $what, expected: $expected, found: text.chars().take(32).collect() })
                }
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A device's name, the user's own choice (`ipad`).
    Device, "device", 64, "1 to 64 bytes without control characters", |c| !c.is_control()
);
text_id!(
    /// The id that a client gives its frame; means something to that device only.
    MessageId, "id", 128, "1 to 128 bytes without control characters", |c| !c.is_control()
);
text_id!(
    /// One start of one edge process (`e1-5f3a9c02`): never used again, so neither is its subject.
    NodeId, "node id", 64, "1 to 64 of a-z, A-Z, 0-9, - and _", |c| c.is_ascii_alphanumeric() || c == '-' || c == '_'
);

/// Whom messages are exchanged between: two users, or the members of a group.
///
/// Written `dm:1:2` (the lower user id first; `dm:1:1` is a user's talk with itself) or `g:9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Conversation {
    /// Two users, the lower id first.
    Direct(UserId, UserId),
    /// A group.
    Group(GroupId),
}

impl Conversation {
    /// The conversation of two users, in whichever order they are named.
    pub fn direct(one: UserId, other: UserId) -> Self {
        Self::Direct(one.min(other), one.max(other))
    }

    /// The other side of a direct conversation as `user` sees it; `None` for a group.
    pub fn peer(&self, user: UserId) -> Option<UserId> {
        match *self {
            Self::Direct(low, high) => Some(if user == low { high } else { low }),
            Self::Group(_) => None,
        }
    }
}

impl fmt::Display for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(low, high) => write!(f, "dm:{low}:{high}"),
            Self::Group(group) => write!(f, "g:{group}"),
        }
    }
}

impl FromStr for Conversation {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let wrong = || InvalidId {
            what: "conversation",
            expected: "dm:<user>:<user> with the lower id first, or g:<group>",
            found: text.chars().take(32).collect(),
        };
        if let Some(group) = text.strip_prefix("g:") {
            return group.parse().map(Self::Group).map_err(|_| wrong());
        }
        let (low, high) = text.strip_prefix("dm:").and_then(|pair| pair.split_once(':')).ok_or_else(wrong)?;
        let (low, high) =
            (low.parse::<UserId>().map_err(|_| wrong())?, high.parse::<UserId>().map_err(|_| wrong())?);
        if low <= high { Ok(Self::Direct(low, high)) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Conversation {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Conversation> for String {
    fn from(conversation: Conversation) -> String {
        conversation.to_string()
    }
}

/// What a token leaves behind: 32 hex digits of BLAKE3. Tokens themselves never reach the broker or a store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenDigest(Arc<str>);

impl TokenDigest {
    /// Digests the token as the client wrote it.
    pub fn of(token: &str) -> Self {
        Self(blake3::hash(token.as_bytes()).to_hex()[..32].into())
    }

    /// The hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TokenDigest {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        if text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidId {
                what: "token digest",
                expected: "32 hex digits",
                found: format!("{} bytes", text.len()),
            })
        }
    }
}

impl From<TokenDigest> for String {
    fn from(digest: TokenDigest) -> String {
        digest.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversations_read_back_what_they_write() {
        for text in ["dm:1:2", "dm:7:7", "g:9"] {
            assert_eq!(text.parse::<Conversation>().unwrap().to_string(), text);
        }
        for text in ["dm:2:1", "dm:0:1", "dm:1", "g:", "g:-1", "x:1", ""] {
            assert!(text.parse::<Conversation>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_peer_is_the_other_one() {
        let talk = Conversation::direct(UserId(5), UserId(3));
        assert_eq!(talk.to_string(), "dm:3:5");
        assert_eq!(talk.peer(UserId(5)), Some(UserId(3)));
        assert_eq!(Conversation::direct(UserId(3), UserId(3)).peer(UserId(3)), Some(UserId(3)));
    }

    #[test]
    fn a_digest_does_not_show_its_token() {
        let digest = TokenDigest::of("AAklxuC39JJtttUMwKHq3teKwOzWtmJc");
        assert_eq!(digest.as_str().len(), 32);
        assert_eq!(TokenDigest::try_from(String::from(digest.clone())).unwrap(), digest);
    }
}
