//! A run's latencies as SVG: second by second, and how they are distributed.
//!
//! Drawn by hand: two panels, one colour for each quantile, readable on light and on dark paper.

use std::{fmt::Write, fs};

use anyhow::{Context, Result};

use super::{
    Options,
    histogram::Histogram,
    meter::{Meter, Second},
};

const WIDTH: f64 = 1020.0;
const HEIGHT: f64 = 380.0;
/// The panels' upper edge and height, the first one's left edge and width, the second one's.
const TOP: f64 = 64.0;
const TALL: f64 = 250.0;
const LEFT: (f64, f64) = (70.0, 410.0);
const RIGHT: (f64, f64) = (570.0, 430.0);
/// Bars to a tenfold of the distribution.
const FINE: f64 = 20.0;

const STYLE: &str = "
  .paper { fill: #ffffff }
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 15px; font-weight: 600 }
  .grid { stroke: #24292f; stroke-opacity: .15 }
  .axis { stroke: #24292f; stroke-opacity: .6; fill: none }
  .warm { fill: #24292f; fill-opacity: .07 }
  .p50 { stroke: #1a7f37; fill: none; stroke-width: 2 }
  .p99 { stroke: #bc4c00; fill: none; stroke-width: 2 }
  .p999 { stroke: #8250df; fill: none; stroke-width: 2 }
  .bar { fill: #0969da; fill-opacity: .65 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117 }
    text { fill: #e6edf3 }
    .grid, .axis { stroke: #e6edf3 }
    .warm { fill: #e6edf3 }
    .p50 { stroke: #3fb950 } .p99 { stroke: #f0883e } .p999 { stroke: #bc8cff }
    .bar { fill: #58a6ff }
  }
";

/// What is drawn.
#[derive(Debug)]
pub struct Plot<'a> {
    title: &'a str,
    seconds: &'a [Second],
    all: &'a Histogram,
}

impl<'a> Plot<'a> {
    /// A run's acks.
    pub fn of(meter: &'a Meter, title: &'a str) -> Self {
        Self { title, seconds: &meter.seconds, all: &meter.acked }
    }

    /// Into the file that was asked for, if one was.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn draw(&self, options: &Options) -> Result<()> {
        let Some(path) = &options.plot else { return Ok(()) };
        fs::write(path, self.svg()).with_context(|| format!("writing {}", path.display()))
    }

    fn svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
             <title>{0}: how long messages took over time, and all of them</title>\n<style>{STYLE}</style>\n",
            self.title
        );
        put(&mut svg, format_args!("<rect class=\"paper\" width=\"100%\" height=\"100%\"/>"));
        text(&mut svg, LEFT.0, 24.0, "start", "title", &format!("{}: from due to stored", self.title));
        self.over_time(&mut svg);
        self.distribution(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn over_time(&self, svg: &mut String) {
        let (left, wide) = LEFT;
        let most = self.seconds.iter().map(|second| second.p99).fold(0.0, f64::max).max(0.01);
        let (step, end) = (nice(most / 5.0), self.seconds.last().map_or(1.0, |second| second.at).max(1.0));
        let most = (most / step).ceil() * step;
        let x = |at: f64| left + wide * at / end;
        let y = |ms: f64| TOP + TALL - TALL * ms / most;
        // What is not measured stands on grey.
        for (at, second) in self.seconds.iter().enumerate().filter(|(_, second)| !second.counts) {
            let from = x(at.checked_sub(1).map_or(0.0, |before| self.seconds[before].at));
            let width = x(second.at) - from;
            put(
                svg,
                format_args!(
                    "<rect class=\"warm\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{TALL}\"/>"
                ),
            );
        }
        for tick in 0..=(most / step).round() as usize {
            let ms = tick as f64 * step;
            across(svg, LEFT, y(ms), &number(ms));
        }
        let seconds = nice(end / 6.0).max(1.0);
        for tick in 0..=(end / seconds) as usize {
            let at = tick as f64 * seconds;
            text(svg, x(at), TOP + TALL + 18.0, "middle", "", &number(at));
        }
        for (class, value) in [("p50", Second::p50 as fn(&Second) -> f64), ("p99", Second::p99)] {
            let seconds = self.seconds.iter().filter(|second| second.acked > 0.0);
            let points: Vec<String> =
                seconds.map(|second| format!("{:.1},{:.1}", x(second.at), y(value(second)))).collect();
            put(svg, format_args!("<polyline class=\"{class}\" points=\"{}\"/>", points.join(" ")));
        }
        frame(svg, LEFT);
        text(
            svg,
            left + wide / 2.0,
            TOP + TALL + 40.0,
            "middle",
            "",
            "seconds since the beginning; grey: not measured",
        );
        text(svg, left, TOP - 12.0, "start", "", "milliseconds, each second's");
        legend(svg, left + 190.0, TOP - 16.0, &[("p50", "median"), ("p99", "99 %")]);
    }

    fn distribution(&self, svg: &mut String) {
        let (left, wide) = RIGHT;
        let filled: Vec<_> = self.all.filled().collect();
        // Below a hundredth of a millisecond nothing is told apart.
        let decade = |ms: f64| ms.max(0.01).log10();
        let low = filled.first().map_or(-1.0, |bucket| round(bucket.0, false));
        let high = filled.last().map_or(1.0, |bucket| round(bucket.1, true)).max(low + 0.3);
        let mut bars = vec![0; ((high - low) * FINE) as usize + 1];
        for (from, to, count) in filled {
            let at = (decade((from + to) / 2.0) - low) * FINE;
            let last = bars.len() - 1;
            bars[(at as usize).min(last)] += count;
        }
        let share = |count: u64| count as f64 * 100.0 / self.all.count().max(1) as f64;
        let most = bars.iter().copied().map(share).fold(0.0, f64::max).max(1.0);
        let step = nice(most / 5.0);
        let most = (most / step).ceil() * step;
        let x = |log: f64| left + wide * (log - low) / (high - low);
        let y = |percent: f64| TOP + TALL - TALL * percent / most;
        for tick in 0..=(most / step).round() as usize {
            let percent = tick as f64 * step;
            across(svg, RIGHT, y(percent), &number(percent));
        }
        for tick in
            (low.floor() as i32..=high.ceil() as i32).flat_map(|power| ROUND.map(|ms| ms * 10f64.powi(power)))
        {
            if (low - 0.001..=high + 0.001).contains(&decade(tick)) {
                text(svg, x(decade(tick)), TOP + TALL + 18.0, "middle", "", &number(tick));
            }
        }
        for (at, count) in bars.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            let (from, to) = (x(low + at as f64 / FINE), x(low + (at + 1) as f64 / FINE).min(left + wide));
            let (top, width) = (y(share(count)), (to - from - 1.0).max(0.5));
            let height = TOP + TALL - top;
            put(
                svg,
                format_args!(
                    "<rect class=\"bar\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
                ),
            );
        }
        for (class, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
            let at = x(decade(self.all.ms(quantile)).clamp(low, high));
            put(
                svg,
                format_args!(
                    "<line class=\"{class}\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{}\"/>",
                    TOP + TALL
                ),
            );
        }
        frame(svg, RIGHT);
        text(svg, left + wide / 2.0, TOP + TALL + 40.0, "middle", "", "milliseconds, logarithmic");
        text(svg, left - 8.0, TOP - 12.0, "end", "", "% of all");
        let names = [0.5, 0.99, 0.999].map(|quantile| number(self.all.ms(quantile)) + " ms");
        let entries = [("p50", "median "), ("p99", "99 % "), ("p999", "99.9 % ")];
        let named: Vec<(&str, String)> = entries
            .iter()
            .zip(names)
            .map(|((class, name), value)| (*class, format!("{name}{value}")))
            .collect();
        let named: Vec<(&str, &str)> = named.iter().map(|(class, name)| (*class, name.as_str())).collect();
        legend(svg, left, TOP - 16.0, &named);
    }
}

impl Second {
    fn p50(&self) -> f64 {
        self.p50
    }

    fn p99(&self) -> f64 {
        self.p99
    }
}

fn put(svg: &mut String, what: std::fmt::Arguments<'_>) {
    // Into a string nothing can fail.
    writeln!(svg, "{what}").ok();
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, class: &str, what: &str) {
    put(
        svg,
        format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{what}</text>"
        ),
    );
}

fn across(svg: &mut String, (left, wide): (f64, f64), y: f64, label: &str) {
    put(
        svg,
        format_args!(
            "<line class=\"grid\" x1=\"{left}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
            left + wide
        ),
    );
    text(svg, left - 8.0, y + 4.0, "end", "", label);
}

fn frame(svg: &mut String, (left, wide): (f64, f64)) {
    let (right, bottom) = (left + wide, TOP + TALL);
    put(svg, format_args!("<path class=\"axis\" d=\"M{left} {TOP}V{bottom}H{right}\"/>"));
}

fn legend(svg: &mut String, mut x: f64, y: f64, entries: &[(&str, &str)]) {
    for (class, name) in entries {
        put(
            svg,
            format_args!(
                "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"{y}\" y2=\"{y}\"/>",
                x + 18.0
            ),
        );
        text(svg, x + 23.0, y + 4.0, "start", "", name);
        x += 40.0 + name.chars().count() as f64 * 7.2;
    }
}

/// What an axis of powers names.
const ROUND: [f64; 3] = [1.0, 2.0, 5.0];

/// The power of ten of the next such one, up or down.
fn round(ms: f64, up: bool) -> f64 {
    let power = ms.max(0.01).log10().floor();
    let steps = [1.0, 2.0, 5.0, 10.0].map(|times| times * 10f64.powf(power));
    let found = if up {
        steps.into_iter().find(|step| *step >= ms)
    } else {
        steps.into_iter().rev().find(|step| *step <= ms)
    };
    found.unwrap_or(steps[0]).log10()
}

/// 1, 2 or 5 times a power of ten, at least this much.
fn nice(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1e-6).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|times| times * power)
        .into_iter()
        .find(|step| *step >= least)
        .unwrap_or(power * 10.0)
}

/// With as many digits as say something.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_panels_are_drawn_of_anything() {
        let mut meter = Meter::new(false);
        let empty = Plot::of(&meter, "nothing").svg();
        assert!(empty.starts_with("<svg") && empty.ends_with("</svg>\n") && !empty.contains("NaN"));
        for micros in [900, 1_500, 40_000] {
            meter.acked.add(micros);
        }
        for (at, counts) in [(1.0, false), (2.0, true)] {
            meter.seconds.push(Second { at, counts, acked: 9.0, shown: 9.0, p50: 1.5, p99: 40.0 });
        }
        let drawn = Plot::of(&meter, "latency").svg();
        assert_eq!(drawn.matches("class=\"bar\"").count(), 3);
        assert_eq!(drawn.matches("class=\"warm\"").count(), 1);
        assert!(drawn.contains("99 % 40") && !drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
    }

    #[test]
    fn steps_are_nice() {
        for (least, step) in [(0.03, 0.05), (1.0, 1.0), (1.1, 2.0), (37.0, 50.0), (60.0, 100.0)] {
            assert!((nice(least) - step).abs() < 1e-9, "{least}: {}", nice(least));
        }
        assert_eq!([0.0, 0.01, 1.5, 20.0, 250.0].map(number), ["0", "0.01", "1.5", "20", "250"]);
    }
}
