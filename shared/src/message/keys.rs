//! Reads typed keys out of one TOML table, with refusals that say what was expected and what was found.

use toml::{
    Spanned,
    de::{DeInteger, DeString, DeTable, DeValue},
};

use crate::{
    command::Code,
    ids::{Device, GroupId, InvalidId, MessageId, UserId},
};

/// A key that is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub code: Code,
    pub expected: String,
    pub found: String,
}

impl Wrong {
    pub fn invalid(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { code: Code::Invalid, expected: expected.into(), found: found.into() }
    }
}

/// What is expected of an id written as a number.
const WHOLE: &str = "a whole number of 1 or more";

/// The keys of one table of the frame.
#[derive(Clone, Copy)]
pub(super) struct Keys<'t> {
    table: &'t DeTable<'t>,
    /// How the table is written, for messages: `[m.to]`; empty for the entry itself.
    name: &'t str,
}

impl<'t> Keys<'t> {
    /// The keys of an entry.
    pub fn of(table: &'t DeTable<'t>) -> Self {
        Self { table, name: "" }
    }

    /// The value of a key.
    pub fn get(self, key: &str) -> Option<&'t DeValue<'t>> {
        self.table.get(key).map(Spanned::get_ref)
    }

    /// A sub-table, written as `name` in messages.
    pub fn table(self, key: &str, name: &'t str) -> Result<Option<Keys<'t>>, Wrong> {
        match self.get(key) {
            None => Ok(None),
            Some(DeValue::Table(table)) => Ok(Some(Keys { table, name })),
            other => Err(Wrong::invalid(format!("the table {name}"), found(other))),
        }
    }

    /// How a key is named in messages.
    fn named(self, key: &str) -> String {
        if self.name.is_empty() { format!("`{key}`") } else { format!("{} {key}", self.name) }
    }

    fn wrong(self, key: &str, what: &str) -> Wrong {
        Wrong::invalid(format!("{} as {what}", self.named(key)), found(self.get(key)))
    }

    /// A text of any length; `None` when the key is absent.
    pub fn maybe_str(self, key: &str) -> Result<Option<&'t str>, Wrong> {
        match self.get(key) {
            None => Ok(None),
            Some(DeValue::String(text)) => {
                if text.contains('\0') {
                    return Err(Wrong::invalid(
                        format!("{} without U+0000", self.named(key)),
                        "U+0000 in it",
                    ));
                }
                Ok(Some(text))
            }
            Some(_) => Err(self.wrong(key, "a text")),
        }
    }

    /// A text of at most `max` bytes; `None` when the key is absent.
    pub fn maybe_text(self, key: &str, max: usize) -> Result<Option<String>, Wrong> {
        match self.maybe_str(key)? {
            Some(text) if text.len() > max => Err(Wrong {
                code: Code::TooLong,
                expected: format!("{} of at most {max} bytes", self.named(key)),
                found: format!("{} bytes", text.len()),
            }),
            text => Ok(text.map(str::to_owned)),
        }
    }

    /// A text of at most `max` bytes.
    pub fn text(self, key: &str, max: usize) -> Result<String, Wrong> {
        self.maybe_text(key, max)?.ok_or_else(|| self.wrong(key, "a text"))
    }

    /// A text with its own rules.
    pub fn str(self, key: &str) -> Result<&'t str, Wrong> {
        self.maybe_str(key)?.ok_or_else(|| self.wrong(key, "a text"))
    }

    /// An id with its own rules.
    pub fn named_id<T>(
        self,
        key: &str,
        new: impl Fn(&str) -> Result<T, InvalidId>,
    ) -> Result<Option<T>, Wrong> {
        let Some(text) = self.maybe_str(key)? else { return Ok(None) };
        let wrong = |invalid: InvalidId| {
            Wrong::invalid(format!("{} as {}", self.named(key), invalid.expected), string(text))
        };
        new(text).map(Some).map_err(wrong)
    }

    /// The sender's id of the frame.
    pub fn maybe_id(self) -> Result<Option<MessageId>, Wrong> {
        self.named_id("id", MessageId::new)
    }

    /// The same, where it has to be.
    pub fn id(self) -> Result<MessageId, Wrong> {
        self.maybe_id()?.ok_or_else(|| self.wrong("id", "a text"))
    }

    /// `device`.
    pub fn device(self) -> Result<Device, Wrong> {
        self.named_id("device", Device::new)?.ok_or_else(|| self.wrong("device", "a text"))
    }

    /// A number of any size and sign; `None` when the key is absent.
    pub fn maybe_number(self, key: &str) -> Result<Option<i64>, Wrong> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => integer(value).map(Some).ok_or_else(|| self.wrong(key, "a whole number")),
        }
    }

    /// A number of 1 or more; `None` when the key is absent.
    pub fn maybe_whole<T>(
        self,
        key: &str,
        new: impl Fn(i64) -> Result<T, InvalidId>,
    ) -> Result<Option<T>, Wrong> {
        match self.get(key) {
            None => Ok(None),
            Some(_) => self.whole(key, new).map(Some),
        }
    }

    /// A number of 1 or more.
    pub fn whole<T>(self, key: &str, new: impl Fn(i64) -> Result<T, InvalidId>) -> Result<T, Wrong> {
        let number = self.get(key).and_then(integer);
        number.and_then(|number| new(number).ok()).ok_or_else(|| self.wrong(key, WHOLE))
    }

    /// A user named by a number, or by the `id` of a sub-table: `to = 3` or `[m.to] id = 3`.
    pub fn maybe_user(self, key: &str, sub: &'t str) -> Result<Option<UserId>, Wrong> {
        match self.get(key) {
            None => Ok(None),
            Some(DeValue::Table(table)) => Keys { table, name: sub }.whole("id", UserId::new).map(Some),
            Some(value) => match integer(value).and_then(|number| UserId::new(number).ok()) {
                Some(user) => Ok(Some(user)),
                None => Err(self.wrong(key, &format!("{WHOLE}, or {sub} id"))),
            },
        }
    }

    /// The same, where it has to be.
    pub fn user(self, key: &str, sub: &'t str) -> Result<UserId, Wrong> {
        self.maybe_user(key, sub)?.ok_or_else(|| self.wrong(key, &format!("{WHOLE}, or {sub} id")))
    }

    /// A group.
    pub fn group(self, key: &str) -> Result<GroupId, Wrong> {
        self.whole(key, GroupId::new)
    }

    /// Users, each named once; `None` when the key is absent.
    pub fn maybe_users(self, key: &str, most: usize) -> Result<Option<Vec<UserId>>, Wrong> {
        let what = "an array of whole numbers of 1 or more";
        let array = match self.get(key) {
            None => return Ok(None),
            Some(DeValue::Array(array)) => array,
            Some(_) => return Err(self.wrong(key, what)),
        };
        if array.len() > most {
            let expected = format!("{} of at most {most} users", self.named(key));
            return Err(Wrong { code: Code::Limit, expected, found: array.len().to_string() });
        }
        let mut known = std::collections::HashSet::with_capacity(array.len());
        let mut users = Vec::with_capacity(array.len());
        for value in array.iter() {
            let user =
                integer(value.get_ref()).and_then(|number| UserId::new(number).ok()).ok_or_else(|| {
                    Wrong::invalid(
                        format!("{} as {what}", self.named(key)),
                        format!("{} in it", found(Some(value.get_ref()))),
                    )
                })?;
            if known.insert(user) {
                users.push(user);
            }
        }
        Ok(Some(users))
    }
}

/// The number, where it is one that fits.
fn integer(value: &DeValue<'_>) -> Option<i64> {
    match value {
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    }
}

/// What stands there, cut to a printable length.
pub(super) fn found(value: Option<&DeValue<'_>>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(DeValue::String(text)) => string(text),
        Some(DeValue::Integer(number)) => format!("the number {}", cut(&DeInteger::to_string(number))),
        Some(DeValue::Float(number)) => format!("the number {}", cut(number.as_str())),
        Some(DeValue::Boolean(value)) => value.to_string(),
        Some(DeValue::Datetime(_)) => "a date or time".to_owned(),
        Some(DeValue::Array(_)) => "an array".to_owned(),
        Some(DeValue::Table(_)) => "a table".to_owned(),
    }
}

fn string(text: &str) -> String {
    format!("string {:?}", cut(text))
}

fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(32).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

/// A table's keys with their values, in order.
pub(super) fn entries<'t>(table: &'t DeTable<'t>) -> impl Iterator<Item = (&'t str, &'t DeValue<'t>)> {
    table.iter().map(|(key, value): (&Spanned<DeString<'t>>, _)| (key.get_ref().as_ref(), value.get_ref()))
}
