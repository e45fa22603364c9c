//! Whether the clocks agree.

use super::finding::{Check, Finding, Severity};

const MICROS: i64 = 1_000_000;
/// Seconds of difference that people see in the times of messages.
const SEEN: f64 = 0.5;
/// Seconds of difference after which an order by time means nothing.
const WRONG: f64 = 5.0;

const SKEW: Check = Check {
    key: "clock.skew",
    expected: "within 0.5 s of the others",
    why: "messages show the time at which their edge took them; logs, login windows and expiries count by these clocks",
    remedy: "run a time service (chrony, systemd-timesyncd) on this machine, and look at why it is off",
};

/// One clock against ours, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Whose.
    pub who: String,
    /// How far it is before ours, microseconds; behind: negative.
    pub ahead_us: i64,
    /// By how much that may be wrong, microseconds: half the time that asking took.
    pub within_us: i64,
}

impl Clock {
    /// `theirs` was read at some moment between `asked` and `answered` by our clock; all in microseconds since 1970.
    pub fn read(who: impl Into<String>, theirs: i64, (asked, answered): (i64, i64)) -> Self {
        let within_us = (answered - asked).max(0) / 2;
        Self { who: who.into(), ahead_us: theirs - asked - within_us, within_us }
    }
}

/// Judges them against what most of them show, ours included: it may be this machine that is off.
pub fn check(clocks: &[Clock]) -> Vec<Finding> {
    if clocks.is_empty() {
        return Vec::new();
    }
    let ours = Clock { who: "here".to_owned(), ahead_us: 0, within_us: 0 };
    let all: Vec<&Clock> = clocks.iter().chain([&ours]).collect();
    let mut shown: Vec<i64> = all.iter().map(|clock| clock.ahead_us).collect();
    shown.sort_unstable();
    let most = shown[shown.len() / 2];
    let seconds = |micros: i64| micros as f64 / MICROS as f64;
    all.into_iter()
        .map(|clock| {
            let off = clock.ahead_us - most;
            let surely = seconds((off.abs() - clock.within_us).max(0));
            let severity = match surely {
                _ if surely > WRONG => Severity::Danger,
                _ if surely > SEEN => Severity::Warning,
                _ => Severity::Ok,
            };
            let found = format!("{:+.3} s, to within {:.3} s", seconds(off), seconds(clock.within_us));
            SKEW.found(severity, &clock.who, found)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::testing::troubles;

    fn clock(who: &str, ahead_ms: i64, within_ms: i64) -> Clock {
        Clock { who: who.to_owned(), ahead_us: ahead_ms * 1000, within_us: within_ms * 1000 }
    }

    #[test]
    fn the_round_trip_is_halved() {
        assert_eq!(Clock::read("a", 1_005_000, (1_000_000, 1_010_000)), clock("a", 0, 5));
        assert_eq!(Clock::read("a", 3_005_000, (1_000_000, 1_010_000)), clock("a", 2000, 5));
    }

    #[test]
    fn clocks_that_agree_are_fine_and_a_slow_answer_proves_nothing() {
        assert_eq!(
            troubles(&check(&[clock("e1", 3, 1), clock("postgres", -2, 1), clock("w1", 900, 800)])),
            []
        );
        assert!(check(&[]).is_empty());
    }

    #[test]
    fn the_one_that_is_off_is_named_even_when_it_is_ours() {
        let off =
            check(&[clock("e1", 0, 1), clock("e2", 800, 1), clock("w1", -9000, 1), clock("redis", 1, 1)]);
        assert_eq!(troubles(&off), [("clock.skew", Severity::Warning), ("clock.skew", Severity::Danger)]);
        let named: Vec<&str> =
            off.iter().filter(|it| it.severity > Severity::Ok).map(|it| it.subject.as_str()).collect();
        assert_eq!(named, ["e2", "w1"]);
        let ours = check(&[clock("e1", 60_000, 1), clock("w1", 60_001, 1), clock("redis", 59_999, 1)]);
        assert_eq!(ours.iter().filter(|it| it.severity > Severity::Ok).count(), 1);
        assert_eq!(ours.iter().find(|it| it.severity > Severity::Ok).unwrap().subject, "here");
    }
}
