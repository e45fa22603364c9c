//! A part of a gauge that several hold: what one of them put in goes when it is dropped.

use metrics::Gauge;

/// One holder's part.
#[must_use = "what it puts into the gauge is taken out when it is dropped"]
pub struct Share {
    gauge: Gauge,
    value: f64,
}

impl Share {
    /// One that has put `value` in.
    pub fn of(gauge: &Gauge, value: f64) -> Self {
        gauge.increment(value);
        Self { gauge: gauge.clone(), value }
    }

    /// Makes its part this value.
    pub fn set(&mut self, value: f64) {
        if value != self.value {
            self.gauge.increment(value - self.value);
            self.value = value;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0.0);
    }
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Share").field(&self.value).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn parts_add_up_and_leave_nothing_behind() {
        let value = Arc::new(metrics::atomics::AtomicU64::new(0));
        let now = || f64::from_bits(value.load(std::sync::atomic::Ordering::Relaxed));
        let gauge = Gauge::from_arc(value.clone());
        let mut one = Share::of(&gauge, 1.0);
        let other = Share::of(&gauge, 5.0);
        one.set(3.0);
        assert_eq!(now(), 8.0);
        drop(other);
        assert_eq!(now(), 3.0);
        drop(one);
        assert_eq!(now(), 0.0);
    }
}
