//! A run as one JSON line.

use serde_json::{Map, Value, json};

use super::{Options, run::Measured};

/// The line. `lost` counts acked messages that were not delivered within the quiet time, `doubled` deliveries above the
/// acked ones.
pub fn line(options: &Options, measured: &Measured) -> String {
    let per_message = |micros: u64| rounded(micros as f64 / measured.acked.max(1) as f64);
    let mut cpu = Map::new();
    let mut total = 0;
    for (kind, micros) in &measured.cpu {
        cpu.insert((*kind).to_owned(), json!(per_message(*micros)));
        if *kind != "generator" {
            total += micros;
        }
    }
    cpu.insert("total".to_owned(), json!(per_message(total)));
    let quantile = |q: f64| rounded(f64::from(quantile(&measured.latencies, q)) / 1_000.0);
    let line = json!({
        "mode": options.mode.name(),
        "pairs": options.pairs,
        "seconds": rounded(measured.seconds),
        "version": env!("CARGO_PKG_VERSION"),
        "msgs_per_s": (measured.acked as f64 / measured.seconds).round(),
        "p50_ms": quantile(0.5),
        "p99_ms": quantile(0.99),
        "p999_ms": quantile(0.999),
        "cpu_us_per_msg": Value::Object(cpu),
        "acked": measured.acked_in_all,
        "delivered": measured.delivered,
        "lost": measured.acked_in_all.saturating_sub(measured.delivered),
        "doubled": measured.delivered.saturating_sub(measured.acked_in_all),
        "reordered": measured.reordered,
    });
    line.to_string()
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Of sorted values; 0 of none.
fn quantile(sorted: &[u32], q: f64) -> u32 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * q).round() as usize).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_of_a_hundred() {
        let values: Vec<u32> = (0..=100).collect();
        assert_eq!((quantile(&values, 0.5), quantile(&values, 0.99), quantile(&[], 0.5)), (50, 99, 0));
    }
}
