//! What is measured while a run goes on: latencies over all and second by second.

use std::io::{Write, stderr};

use super::histogram::Histogram;

/// Latencies of a run.
#[derive(Debug, Default)]
pub struct Meter {
    /// Whether what comes now counts; the seconds are kept either way.
    pub counts: bool,
    /// From when each message was due to its ack.
    pub acked: Histogram,
    /// From when each message was due to its delivery.
    pub shown: Histogram,
    /// Second by second.
    pub seconds: Vec<Second>,
    acked_now: Histogram,
    shown_now: u64,
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
    /// The run begins now.
    pub fn begin(&mut self, now: u64) {
        *self = Self { since: now, ..Self::default() };
    }

    /// One was acked so long after it was due.
    pub fn ack(&mut self, micros: u64) {
        self.acked_now.add(micros);
        if self.counts {
            self.acked.add(micros);
        }
    }

    /// One was delivered so long after it was due; `None`: that is not known.
    pub fn show(&mut self, micros: Option<u64>) {
        self.shown_now += 1;
        if let (true, Some(micros)) = (self.counts, micros) {
            self.shown.add(micros);
        }
    }

    /// A second is over: it is kept, and shown as progress.
    pub fn second(&mut self, now: u64, began: u64) {
        let long = now.saturating_sub(self.since).max(1) as f64 / 1e6;
        let second = Second {
            at: now.saturating_sub(began) as f64 / 1e6,
            counts: self.counts,
            acked: self.acked_now.count() as f64 / long,
            shown: self.shown_now as f64 / long,
            p50: self.acked_now.ms(0.5),
            p99: self.acked_now.ms(0.99),
        };
        say(&format!(
            "{:5.1} s{} {:8.0} acked/s {:9.0} delivered/s   p50 {:8.2} ms   p99 {:8.2} ms",
            second.at,
            if second.counts { " " } else { " (not measured)" },
            second.acked,
            second.shown,
            second.p50,
            second.p99,
        ));
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
