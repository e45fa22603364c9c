//! What the supervisor says: to whoever started it, while they listen, and into its own log.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::log::Log;

/// The supervisor's voice; clones share it.
#[derive(Clone, Debug)]
pub struct Say {
    log: Log,
    aloud: Arc<AtomicBool>,
}

impl Say {
    /// Says aloud and into this log.
    pub fn new(log: Log) -> Self {
        Self { log, aloud: Arc::new(AtomicBool::new(true)) }
    }

    /// One line, or several.
    pub fn line(&self, text: impl std::fmt::Display) {
        self.log.write(format!("{} {text}\n", utc_now()).as_bytes());
        if self.aloud.load(Ordering::Relaxed) {
            // Nobody may be listening any more; the log has it.
            drop(writeln!(std::io::stdout(), "{text}"));
        }
    }

    /// From now on only into the log.
    pub fn only_log(&self) {
        self.aloud.store(false, Ordering::Relaxed);
    }
}

/// `2026-01-31T23:59:59Z`.
fn utc_now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    utc(seconds)
}

fn utc(seconds: u64) -> String {
    let (mut days, of_day) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_right_around_leap_days_and_years() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(super::utc(seconds), expected);
        }
    }
}
