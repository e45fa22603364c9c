//! Using metrics: handles for hot paths, one-line helpers for the rest.

use metrics::{Counter, Gauge, Histogram, Key, Level, Metadata};

use super::Metric;

/// Whose metric it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// An edge's.
    Edge,
    /// A worker's.
    Worker,
    /// Any process's.
    Process,
}

impl Part {
    /// As it stands in names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Worker => "worker",
            Self::Process => "process",
        }
    }
}

/// What a metric is to Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

pub(super) struct Entry {
    pub(super) part: Part,
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    pub(super) labels: &'static [Label],
    pub(super) help: &'static str,
}

pub(super) struct Label {
    pub(super) name: &'static str,
    pub(super) values: &'static [&'static str],
}

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

impl Metric {
    /// Its name.
    pub const fn name(self) -> &'static str {
        self.entry().name
    }

    /// Counter, gauge or histogram.
    pub const fn kind(self) -> Kind {
        self.entry().kind
    }

    /// Whose it is.
    pub const fn part(self) -> Part {
        self.entry().part
    }

    /// What it means.
    pub const fn help(self) -> &'static str {
        self.entry().help
    }

    /// The labels that each of its series has.
    pub fn labels(self) -> impl Iterator<Item = &'static str> {
        self.entry().labels.iter().map(|label| label.name)
    }

    /// The values that one of its labels may have: none listed where they are open, `None` where it has no such label.
    pub fn values(self, label: &str) -> Option<&'static [&'static str]> {
        self.entry().labels.iter().find(|known| known.name == label).map(|known| known.values)
    }

    /// A counter's handle. Take it once and keep it: adding to it is one atomic operation.
    pub fn counter(self, labels: &[(&'static str, &str)]) -> Counter {
        debug_assert_eq!(self.kind(), Kind::Counter, "{self:?}");
        let key = self.key(labels);
        metrics::with_recorder(|recorder| recorder.register_counter(&key, &METADATA))
    }

    /// A gauge's handle.
    pub fn gauge(self, labels: &[(&'static str, &str)]) -> Gauge {
        debug_assert_eq!(self.kind(), Kind::Gauge, "{self:?}");
        let key = self.key(labels);
        metrics::with_recorder(|recorder| recorder.register_gauge(&key, &METADATA))
    }

    /// A histogram's handle.
    pub fn histogram(self, labels: &[(&'static str, &str)]) -> Histogram {
        debug_assert_eq!(self.kind(), Kind::Histogram, "{self:?}");
        let key = self.key(labels);
        metrics::with_recorder(|recorder| recorder.register_histogram(&key, &METADATA))
    }

    /// Makes every series whose labels have a closed set of values, so that it is there, at 0, before its first event.
    pub(super) fn register(self) {
        let mut series: Vec<Vec<(&'static str, &str)>> = vec![Vec::new()];
        for label in self.entry().labels {
            series = series
                .iter()
                .flat_map(|so_far| {
                    label
                        .values
                        .iter()
                        .map(move |value| [so_far.as_slice(), &[(label.name, *value)]].concat())
                })
                .collect();
        }
        for labels in series {
            match self.kind() {
                Kind::Counter => self.counter(&labels).increment(0),
                Kind::Gauge => self.gauge(&labels).increment(0.0),
                Kind::Histogram => drop(self.histogram(&labels)),
            }
        }
    }

    fn key(self, labels: &[(&'static str, &str)]) -> Key {
        debug_assert!(
            labels.len() == self.entry().labels.len()
                && self.entry().labels.iter().all(|known| {
                    let given = labels.iter().find(|(name, _)| *name == known.name);
                    given.is_some_and(|(_, value)| known.values.is_empty() || known.values.contains(value))
                }),
            "{} was given the labels {labels:?}, which its entry in the table does not allow",
            self.name()
        );
        if labels.is_empty() {
            return Key::from_static_name(self.name());
        }
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| metrics::Label::new(*name, (*value).to_owned())).collect();
        Key::from_parts(self.name(), labels)
    }
}

/// Adds to a counter. Looks the series up each time: for events, not for every frame.
pub fn count(metric: Metric, labels: &[(&'static str, &str)], by: u64) {
    metric.counter(labels).increment(by);
}

/// Sets a gauge.
pub fn set(metric: Metric, labels: &[(&'static str, &str)], value: f64) {
    metric.gauge(labels).set(value);
}

/// Adds a measurement to a histogram; time in seconds.
pub fn observe(metric: Metric, labels: &[(&'static str, &str)], value: f64) {
    metric.histogram(labels).record(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        let mut seen = std::collections::HashSet::new();
        for metric in Metric::ALL {
            let name = metric.name();
            assert!(seen.insert(name), "{name} twice");
            assert!(name.starts_with(&format!("im_{}_", metric.part().as_str())), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind() == Kind::Counter, "{name}");
            if metric.kind() == Kind::Histogram {
                assert!(name.ends_with("_seconds") || name.ends_with("_frames"), "{name} has no buckets");
            }
            assert!(metric.help().ends_with('.'), "{name}");
        }
    }
}
