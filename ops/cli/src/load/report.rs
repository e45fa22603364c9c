//! A run as one JSON line.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Options, histogram::Histogram, meter::Meter, party::Counts, run::Measured};

/// The line, as it grows.
#[derive(Debug, Default)]
pub struct Line(Map<String, Value>);

impl Line {
    /// What every run says.
    pub fn new(mode: &str, options: &Options, edges: usize, workers: usize, versions: Value) -> Self {
        let mut line = Self::default();
        line.put("mode", mode);
        line.put("seed", options.seed);
        line.put("edges", edges);
        line.put("workers", workers);
        line.put("body", options.body);
        line.put("acks", options.acks.name());
        line.put("ack_ms", options.ack_ms);
        line.put("versions", versions);
        line
    }

    /// One figure.
    pub fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// Every figure of an object.
    pub fn put_all(&mut self, figures: Value) {
        if let Value::Object(figures) = figures {
            self.0.extend(figures);
        }
    }

    /// One figure, with two digits behind the point.
    pub fn figure(&mut self, key: &str, value: f64) {
        self.put(key, rounded(value));
    }

    /// `{name}p50_ms` and so on.
    pub fn latencies(&mut self, name: &str, of: &Histogram) {
        for (quantile, key) in [(0.5, "p50_ms"), (0.99, "p99_ms"), (0.999, "p999_ms")] {
            self.figure(&format!("{name}{key}"), of.ms(quantile));
        }
    }

    /// Microseconds a message, or whatever counts, for each kind of process; `total` is without the generator.
    pub fn cpu(&mut self, key: &str, spent: &BTreeMap<&'static str, u64>, by: u64) {
        let each = |micros: u64| rounded(micros as f64 / by.max(1) as f64);
        let mut cpu: Map<String, Value> =
            spent.iter().map(|(kind, micros)| ((*kind).to_owned(), json!(each(*micros)))).collect();
        let total = spent.iter().filter(|(kind, _)| **kind != "generator").map(|(_, micros)| micros).sum();
        cpu.insert("total".to_owned(), json!(each(total)));
        self.put(key, Value::Object(cpu));
    }

    /// `lost` are deliveries missing of what was acked, `doubled` and `reordered` are what no client should see,
    /// `repeated` is what it drops by its `seq`.
    pub fn counts(&mut self, counts: &Counts) {
        let Counts {
            written,
            acked,
            unanswered,
            refused,
            delivered,
            lost,
            doubled,
            reordered,
            repeated,
            cut,
        } = *counts;
        let all = [
            ("written", written),
            ("acked", acked),
            ("unanswered", unanswered),
            ("refused", refused),
            ("delivered", delivered),
            ("lost", lost),
            ("doubled", doubled),
            ("reordered", reordered),
            ("repeated", repeated),
            ("cut", cut),
        ];
        for (key, count) in all {
            self.put(key, count);
        }
    }

    /// A run of messages: rates, latencies, CPU and counts.
    pub fn messages(&mut self, measured: &Measured, meter: &Meter, counts: &Counts) {
        let Measured { seconds, cpu } = measured;
        self.figure("seconds", *seconds);
        self.put("msgs_per_s", (meter.acks as f64 / seconds).round());
        self.latencies("", &meter.acked);
        self.latencies("delivered_", &meter.shown);
        self.cpu("cpu_us_per_msg", cpu, meter.acks);
        self.counts(counts);
    }

    /// One line of JSON.
    pub fn finish(self) -> String {
        Value::Object(self.0).to_string()
    }
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
