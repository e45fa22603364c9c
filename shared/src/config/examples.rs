//! Example passwords: whoever has read this project knows them, so that a server takes one only on a machine by itself.

use std::net::IpAddr;

use super::{ConfigErrors, Mistake, Resolved, Strength};

/// Gives the configuration back, unless it holds an example password and its ports are published elsewhere than on a
/// loopback address, as the key `published_on` says.
pub(super) fn refused<T>(
    resolved: Resolved<T>,
    published_on: &'static str,
) -> Result<Resolved<T>, ConfigErrors> {
    let address = resolved.in_force.get(published_on).and_then(|setting| setting.value.as_str());
    if address.is_some_and(is_loopback) {
        return Ok(resolved);
    }
    let known = resolved.in_force.iter().filter(|(_, setting)| setting.secret == Some(Strength::Example));
    let mistakes: Vec<_> = known
        .map(|(key, setting)| Mistake::Example { key: key.clone(), from: setting.from.clone(), published_on })
        .collect();
    if mistakes.is_empty() { Ok(resolved) } else { Err(ConfigErrors(mistakes)) }
}

/// Whether only this machine reaches it.
fn is_loopback(address: &str) -> bool {
    address == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layers, Rule};

    const DEFAULT: &str = "[x]\npublished_on = \"\"\npassword = \"\"\nurl = \"redis://h\"\n";
    const RULES: &[Rule] = &[Rule::secret("x.password"), Rule::url("x.url", &["redis"])];

    fn said(set: &[&str]) -> Option<String> {
        let resolved = Layers::new(DEFAULT).set(set).resolve::<toml::Table>(RULES).unwrap();
        refused(resolved, "x.published_on").err().map(|errors| errors.to_string())
    }

    #[test]
    fn an_example_is_taken_on_a_machine_by_itself_alone() {
        let example = "x.password=example-only";
        assert_eq!(said(&["x.password=a secret of its own"]), None);
        for own in ["127.0.0.1", "::1", "localhost"] {
            assert_eq!(said(&[example, &format!("x.published_on={own}")]), None, "{own}");
        }
        for other in ["", "0.0.0.0", "::", "10.0.0.7", "127.0.0.1.example.org"] {
            let said = said(&[example, &format!("x.published_on={other}")]).unwrap();
            assert!(said.contains("x.password, from --set") && said.contains("x.published_on"), "{said}");
            assert!(!said.contains("example-only"), "{said}");
        }
        assert!(said(&["x.url=redis://:changeme@h"]).unwrap().contains("x.url, from --set"));
    }
}
