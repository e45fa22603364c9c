//! Waiting longer after each failure, by a random part of the span, so that a thousand clients of one dead node do not
//! come back as one.

use std::time::Duration;

/// Exponential back-off with full jitter: after the n-th failure in a row, anything from nothing to `first` · 2ⁿ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    /// The longest first wait.
    pub first: Duration,
    /// The longest wait of all.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(200), max: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// How long to wait after `failures` failures in a row.
    pub fn wait(&self, failures: u32) -> Duration {
        self.longest(failures).mul_f64(random_part())
    }

    fn longest(&self, failures: u32) -> Duration {
        self.first
            .saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX))
            .min(self.max)
    }
}

/// From 0 to 1. Without randomness from the system, the middle.
fn random_part() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_its_bound_and_varies() {
        let backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(5) };
        let longest: Vec<_> = [1, 2, 3, 7, 40, u32::MAX].map(|n| backoff.longest(n).as_millis()).into();
        assert_eq!(longest, [100, 200, 400, 5000, 5000, 5000]);
        let waits: std::collections::HashSet<_> = (0..20).map(|_| backoff.wait(7)).collect();
        assert!(waits.len() > 10 && waits.iter().all(|wait| *wait <= backoff.max));
    }
}
