//! Figures of the process itself, read from /proc at each scrape.

use std::{fs, sync::OnceLock};

use super::{Kind, Metric};

/// Kernel clock ticks a second as /proc writes them: 100 on every architecture that Linux runs this on.
const TICKS: f64 = 100.0;

/// Whether this module writes the metric, rather than the recorder (whose counters are whole numbers).
pub(super) fn renders(metric: Metric) -> bool {
    use Metric::{
        ProcessCpuSeconds, ProcessOpenFiles, ProcessOpenFilesLimit, ProcessReady, ProcessResidentBytes,
        ProcessStartSeconds,
    };
    let ours = [ProcessCpuSeconds, ProcessOpenFiles, ProcessOpenFilesLimit, ProcessReady];
    ours.contains(&metric) || matches!(metric, ProcessResidentBytes | ProcessStartSeconds)
}

/// Appends what can be read; where there is no /proc, only whether it is `ready`, where that is known.
pub(super) fn render(out: &mut String, ready: Option<bool>) {
    let figures = [
        (Metric::ProcessResidentBytes, resident_bytes()),
        (Metric::ProcessCpuSeconds, cpu_seconds()),
        (Metric::ProcessOpenFiles, fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64)),
        (Metric::ProcessOpenFilesLimit, open_files_limit()),
        (Metric::ProcessStartSeconds, start_seconds()),
        (Metric::ProcessReady, ready.map(|ready| f64::from(u8::from(ready)))),
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

/// The soft limit; infinite where there is none.
fn open_files_limit() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let soft = line.split_ascii_whitespace().next()?;
    soft.parse().ok().or_else(|| (soft == "unlimited").then_some(f64::INFINITY))
}

/// Read once: what the kernel says of the boot's time moves with the clock, and a start must not.
fn start_seconds() -> Option<f64> {
    static START: OnceLock<Option<f64>> = OnceLock::new();
    *START.get_or_init(read_start_seconds)
}

fn read_start_seconds() -> Option<f64> {
    let since_boot = stat_fields(19)?.first()? / TICKS;
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + since_boot)
}

/// The two numbers of /proc/self/stat from this one on, counted behind the command's name.
fn stat_fields(from: usize) -> Option<[f64; 2]> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name stands in parentheses and may hold spaces.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(from);
    Some([fields.next()?.parse().ok()?, fields.next()?.parse().ok()?])
}

fn cpu_seconds() -> Option<f64> {
    let [user, system] = stat_fields(11)?;
    Some((user + system) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_sees_itself() {
        let mut text = String::new();
        render(&mut text, Some(true));
        let value = |name: &str| -> f64 {
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
        };
        assert!(value("im_process_resident_bytes") > 100_000.0, "{text}");
        assert!(value("im_process_open_files") >= 3.0, "{text}");
        assert!(value("im_process_cpu_seconds_total") < 1000.0, "{text}");
        assert!(value("im_process_open_files_limit") >= value("im_process_open_files"), "{text}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - value("im_process_start_seconds")).abs() < 3600.0, "{text}");
        assert_eq!(value("im_process_ready"), 1.0, "{text}");
    }
}
