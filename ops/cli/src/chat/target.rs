//! Whom something is addressed to, as a person or a script writes it.

use std::str::FromStr;

use shared::{
    client::http::Api,
    ids::{GroupId, UserId},
    message::Target,
};

use super::failure::Failure;

/// `13812652244`, `id:3` or `group:9`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// A phone number, to be looked up.
    Phone(String),
    /// A user by number.
    User(UserId),
    /// A group.
    Group(GroupId),
}

impl FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("expected a phone number, id:<user> as id:3, or group:<group> as group:9; found {text:?}")
        };
        match text.split_once(':') {
            Some(("id", id)) => id.parse().map(Self::User).map_err(|_| wrong()),
            Some(("group", id)) => id.parse().map(Self::Group).map_err(|_| wrong()),
            None if !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control()) => {
                Ok(Self::Phone(text.to_owned()))
            }
            _ => Err(wrong()),
        }
    }
}

impl To {
    /// Whom it means, asking for a phone number's owner.
    ///
    /// # Errors
    /// [`Failure`]: nobody has that number, or nobody could be asked.
    pub async fn find(&self, api: &Api, token: &str) -> Result<Target, Failure> {
        match self {
            Self::User(user) => Ok(Target::User(*user)),
            Self::Group(group) => Ok(Target::Group(*group)),
            Self::Phone(phone) => match api.user_by_phone(token, phone).await? {
                Some(user) => Ok(Target::User(user.id)),
                None => Err(Failure::Refused(format!("nobody has the phone number {phone}"))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addressees_are_read() {
        assert_eq!("13812652244".parse(), Ok(To::Phone("13812652244".into())));
        assert_eq!("+49-151".parse(), Ok(To::Phone("+49-151".into())));
        assert_eq!("id:3".parse(), Ok(To::User(UserId(3))));
        assert_eq!("group:9".parse(), Ok(To::Group(GroupId(9))));
        for text in ["", "id:", "id:0", "id:x", "group:-1", "user:3", "1 2", "1\n"] {
            assert!(text.parse::<To>().is_err(), "{text:?}");
        }
    }
}
