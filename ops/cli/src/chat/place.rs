//! Where a system is, and whose certificates are believed there: `--server` and `--ca`, or `--stack` for both.

use std::{
    env,
    path::{Path, PathBuf, absolute},
};

use anyhow::Context;
use shared::{
    client::http::Api,
    tls::{self, Trust},
};

use super::failure::Failure;
use crate::record::{Kind, Stack};

/// Where nothing else is said: an edge of this machine, with TLS where there is a certificate to believe.
const SERVER: [&str; 2] = ["http://127.0.0.1:8080", "https://127.0.0.1:8080"];

/// A system as its users reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// HTTP addresses with commas between them.
    pub server: String,
    /// Whom to believe there, a PEM file; `None`: the roots of this machine.
    pub ca: Option<PathBuf>,
}

/// What flags and environment say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its addresses.
    pub server: Option<String>,
    /// Whom to believe.
    pub ca: Option<PathBuf>,
}

impl Wanted {
    /// The edges of a stack of this machine, as its `stack.toml` has them.
    ///
    /// # Errors
    /// None runs there.
    pub fn of_stack(data: &Path) -> Result<Self, Failure> {
        let stack = Stack::read(data)?.with_context(|| format!("no stack runs on {}", data.display()))?;
        let edges = stack.process.iter().filter(|process| process.kind == Kind::Edge);
        let edges: Vec<_> = edges.map(|edge| &edge.addresses).collect();
        let servers: Vec<String> = edges.iter().filter_map(|edge| edge.base()).collect();
        if servers.is_empty() {
            return Err(Failure::Usage(format!(
                "expected a stack with edges on {}, found none that runs",
                data.display()
            )));
        }
        Ok(Self { server: Some(servers.join(",")), ca: edges.iter().find_map(|edge| edge.ca.clone()) })
    }

    /// With what is usual where nothing is said.
    pub fn or_usual(self) -> Place {
        let usual = SERVER[usize::from(self.ca.is_some())];
        Place { server: self.server.unwrap_or_else(|| usual.to_owned()), ca: self.ca }
    }

    /// What was kept, with what is said now over it.
    pub fn over(self, kept: Place) -> Place {
        Place { server: self.server.unwrap_or(kept.server), ca: self.ca.or(kept.ca) }
    }

    /// Whether this may be meant: one of the addresses is the same, or none is given.
    pub fn may_be(&self, server: &str) -> bool {
        self.server.as_ref().is_none_or(|wanted| is_same(wanted, server))
    }
}

impl Place {
    /// The API there.
    ///
    /// # Errors
    /// Whom to believe cannot be read, or goes with no address.
    pub fn api(&self) -> Result<Api, Failure> {
        let secure = addresses(&self.server).filter(|base| base.starts_with("https://")).count();
        let wrong =
            |expected: &str| Err(Failure::Usage(format!("expected {expected}, found {}", self.server)));
        match (secure, &self.ca) {
            (0, Some(ca)) => wrong(&format!("https:// addresses to go with --ca {}", ca.display())),
            (0, None) => Ok(Api::any(addresses(&self.server))),
            (some, _) if some < addresses(&self.server).count() => {
                wrong("all addresses of a system to begin with https://, or none")
            }
            (_, ca) => {
                let trust = ca.clone().map_or(Trust::System, Trust::Roots);
                let tls = tls::Client::new(&trust).map_err(|error| Failure::Usage(error.to_string()))?;
                Ok(Api::any_with_tls(addresses(&self.server), tls))
            }
        }
    }
}

/// Whether two lists of addresses are of one system: they share one.
pub fn is_same(one: &str, other: &str) -> bool {
    addresses(one).any(|base| addresses(other).any(|again| again == base))
}

/// A path that means the same from another folder.
pub fn lasting(path: PathBuf) -> PathBuf {
    absolute(&path).unwrap_or(path)
}

/// A variable of the environment that is not empty.
pub fn set(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn addresses(server: &str) -> impl Iterator<Item = &str> {
    server.split(',').map(|base| base.trim().trim_end_matches('/')).filter(|base| !base.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(server: &str, ca: Option<&str>) -> Place {
        Place { server: server.to_owned(), ca: ca.map(PathBuf::from) }
    }

    #[test]
    fn what_is_said_now_lies_over_what_was_kept() {
        let wanted = |server: Option<&str>, ca: Option<&str>| Wanted {
            server: server.map(str::to_owned),
            ca: ca.map(PathBuf::from),
        };
        let kept = || place("https://a:1", Some("old.pem"));
        assert_eq!(wanted(None, None).over(kept()), kept());
        assert_eq!(wanted(None, Some("new.pem")).over(kept()), place("https://a:1", Some("new.pem")));
        assert_eq!(wanted(None, None).or_usual(), place("http://127.0.0.1:8080", None));
        assert_eq!(wanted(None, Some("x")).or_usual(), place("https://127.0.0.1:8080", Some("x")));
        assert!(wanted(Some("http://a, http://b/"), None).may_be("http://b"));
        assert!(!wanted(Some("http://a"), None).may_be("https://a"));
    }

    #[test]
    fn an_authority_goes_with_tls_and_tls_with_all_addresses() {
        let said = |place: Place| match place.api() {
            Err(Failure::Usage(said)) => said,
            other => panic!("{other:?}"),
        };
        assert!(
            said(place("http://a", Some("ca.pem"))).contains("https:// addresses to go with --ca ca.pem")
        );
        assert!(said(place("https://a,http://b", None)).contains("or none, found https://a,http://b"));
        assert!(
            said(place("https://a", Some("/nowhere/ca.pem"))).contains("/nowhere/ca.pem: expected a PEM")
        );
        assert!(place("http://a,http://b", None).api().is_ok_and(|api| api.tls().is_none()));
    }
}
