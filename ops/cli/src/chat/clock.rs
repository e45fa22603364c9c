//! When something was, in this machine's time zone (TZ, as everywhere).

use jiff::{Timestamp, Zoned, tz::TimeZone};

/// A time zone to tell times in.
#[derive(Debug, Clone)]
pub struct Clock {
    zone: TimeZone,
}

impl Clock {
    /// This machine's; UTC where it has none.
    pub fn here() -> Self {
        Self { zone: TimeZone::system() }
    }

    /// UTC, for tests.
    #[cfg(test)]
    pub fn utc() -> Self {
        Self { zone: TimeZone::UTC }
    }

    /// `2026-11-23 01:02:03`, of Unix seconds.
    pub fn full(&self, ts: i64) -> String {
        self.at(ts).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// `2026-11-23`.
    pub fn day(&self, ts: i64) -> String {
        self.at(ts).strftime("%Y-%m-%d").to_string()
    }

    /// `01:02`.
    pub fn time(&self, ts: i64) -> String {
        self.at(ts).strftime("%H:%M").to_string()
    }

    fn at(&self, ts: i64) -> Zoned {
        // Out of its range is as wrong as any other time.
        Timestamp::from_second(ts).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(self.zone.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told() {
        assert_eq!(Clock::utc().full(1_444_719_450), "2015-10-13 06:57:30");
        assert_eq!((Clock::utc().day(0), Clock::utc().time(59)), ("1970-01-01".into(), "00:00".into()));
        assert_eq!(Clock::utc().full(i64::MAX), "1970-01-01 00:00:00");
    }
}
