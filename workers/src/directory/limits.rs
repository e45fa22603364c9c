//! Counters with an end: failed logins a phone and an address, look-ups a user. `limit_{what}_{key}` in Redis; in this
//! worker's memory while Redis cannot be reached, so that a limit gets looser then but does not vanish.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use redis::Pipeline;

use super::{Directory, Unreachable};

/// The most counters kept in memory. Full: those that have ended go; were there none, all do.
const KEPT: usize = 10_000;

/// Counters of this worker alone.
#[derive(Debug, Default)]
pub(super) struct Fallback(Mutex<HashMap<String, (u64, Instant)>>);

/// A limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// Seconds until it ends.
    pub retry_after: u64,
}

impl Directory {
    /// Whether `what` was counted `limit` times for `key` within its window.
    ///
    /// # Errors
    /// [`Limited`].
    pub async fn check_limit(&self, what: &str, key: &str, limit: u64) -> Result<(), Limited> {
        let key = self.limit_key(what, key);
        let mut pipeline = Pipeline::new();
        pipeline.cmd("GET").arg(&key).cmd("TTL").arg(&key);
        let (count, left) = match self.link().send::<(Option<u64>, i64)>(&pipeline).await {
            Ok((count, left)) => (count.unwrap_or(0), u64::try_from(left).unwrap_or(0)),
            Err(error) => self.inner.counters.read(&key, &error),
        };
        if count >= limit { Err(Limited { retry_after: left.max(1) }) } else { Ok(()) }
    }

    /// Counts one more; the window begins with the first.
    ///
    /// # Errors
    /// [`Limited`] when this one is over the limit.
    pub async fn count(&self, what: &str, key: &str, limit: u64, window: Duration) -> Result<(), Limited> {
        let key = self.limit_key(what, key);
        let seconds = window.as_secs().max(1);
        let mut pipeline = Pipeline::new();
        pipeline.cmd("INCR").arg(&key);
        pipeline.cmd("EXPIRE").arg(&key).arg(seconds).arg("NX").ignore();
        pipeline.cmd("TTL").arg(&key);
        let (count, left) = match self.link().send::<(u64, i64)>(&pipeline).await {
            Ok((count, left)) => (count, u64::try_from(left).unwrap_or(seconds)),
            Err(error) => self.inner.counters.add(&key, window, &error),
        };
        if count > limit { Err(Limited { retry_after: left.max(1) }) } else { Ok(()) }
    }

    fn limit_key(&self, what: &str, key: &str) -> String {
        self.key(&format!("limit_{what}_{key}"))
    }
}

impl Fallback {
    fn read(&self, key: &str, why: &Unreachable) -> (u64, u64) {
        tracing::debug!(error = %why, "a limit is looked up in memory");
        let now = Instant::now();
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counters.get(key) {
            Some((count, end)) if *end > now => (*count, seconds_until(*end, now)),
            _ => (0, 0),
        }
    }

    fn add(&self, key: &str, window: Duration, why: &Unreachable) -> (u64, u64) {
        tracing::debug!(error = %why, "a limit is counted in memory");
        let now = Instant::now();
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counters.len() >= KEPT && !counters.contains_key(key) {
            counters.retain(|_, (_, end)| *end > now);
            if counters.len() >= KEPT {
                counters.clear();
            }
        }
        let entry = counters.entry(key.to_owned()).or_insert((0, now + window));
        if entry.1 <= now {
            *entry = (0, now + window);
        }
        entry.0 += 1;
        (entry.0, seconds_until(entry.1, now))
    }
}

fn seconds_until(end: Instant, now: Instant) -> u64 {
    end.duration_since(now).as_secs() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_in_memory_end_with_their_window_and_stay_bounded() {
        let counters = Fallback::default();
        let why = Unreachable::Down;
        let minute = Duration::from_secs(60);
        assert_eq!(counters.add("a", minute, &why).0, 1);
        assert_eq!(counters.add("a", minute, &why).0, 2);
        assert_eq!(counters.read("a", &why).0, 2);
        assert_eq!(counters.read("b", &why), (0, 0));
        assert_eq!(counters.add("ended", Duration::ZERO, &why).0, 1);
        assert_eq!(counters.read("ended", &why), (0, 0));
        for n in 0..KEPT * 2 {
            counters.add(&n.to_string(), minute, &why);
        }
        assert!(counters.0.lock().unwrap().len() <= KEPT);
    }
}
