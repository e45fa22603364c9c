//! What is measured while a run goes on: latencies over all and second by second.

use std::io::{Write, stderr};

use super::histogram::Histogram;

const SECOND: u64 = 1_000_000;

/// Latencies of a run.
#[derive(Debug)]
pub struct Meter {
    /// From when each message was due to its ack.
    pub acked: Histogram,
    /// From when each message was due to its delivery.
    pub shown: Histogram,
    /// Acks within the measured time.
    pub acks: u64,
    /// Deliveries within it.
    pub deliveries: u64,
    /// Second by second.
    pub seconds: Vec<Second>,
    /// Its seconds are kept and not shown.
    pub quiet: bool,
    /// What counts is when a message was due, not when its answer came: of those on schedule the latest would be missing.
    by_due: bool,
    /// The measured time.
    from: u64,
    to: u64,
    acked_now: Histogram,
    shown_now: u64,
    began: u64,
    since: u64,
}

/// One second of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Second {
    /// Its end, seconds since the run's beginning.
    pub at: f64,
    /// Whether it was measured.
    pub counts: bool,
    /// Acks a second.
    pub acked: f64,
    /// Deliveries a second.
    pub shown: f64,
    /// From due to acked, milliseconds.
    pub p50: f64,
    /// The same.
    pub p99: f64,
}

impl Meter {
    /// For messages that are sent when others are answered, or on schedule.
    pub fn new(on_schedule: bool) -> Self {
        Self {
            acked: Histogram::default(),
            shown: Histogram::default(),
            acks: 0,
            deliveries: 0,
            seconds: Vec::new(),
            quiet: false,
            by_due: on_schedule,
            from: u64::MAX,
            to: u64::MAX,
            acked_now: Histogram::default(),
            shown_now: 0,
            began: 0,
            since: 0,
        }
    }

    /// The run begins now.
    pub fn begin(&mut self, now: u64) {
        *self = Self { since: now, began: now, quiet: self.quiet, ..Self::new(self.by_due) };
    }

    /// What is measured begins now.
    pub fn measure_from(&mut self, now: u64) {
        self.from = now;
    }

    /// It ends now.
    pub fn measure_to(&mut self, now: u64) {
        self.to = now;
    }

    fn counts(&self, at: u64) -> bool {
        (self.from..self.to).contains(&at)
    }

    /// One that was due then was acked now.
    pub fn ack(&mut self, due: u64, at: u64) {
        let micros = at.saturating_sub(due);
        self.acked_now.add(micros);
        self.acks += u64::from(self.counts(at));
        if self.counts(if self.by_due { due } else { at }) {
            self.acked.add(micros);
        }
    }

    /// One was delivered now; `due` is `None` where that is not known.
    pub fn show(&mut self, due: Option<u64>, at: u64) {
        self.shown_now += 1;
        self.deliveries += u64::from(self.counts(at));
        if let Some(due) = due
            && self.counts(if self.by_due { due } else { at })
        {
            self.shown.add(at.saturating_sub(due));
        }
    }

    /// Whether the run has begun.
    pub fn has_begun(&self) -> bool {
        self.since > 0
    }

    /// When the second that goes on is over.
    pub fn next(&self) -> u64 {
        self.began + ((self.since - self.began) / SECOND + 1) * SECOND
    }

    /// A second is over: it is kept, and shown as progress where it is to be.
    pub fn second(&mut self, now: u64) {
        let long = now.saturating_sub(self.since).max(1) as f64 / 1e6;
        let second = Second {
            at: now.saturating_sub(self.began) as f64 / 1e6,
            counts: self.counts(now - SECOND / 2),
            acked: self.acked_now.count() as f64 / long,
            shown: self.shown_now as f64 / long,
            p50: self.acked_now.ms(0.5),
            p99: self.acked_now.ms(0.99),
        };
        if !self.quiet {
            say(&format!(
                "{:5.1} s{} {:8.0} acked/s {:9.0} delivered/s   p50 {:8.2} ms   p99 {:8.2} ms",
                second.at,
                if second.counts { " " } else { " (not measured)" },
                second.acked,
                second.shown,
                second.p50,
                second.p99,
            ));
        }
        self.seconds.push(second);
        self.acked_now.clear();
        (self.shown_now, self.since) = (0, now);
    }
}

/// A line of progress.
pub fn say(line: &str) {
    // A closed stderr is no reason to end.
    drop(writeln!(stderr(), "{line}"));
}
