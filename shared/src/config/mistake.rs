//! What can be wrong with a configuration, said so that it can be put right without the source code.

use std::{fmt, path::PathBuf};

/// Every mistake found, in the order of the layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Mistake>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} {}:", if count == 1 { "mistake" } else { "mistakes" })?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// The file cannot be read.
    #[error("{}: cannot be read: {reason}; expected a TOML file, or no --config at all", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{}: not TOML: {reason}", file.display())]
    NotToml {
        /// Which file.
        file: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A `--set` that assigns nothing.
    #[error("--set {text}: expected section.key=value, for example --set log.format=json")]
    NotAnAssignment {
        /// What stood there, without anything after a `=`.
        text: String,
    },
    /// A key that does not exist.
    #[error("{key}, from {from}: there is no such key; expected {allowed}")]
    Unknown {
        /// The key as `section.key`.
        key: String,
        /// Where it stood.
        from: Source,
        /// The keys there are.
        allowed: String,
    },
    /// A file that should hold a secret and does not.
    #[error("{key} = {}, from {from}: expected a file that holds the value alone, found: {reason}", file.display())]
    NoSecret {
        /// The key as `section.key_file`.
        key: String,
        /// Where it stood.
        from: Source,
        /// Which file.
        file: PathBuf,
        /// What is wrong with it; never what it holds.
        reason: String,
    },
    /// A password that everyone knows, where not only this machine reaches what it guards.
    #[error(
        "{key}, from {from}: expected a password of its own, found one that stands in examples; it is taken only where \
         {published_on} is a loopback address"
    )]
    Example {
        /// The key as `section.key`.
        key: String,
        /// Where it stood.
        from: String,
        /// The key that says where ports are published.
        published_on: &'static str,
    },
    /// A value of the wrong type or out of range.
    #[error("{key} = {value}, from {from}: expected {allowed}")]
    Value {
        /// The key as `section.key`.
        key: String,
        /// The value, without secrets.
        value: String,
        /// Where it stood.
        from: Source,
        /// What would be valid.
        allowed: String,
    },
}

/// Which layer a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The compiled-in default.
    Default,
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// `--set` on the command line.
    Set,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File(file) => write!(f, "the file {}", file.display()),
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::Set => f.write_str("--set"),
        }
    }
}
