//! Whether the broker takes what a lane has for it. While it does not, those not yet logged in, and HTTP, are told to try
//! again: who is logged in waits with its frames, and more who wait would help nobody.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// How long a batch is refused before that is more than a moment's jam.
const MOMENT: Duration = Duration::from_secs(1);

/// After how long those who are turned away are to try again, seconds.
pub const RETRY_AFTER: u64 = 2;

/// One lane's.
#[derive(Debug, Default)]
pub struct Pressure(AtomicBool);

impl Pressure {
    /// A batch was refused once more; it was first offered at `began`.
    pub fn refused(&self, began: Instant) {
        if began.elapsed() >= MOMENT {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// The batch was taken.
    pub fn taken(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether the lane has been refused for longer than a moment.
    pub fn is_high(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_nothing_and_the_first_batch_taken_ends_it() {
        let pressure = Pressure::default();
        let now = Instant::now();
        pressure.refused(now);
        assert!(!pressure.is_high());
        pressure.refused(now.checked_sub(MOMENT).unwrap());
        assert!(pressure.is_high());
        pressure.taken();
        assert!(!pressure.is_high());
    }
}
