//! Whether a process can serve: named conditions, each held by the part that knows.

use std::collections::BTreeMap;

use tokio::sync::watch;

/// The process's conditions. Clones share them.
#[derive(Debug, Clone)]
pub struct Readiness(watch::Sender<BTreeMap<&'static str, Option<String>>>);

/// One condition; unmet until its holder says otherwise.
#[derive(Debug, Clone)]
pub struct Condition {
    name: &'static str,
    of: Readiness,
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// Without a condition, and so ready.
    pub fn new() -> Self {
        Self(watch::Sender::new(BTreeMap::new()))
    }

    /// Adds a condition, unmet ("not yet") until told otherwise. The same name again gives the same condition.
    pub fn condition(&self, name: &'static str) -> Condition {
        self.0.send_modify(|conditions| {
            conditions.entry(name).or_insert_with(|| Some("not yet".to_owned()));
        });
        Condition { name, of: self.clone() }
    }

    /// The conditions unmet, each with its reason; none: ready.
    pub fn unmet(&self) -> Vec<(&'static str, String)> {
        unmet(&self.0.borrow())
    }

    /// Whether all are met.
    pub fn is_ready(&self) -> bool {
        self.0.borrow().values().all(Option::is_none)
    }

    /// Returns once all are met.
    pub async fn ready(&self) {
        let mut receiver = self.0.subscribe();
        // The sender lives in `self`: the channel cannot close while this waits.
        drop(receiver.wait_for(|conditions| conditions.values().all(Option::is_none)).await);
    }
}

impl Condition {
    /// It is met.
    pub fn met(&self) {
        self.put(None);
    }

    /// It is not, and why.
    pub fn unmet(&self, reason: impl Into<String>) {
        self.put(Some(reason.into()));
    }

    fn put(&self, state: Option<String>) {
        self.of.0.send_if_modified(|conditions| {
            let changed = conditions.get(self.name) != Some(&state);
            if changed {
                conditions.insert(self.name, state);
            }
            changed
        });
    }
}

fn unmet(conditions: &BTreeMap<&'static str, Option<String>>) -> Vec<(&'static str, String)> {
    conditions.iter().filter_map(|(name, state)| Some((*name, state.clone()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_is_when_every_condition_is_met() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let (broker, lanes) = (readiness.condition("broker"), readiness.condition("lanes"));
        broker.met();
        assert_eq!(readiness.unmet(), [("lanes", "not yet".to_owned())]);
        let waiting = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.ready().await }
        });
        lanes.met();
        waiting.await.unwrap();
        broker.unmet("disconnected");
        assert_eq!(readiness.unmet(), [("broker", "disconnected".to_owned())]);
    }
}
