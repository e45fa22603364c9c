//! Figures of the process itself, read from /proc at each scrape.

use std::fs;

use super::{Kind, Metric};

/// Kernel clock ticks a second as /proc writes them: 100 on every architecture that Linux runs this on.
const TICKS: f64 = 100.0;

/// Whether this module writes the metric, rather than the recorder (whose counters are whole numbers).
pub(super) fn renders(metric: Metric) -> bool {
    matches!(metric, Metric::ProcessResidentBytes | Metric::ProcessCpuSeconds | Metric::ProcessOpenFiles)
}

/// Appends what can be read; where there is no /proc, nothing.
pub(super) fn render(out: &mut String) {
    let figures = [
        (Metric::ProcessResidentBytes, resident_bytes()),
        (Metric::ProcessCpuSeconds, cpu_seconds()),
        (Metric::ProcessOpenFiles, fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64)),
    ];
    for (metric, value) in figures {
        let Some(value) = value else { continue };
        let (name, help) = (metric.name(), metric.help());
        let kind = if metric.kind() == Kind::Counter { "counter" } else { "gauge" };
        out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n"));
    }
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib * 1024.0)
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The command's name stands in parentheses and may hold spaces: count fields after it.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<f64>().ok()?, fields.next()?.parse::<f64>().ok()?);
    Some((user + system) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_sees_itself() {
        let mut text = String::new();
        render(&mut text);
        let value = |name: &str| -> f64 {
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
        };
        assert!(value("im_process_resident_bytes") > 100_000.0, "{text}");
        assert!(value("im_process_open_files") >= 3.0, "{text}");
        assert!(value("im_process_cpu_seconds_total") < 1000.0, "{text}");
    }
}
