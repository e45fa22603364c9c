//! Which contract between edges and workers a process speaks, and which of others' it understands.
//!
//! The contract is everything that crosses the broker: frames, deliveries, calls, heartbeats. Processes of neighbouring
//! releases run side by side during an upgrade, so it changes in steps that each side can take alone; the rules stand in
//! `ops/docs/OPERATIONS.md`, "Drain and upgrade". The newer side knows what the older one speaks and answers in kind,
//! so a process turns down only what is older than it understands.

use serde::{Deserialize, Serialize};

/// What this build speaks. Raised by one with every change that a build of before would misread.
///
/// | contract | since then |
/// |---|---|
/// | 1 | what carries no number |
/// | 2 | heartbeats and logins carry this number; a node's last heartbeat says that it is gone |
/// | 3 | a node's name is a token of its own in its subjects ([`crate::subject`]) |
pub const CONTRACT: u16 = 3;

/// Since when that is so.
pub const NODE_TOKENS: u16 = 3;

/// The oldest that this build understands.
pub const OLDEST: u16 = 1;

/// Which build speaks, as it stands in heartbeats, logins and their answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speaks {
    /// Its contract; 1 where nothing is said.
    #[serde(default = "unnumbered")]
    pub contract: u16,
    /// Its release, for people: `0.4.0`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub release: String,
}

impl Speaks {
    /// This build.
    pub fn this() -> Self {
        Self { contract: CONTRACT, release: env!("CARGO_PKG_VERSION").to_owned() }
    }

    /// Why this build cannot work with that one; `None` where it can.
    pub fn misfit(&self) -> Option<String> {
        self.misfit_below(OLDEST)
    }

    fn misfit_below(&self, oldest: u16) -> Option<String> {
        (self.contract < oldest).then(|| {
            format!(
                "expected contract {oldest} or later, found {} of release {:?}: upgrade that process first",
                self.contract, self.release
            )
        })
    }
}

impl Default for Speaks {
    /// A build of before the numbers.
    fn default() -> Self {
        Self { contract: unnumbered(), release: String::new() }
    }
}

fn unnumbered() -> u16 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::{self, Heartbeat};

    #[test]
    fn what_says_nothing_speaks_the_first_contract_and_is_understood() {
        let old = "node = \"e1-0\"\nserver = \"h\"\nport = 1\nsessions = 0\ndraining = false\n";
        let beat: Heartbeat = rpc::from_slice(old.as_bytes()).unwrap();
        assert_eq!((&beat.speaks, beat.gone), (&Speaks::default(), false));
        assert_eq!(beat.speaks.misfit(), None);
        assert_eq!(Speaks::this().misfit(), None);
    }

    #[test]
    fn what_is_older_than_understood_is_turned_down_and_what_is_newer_is_not() {
        let speaks = |contract| Speaks { contract, release: "0.1.0".to_owned() };
        let why = speaks(2).misfit_below(3).unwrap();
        assert!(why.contains("contract 3") && why.contains("found 2") && why.contains("0.1.0"), "{why}");
        assert_eq!(speaks(3).misfit_below(3), None);
        assert_eq!(speaks(CONTRACT + 1).misfit(), None);
    }

    #[test]
    fn a_reader_of_before_passes_over_what_is_new() {
        // The shape that contract 1 reads.
        #[derive(Deserialize)]
        struct Before {
            draining: bool,
        }
        let beat = Heartbeat {
            node: crate::ids::NodeId::new("e1-0").unwrap(),
            server: "h".to_owned(),
            port: 1,
            sessions: 3,
            draining: true,
            epoch: None,
            gone: true,
            speaks: Speaks::this(),
            started: 0,
            compat: Some(rpc::Address { server: "h".to_owned(), port: 2015 }),
        };
        let before: Before = rpc::from_slice(&rpc::to_vec(&beat)).unwrap();
        assert!(before.draining);
        assert_eq!(rpc::from_slice::<Heartbeat>(&rpc::to_vec(&beat)).unwrap(), beat);
    }
}
