//! Laying the sources over each other and judging the result.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{
    ConfigErrors, InForce, Mistake, Rule, Secret, SecretUrl, Setting, Source, Strength, rule::Kind,
    secret::HIDDEN,
};

/// The layers under way: begins with the default, each call lays one more over it.
#[derive(Debug)]
pub struct Layers {
    /// Every key there is, as `section.key`, in the default's order.
    entries: Vec<Entry>,
    mistakes: Vec<Mistake>,
}

#[derive(Debug)]
struct Entry {
    key: String,
    value: Value,
    from: Source,
}

/// A configuration without mistakes.
#[derive(Debug, Clone)]
pub struct Resolved<T> {
    /// The typed configuration.
    pub config: T,
    /// What is in force, as TOML, each key with its source, without secrets.
    pub printed: String,
    /// The same for programs.
    pub in_force: InForce,
}

impl Layers {
    /// `default`: the binary's annotated TOML, sections of plain values. It decides which keys exist and their types.
    pub fn new(default: &str) -> Self {
        let mut layers = Self { entries: Vec::new(), mistakes: Vec::new() };
        match default.parse::<Table>() {
            Ok(table) => {
                layers.entries = flatten(table)
                    .into_iter()
                    .map(|(key, value)| Entry { key, value, from: Source::Default })
                    .collect();
            }
            Err(error) => {
                layers.mistakes.push(Mistake::NotToml {
                    file: "(the default)".into(),
                    reason: one_line(&error.to_string()),
                });
            }
        }
        layers
    }

    /// Every key, as `section.key`.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.key.as_str())
    }

    /// Lays a file over it, if one is named.
    pub fn file(mut self, file: Option<&Path>) -> Self {
        let Some(file) = file else { return self };
        match std::fs::read_to_string(file) {
            Err(error) => {
                self.mistakes.push(Mistake::Unreadable { file: file.into(), reason: error.to_string() })
            }
            Ok(text) => match text.parse::<Table>() {
                Err(error) => {
                    self.mistakes
                        .push(Mistake::NotToml { file: file.into(), reason: one_line(&error.to_string()) });
                }
                Ok(table) => {
                    for (key, value) in flatten(table) {
                        self.put(key, Source::File(file.into()), Given::Value(value));
                    }
                }
            },
        }
        self
    }

    /// Lays environment variables over it: those named `IM_SECTION__KEY` whose section exists here. Others belong to
    /// other processes.
    pub fn env(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut ours: BTreeMap<String, (String, String)> = BTreeMap::new();
        for (name, text) in variables {
            let Some((section, key)) = name.strip_prefix("IM_").and_then(|rest| rest.split_once("__")) else {
                continue;
            };
            let (section, key) = (section.to_lowercase(), key.to_lowercase());
            if self.sections().contains(&section.as_str()) {
                ours.insert(name, (format!("{section}.{key}"), text));
            }
        }
        for (name, (key, text)) in ours {
            self.put(key, Source::Env(name), Given::Text(text));
        }
        self
    }

    /// Lays `section.key=value` texts over it.
    pub fn set<S: AsRef<str>>(mut self, assignments: &[S]) -> Self {
        for text in assignments {
            let (key, value) = match text.as_ref().split_once('=') {
                Some((key, value)) if key.contains('.') => (key.trim().to_owned(), value),
                Some((key, _)) => {
                    self.mistakes.push(Mistake::NotAnAssignment { text: format!("{key}=…") });
                    continue;
                }
                None => {
                    self.mistakes
                        .push(Mistake::NotAnAssignment { text: SecretUrl::new(text.as_ref()).redacted() });
                    continue;
                }
            };
            self.put(key, Source::Set, Given::Text(value.to_owned()));
        }
        self
    }

    /// Judges every value by its rules and gives the typed configuration.
    ///
    /// # Errors
    /// Every mistake of every layer.
    pub fn resolve<T: DeserializeOwned>(mut self, rules: &[Rule]) -> Result<Resolved<T>, ConfigErrors> {
        // Wrong types were noted before the rules were known: only now is it clear which values are secret.
        for mistake in &mut self.mistakes {
            if let Mistake::Value { key, value, .. } = mistake
                && rules.iter().any(|rule| rule.key == key && rule.hides())
            {
                HIDDEN.clone_into(value);
            }
        }
        for rule in rules {
            if let Some(mistake) = self.judge(rule) {
                self.mistakes.push(mistake);
            }
        }
        if !self.mistakes.is_empty() {
            return Err(ConfigErrors(self.mistakes));
        }
        let (printed, in_force) = (self.printed(rules), self.in_force(rules));
        let mut table = Table::new();
        for Entry { key, value, .. } in self.entries {
            match key.split_once('.') {
                Some((section, name)) => {
                    let section =
                        table.entry(section.to_owned()).or_insert_with(|| Value::Table(Table::new()));
                    if let Value::Table(section) = section {
                        section.insert(name.to_owned(), value);
                    }
                }
                None => drop(table.insert(key, value)),
            }
        }
        match T::deserialize(table) {
            Ok(config) => Ok(Resolved { config, printed, in_force }),
            // The rules let something pass that the type does not: a mistake in this program, said all the same.
            Err(error) => Err(ConfigErrors(vec![Mistake::NotToml {
                file: "(all layers together)".into(),
                reason: one_line(&error.to_string()),
            }])),
        }
    }

    fn judge(&self, rule: &Rule) -> Option<Mistake> {
        let entry = self.entry(rule.key)?;
        let mut allowed = rule.allowed();
        let fits = match rule.kind {
            Kind::AtMost(other) => {
                let limit = &self.entry(other)?.value;
                allowed.push_str(&format!(", which is {limit}"));
                !matches!((&entry.value, limit), (Value::Integer(value), Value::Integer(limit)) if value > limit)
            }
            _ => rule.fits(&entry.value),
        };
        (!fits).then(|| Mistake::Value {
            key: entry.key.clone(),
            value: rule.shown(&entry.value),
            from: entry.from.clone(),
            allowed,
        })
    }

    fn put(&mut self, key: String, from: Source, given: Given) {
        let (key, given) = match self.of_file(key, given) {
            Ok(put) => put,
            Err((key, file, reason)) => {
                return self.mistakes.push(Mistake::NoSecret { key, from, file, reason });
            }
        };
        let Some(at) = self.entries.iter().position(|entry| entry.key == key) else {
            let allowed = self.near(&key);
            self.mistakes.push(Mistake::Unknown { key, from, allowed });
            return;
        };
        let shown = given.to_string();
        match given.into_type_of(&self.entries[at].value) {
            Some(value) => self.entries[at] = Entry { key, value, from },
            None => {
                let allowed = match self.entries[at].value {
                    Value::Integer(_) => "a whole number",
                    Value::Float(_) => "a number",
                    Value::Boolean(_) => "true or false",
                    _ => "a text",
                };
                self.mistakes.push(Mistake::Value { key, value: shown, from, allowed: allowed.to_owned() });
            }
        }
    }

    /// `nats.password_file`, where there is no such key: what stands in that file, for `nats.password`.
    fn of_file(&self, key: String, given: Given) -> Result<(String, Given), (String, PathBuf, String)> {
        let base = key.strip_suffix("_file").filter(|base| {
            FROM_FILES.iter().any(|name| base.ends_with(name))
                && self.entry(base).is_some()
                && self.entry(&key).is_none()
        });
        let (Some(base), Some(file)) = (base, given.text()) else { return Ok((key, given)) };
        match secret_in(file) {
            Ok(secret) => Ok((base.to_owned(), Given::Text(secret))),
            Err(reason) => Err((key.clone(), file.into(), reason)),
        }
    }

    /// The keys someone may have meant: those of the section, or the sections.
    fn near(&self, key: &str) -> String {
        let section = key.split('.').next().unwrap_or_default();
        let keys: Vec<&str> =
            self.keys().filter_map(|known| known.strip_prefix(section)?.strip_prefix('.')).collect();
        if keys.is_empty() {
            format!("one of the sections {}", self.sections().join(", "))
        } else {
            format!("one of {} in [{section}]", keys.join(", "))
        }
    }

    fn sections(&self) -> Vec<&str> {
        let mut sections: Vec<&str> =
            self.keys().filter_map(|key| key.split_once('.')).map(|(section, _)| section).collect();
        sections.dedup();
        sections
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    fn in_force(&self, rules: &[Rule]) -> InForce {
        let setting = |entry: &Entry| {
            let rule = rules.iter().find(|rule| rule.key == entry.key && rule.hides());
            let (value, secret) = match (rule.map(|rule| rule.kind), entry.value.as_str()) {
                (Some(Kind::Url(_)), Some(url)) => {
                    let url = SecretUrl::new(url);
                    // A password apart stands in place of the URL's; what is left there is a name.
                    let apart = entry.key.strip_suffix(".url").map(|section| format!("{section}.password"));
                    let apart = apart.and_then(|key| self.entry(&key)?.value.as_str());
                    let worth =
                        apart.filter(|text| !text.is_empty()).map_or(url.strength(), |_| Strength::None);
                    (url.redacted().into(), Some(worth))
                }
                (Some(_), Some("")) => (entry.value.clone(), Some(Strength::None)),
                (Some(_), Some(secret)) => (HIDDEN.into(), Some(Secret::new(secret).strength())),
                (Some(_), None) => (HIDDEN.into(), None),
                (None, _) => (entry.value.clone(), None),
            };
            (entry.key.clone(), Setting { value, from: entry.from.to_string(), secret })
        };
        self.entries.iter().map(setting).collect()
    }

    fn printed(&self, rules: &[Rule]) -> String {
        let mut out = String::new();
        let mut section = "";
        for entry in &self.entries {
            let (of, name) = entry.key.split_once('.').unwrap_or(("", &entry.key));
            if of != section {
                let gap = if out.is_empty() { "" } else { "\n" };
                out.push_str(&format!("{gap}[{of}]\n"));
                section = of;
            }
            let rule = rules.iter().find(|rule| rule.key == entry.key && rule.hides());
            let value = rule.map_or_else(|| entry.value.to_string(), |rule| rule.shown(&entry.value));
            out.push_str(&format!("{name} = {value} # {}\n", entry.from));
        }
        out
    }
}

/// A value as a layer gives it: typed by a file, as text by the environment and the command line.
enum Given {
    Value(Value),
    Text(String),
}

impl Given {
    /// In the default's type, if it can be.
    fn into_type_of(self, default: &Value) -> Option<Value> {
        match (self, default) {
            (Self::Value(value), _) if value.same_type(default) => Some(value),
            (Self::Value(Value::Integer(number)), Value::Float(_)) => Some(Value::Float(number as f64)),
            (Self::Value(_), _) => None,
            (Self::Text(text), Value::String(_)) => Some(Value::String(text)),
            (Self::Text(text), Value::Integer(_)) => {
                text.trim().replace('_', "").parse().ok().map(Value::Integer)
            }
            (Self::Text(text), Value::Float(_)) => text.trim().parse().ok().map(Value::Float),
            (Self::Text(text), Value::Boolean(_)) => text.trim().parse().ok().map(Value::Boolean),
            (Self::Text(_), _) => None,
        }
    }
}

impl Given {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Value(Value::String(text)) => Some(text),
            Self::Value(_) => None,
        }
    }
}

/// Longer is no secret but the wrong file.
const SECRET_BYTES: usize = 4096;

/// What may be given as a file: secrets, which so need not stand where processes and their settings are listed.
const FROM_FILES: [&str; 2] = [".password", ".url"];

/// The secret in a file, without the end of its line.
fn secret_in(file: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err("it is empty".to_owned()),
        secret if secret.len() > SECRET_BYTES || secret.contains('\n') => {
            Err("it holds more than one line".to_owned())
        }
        secret => Ok(secret.to_owned()),
    }
}

impl std::fmt::Display for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// `section.key` and value of every leaf, in order.
fn flatten(table: Table) -> Vec<(String, Value)> {
    let mut leaves = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(inner) => {
                leaves
                    .extend(flatten(inner).into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            leaf => leaves.push((name, leaf)),
        }
    }
    leaves
}

/// The parser's message without its drawing of the line.
fn one_line(message: &str) -> String {
    let lines: Vec<&str> = message.lines().filter(|line| !line.contains('|')).map(str::trim).collect();
    lines.join(": ").trim_matches([':', ' ']).to_owned()
}

#[cfg(test)]
mod tests;
