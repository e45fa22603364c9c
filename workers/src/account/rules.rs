//! What a phone, a name, an avatar, a password may be.

use crate::rpc::{Fault, http::invalid};

/// 3 to 32 of digits, `+` and `-`.
pub(super) fn phone(text: &str) -> Result<&str, Fault> {
    let valid =
        (3..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'+' || b == b'-');
    check(valid, text, "phone", "3 to 32 of 0-9, + and -", &shown(text))
}

/// 1 to 64 characters, none of them a control character, not blank.
pub(super) fn name(text: &str) -> Result<&str, Fault> {
    let valid = (1..=64).contains(&text.chars().count())
        && !text.chars().any(char::is_control)
        && !text.trim().is_empty();
    check(valid, text, "name", "1 to 64 characters without control characters", &shown(text))
}

/// Up to 512 bytes, usually a URL; may be empty.
pub(super) fn avatar(text: &str) -> Result<&str, Fault> {
    let valid = text.len() <= 512 && !text.chars().any(char::is_control);
    check(valid, text, "avatar", "up to 512 bytes without control characters", &shown(text))
}

/// 1 to 128 bytes. What was found is not repeated: it is a secret.
pub(super) fn password<'a>(text: &'a str, key: &str) -> Result<&'a str, Fault> {
    let found = format!("{} bytes", text.len());
    check((1..=128).contains(&text.len()), text, key, "1 to 128 bytes", &found)
}

fn check<'a>(valid: bool, text: &'a str, key: &str, expected: &str, found: &str) -> Result<&'a str, Fault> {
    if valid { Ok(text) } else { Err(invalid(format!("{key}: expected {expected}, found {found}"))) }
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones() {
        for text in ["138", "13812652243", "+49-170-1234567"] {
            assert!(phone(text).is_ok(), "{text}");
        }
        for text in ["", "12", "123 456", "12a4", "１２３", &"1".repeat(33)] {
            assert!(phone(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_count_characters() {
        assert!(name("大傻").is_ok() && name(&"傻".repeat(64)).is_ok());
        for text in ["", "  ", "a\nb", "a\0", &"x".repeat(65)] {
            assert!(name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_refused_password_is_not_repeated() {
        let secret = "s3cret".repeat(30);
        let said = password(&secret, "password").unwrap_err().to_string();
        assert!(!said.contains("s3cret") && said.contains("180 bytes"), "{said}");
        assert!(password("", "password").is_err());
    }
}
