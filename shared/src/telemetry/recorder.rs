//! The process's one recorder, and its text for Prometheus.

use std::sync::{Mutex, OnceLock, PoisonError};

use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use super::{Kind, Metric, Part, process};

/// Bounds of `…_seconds` histograms: from half a millisecond to half a minute.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0,
];
/// Bounds of `…_frames` histograms.
const COUNTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0];

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
static INSTALLING: Mutex<()> = Mutex::new(());

/// Metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Another recorder is installed in this process.
    #[error("a metrics recorder that is not this one is installed already")]
    Taken,
    /// The buckets are not valid.
    #[error("the histogram buckets are not valid")]
    Buckets(#[from] BuildError),
}

/// Installs the recorder, describes every metric and makes the series of `part` that are known beforehand. A second
/// call, in a process that runs several parts, only adds its part's series.
///
/// # Errors
/// [`InstallError`] when something else in the process records metrics.
pub fn install(part: Part) -> Result<(), InstallError> {
    {
        let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
        if HANDLE.get().is_none() {
            let recorder = recorder()?;
            let handle = recorder.handle();
            metrics::set_global_recorder(recorder).map_err(|_| InstallError::Taken)?;
            HANDLE.get_or_init(|| handle);
        }
    }
    metrics::with_recorder(describe);
    begin(part);
    Ok(())
}

/// Everything measured, in Prometheus' text format. Without a recorder only the process's own figures. `ready`: whether
/// the process is, if that is known.
pub fn render(ready: Option<bool>) -> String {
    let mut text = HANDLE.get().map(PrometheusHandle::render).unwrap_or_default();
    process::render(&mut text, ready);
    text
}

/// Empties the histograms' sample buffers, which otherwise only a scrape does: without it they grow.
pub(super) fn upkeep() {
    if let Some(handle) = HANDLE.get() {
        handle.run_upkeep();
    }
}

fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_frames".to_owned()), COUNTS)?;
    Ok(builder.build_recorder())
}

fn describe(recorder: &dyn metrics::Recorder) {
    for metric in Metric::ALL.iter().filter(|metric| !process::renders(**metric)) {
        let (name, help) = (metric.name().into(), metric.help().into());
        match metric.kind() {
            Kind::Counter => recorder.describe_counter(name, None, help),
            Kind::Gauge => recorder.describe_gauge(name, None, help),
            Kind::Histogram => recorder.describe_histogram(name, None, help),
        }
    }
}

fn begin(part: Part) {
    for metric in Metric::ALL.iter().filter(|metric| metric.part() == part) {
        metric.register();
    }
    // Those without a collector export none, and say so.
    Metric::ProcessSpans.register();
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("part", part.as_str())];
    Metric::ProcessBuildInfo.gauge(&labels).set(1.0);
    Metric::ProcessContract.gauge(&[]).set(f64::from(crate::contract::CONTRACT));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_there_before_their_first_event_and_histograms_have_buckets() {
        let recorder = recorder().unwrap();
        let text = metrics::with_local_recorder(&recorder, || {
            describe(&recorder);
            begin(Part::Edge);
            Metric::EdgePublishSeconds.histogram(&[]).record(0.003);
            super::super::count(Metric::EdgeHttpRequests, &[("route", "/user"), ("status", "200")], 3);
            recorder.handle().render()
        });
        for line in [
            "# HELP im_edge_frames_accepted_total Entries accepted for publishing, by kind.",
            "# TYPE im_edge_frames_accepted_total counter",
            "im_edge_frames_accepted_total{kind=\"gm\"} 0",
            "im_edge_frames_refused_total{code=\"too_long\"} 0",
            "im_edge_connections 0",
            "im_edge_publish_seconds_bucket{le=\"0.004\"} 1",
            "im_edge_http_requests_total{route=\"/user\",status=\"200\"} 3",
            "im_process_build_info{version=\"0.1.0\",part=\"edge\"} 1",
        ] {
            assert!(text.contains(line), "missing: {line}\n{text}");
        }
        assert!(!text.contains("im_worker_"), "{text}");
    }

    #[test]
    #[should_panic(expected = "does not allow")]
    fn a_label_outside_the_table_is_a_mistake() {
        drop(Metric::EdgeFramesAccepted.counter(&[("kind", "mm")]));
    }
}
