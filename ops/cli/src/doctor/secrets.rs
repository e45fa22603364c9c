//! Passwords that everyone knows, and files that everyone reads. What they are is never told.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use shared::config::Strength;

use super::finding::{Check, Finding, Severity};

const EXAMPLE: Check = Check {
    key: "secrets.password",
    expected: "a password of its own, 12 characters or more",
    why: "it stands in examples or is what everyone tries first: whoever reaches the port is in",
    remedy: "make a new one (openssl rand -hex 18), give it to the store, and to the processes by environment or file",
};
const FILE: Check = Check {
    key: "secrets.file",
    expected: "for its owner alone (mode 600)",
    why: "everyone on this machine can read the passwords in it",
    remedy: "chmod 600",
};

/// Where a password stands, and what it is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The setting: `postgres.url`.
    pub key: String,
    /// Whose setting it is.
    pub who: String,
    /// What it is worth.
    pub strength: Strength,
}

/// A file that may hold passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// Which.
    pub path: PathBuf,
    /// Its mode's permission bits.
    pub mode: u32,
}

/// Judges passwords by what they are worth; that a store asks for none is said with the store.
pub fn check(seen: &[Seen], files: &[Guarded]) -> Vec<Finding> {
    let mut keys: BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for one in seen {
        let worth = match one.strength {
            Strength::None => continue,
            Strength::Example => "an example",
            Strength::Short => "a short one",
            Strength::Fine => "a password of its own",
        };
        keys.entry(&one.key).or_default().entry(worth).or_default().insert(&one.who);
    }
    let password = |(key, found): (&str, BTreeMap<&str, BTreeSet<&str>>)| {
        let severity = match () {
            () if found.contains_key("an example") => Severity::Danger,
            () if found.contains_key("a short one") => Severity::Warning,
            () => Severity::Ok,
        };
        let each = found.iter().map(|(worth, who)| {
            let who: Vec<&str> = who.iter().copied().collect();
            format!("{worth} ({})", who.join(", "))
        });
        EXAMPLE.found(severity, key, each.collect::<Vec<_>>().join(", "))
    };
    let mut findings: Vec<Finding> = keys.into_iter().map(password).collect();
    findings.extend(files.iter().map(|file| {
        let found = format!("mode {:o}", file.mode);
        FILE.judged(file.mode & 0o077 == 0, Severity::Warning, file.path.display(), found)
    }));
    findings
}

/// Looks at files; those that are not there are nobody's concern.
pub fn gather(files: &[PathBuf]) -> Vec<Guarded> {
    let mode = |path: &Path| std::fs::metadata(path).ok().map(|it| it.permissions().mode() & 0o777);
    files.iter().filter_map(|path| Some(Guarded { path: path.clone(), mode: mode(path)? })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::testing::troubles;

    fn seen(key: &str, who: &str, strength: Strength) -> Seen {
        Seen { key: key.to_owned(), who: who.to_owned(), strength }
    }

    #[test]
    fn one_example_among_good_ones_is_a_danger() {
        let postgres = |who, strength| seen("postgres.url", who, strength);
        assert_eq!(
            troubles(&check(&[postgres("w1", Strength::Fine), postgres("w2", Strength::None)], &[])),
            []
        );
        let found = check(&[postgres("w1", Strength::Fine), postgres("w2", Strength::Example)], &[]);
        assert_eq!(troubles(&found), [("secrets.password", Severity::Danger)]);
        assert_eq!(found[0].found, "a password of its own (w1), an example (w2)");
        let short = check(&[seen("redis.url", "w1", Strength::Short)], &[]);
        assert_eq!(troubles(&short), [("secrets.password", Severity::Warning)]);
    }

    #[test]
    fn files_with_passwords_are_for_their_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stack.toml");
        std::fs::write(&path, "").unwrap();
        let judged = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            troubles(&check(&[], &gather(&[path.clone(), dir.path().join("no")])))
        };
        assert_eq!(judged(0o600), []);
        assert_eq!(judged(0o640), [("secrets.file", Severity::Warning)]);
    }
}
