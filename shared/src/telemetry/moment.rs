//! Moments that cross process boundaries, for latencies from one machine to another.

use std::{
    fmt,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

/// Unix time in milliseconds, by this machine's clock. What is measured between two machines is as good as their clocks
/// agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// Now. A clock before 1970 is taken for 1970.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// From Unix seconds, as a broker or database tells them.
    pub fn from_unix_seconds(seconds: f64) -> Self {
        // Out of range saturates, which is as good as any other answer to a clock that is off by ages.
        Self((seconds * 1000.0) as u64)
    }

    /// Seconds from this moment to now; 0 for a moment of a clock that is ahead of ours.
    pub fn elapsed(self) -> f64 {
        Self::now().0.saturating_sub(self.0) as f64 / 1000.0
    }
}

/// As it stands in a header.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Moment {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_its_header_and_one_to_come_is_now() {
        let moment = Moment::now();
        assert_eq!(moment.to_string().parse(), Ok(moment));
        assert!(moment.elapsed() < 60.0);
        assert_eq!(Moment(u64::MAX).elapsed(), 0.0);
        assert!((Moment::from_unix_seconds(moment.0 as f64 / 1000.0).0).abs_diff(moment.0) <= 1);
        assert!("soon".parse::<Moment>().is_err());
    }
}
