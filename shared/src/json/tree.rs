//! JSON as a tree that keeps what a map would lose: doubled keys are an error, and whole numbers stay as written.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{DEPTH, KEYS};

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    /// As TOML writes it.
    Number(String),
    Text(String),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// Reads one value and nothing after it. The error is a whole reason, for people.
pub(super) fn read(text: &str) -> Result<Tree, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let tree = Level(1).deserialize(&mut deserializer);
    tree.and_then(|tree| deserializer.end().map(|()| tree)).map_err(|error| format!("not JSON: {error}"))
}

/// A value so deep in the frame.
struct Level(usize);

impl Level {
    fn deeper<E: Error>(&self) -> Result<(), E> {
        if self.0 <= DEPTH {
            return Ok(());
        }
        Err(E::custom(format_args!("expected at most {DEPTH} levels of lists and objects, found more")))
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Tree;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Tree, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            // TOML has no whole number so large. As with what is larger still, it is refused where one is expected.
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Number(format!("{value:?}")))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Tree, E> {
        Ok(Tree::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Self(self.0 + 1))? {
            values.push(value);
        }
        Ok(Tree::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        self.deeper()?;
        let mut pairs: Vec<(String, Tree)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if pairs.len() == KEYS {
                return Err(A::Error::custom(format_args!(
                    "expected at most {KEYS} keys in an object, found more"
                )));
            }
            if pairs.iter().any(|(known, _)| *known == key) {
                let short: String = key.chars().take(32).collect();
                return Err(A::Error::custom(format_args!("expected each key once, found {short:?} twice")));
            }
            let value = map.next_value_seed(Self(self.0 + 1))?;
            pairs.push((key, value));
        }
        Ok(Tree::Object(pairs))
    }
}
