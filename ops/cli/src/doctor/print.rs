//! The report for people, and for programs.

use super::finding::{Finding, Report, Severity};

/// How wide a line may be.
const WIDTH: usize = 110;

/// One object, indented.
///
/// # Errors
/// None that is known: there is nothing in a report that JSON cannot say.
pub fn json(report: &Report) -> serde_json::Result<String> {
    serde_json::to_string_pretty(report).map(|text| text + "\n")
}

/// A paragraph a finding, the worst first; what is as it should be only with `all`, a line each.
pub fn text(report: &Report, all: bool) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        match finding.severity {
            Severity::Ok if all => {
                let line = format!("ok       {} ({}): {}", finding.key, finding.subject, finding.found);
                out.push_str(&wrapped(&line, 9));
            }
            Severity::Ok => {}
            _ => out.push_str(&paragraph(finding)),
        }
    }
    let counts = report.counts;
    let blind = match counts.unreachable {
        0 => String::new(),
        some => format!("; {some} of these could not be looked at"),
    };
    out.push_str(&format!(
        "dangers: {}, warnings: {}, notes: {}, as it should be: {}{blind}\n",
        counts.danger, counts.warning, counts.note, counts.ok
    ));
    out
}

fn paragraph(finding: &Finding) -> String {
    let name = match finding.severity {
        Severity::Ok => "ok",
        Severity::Note => "note",
        Severity::Warning => "WARNING",
        Severity::Danger => "DANGER",
    };
    let Finding { key, subject, found, expected, why, remedy, .. } = finding;
    let head = format!("{name:<8} {key} ({subject}): found {found}; expected {expected}");
    let mut out = wrapped(&head, 9);
    out.push_str(&wrapped(&format!("         why:    {why}"), 17));
    out.push_str(&wrapped(&format!("         remedy: {remedy}"), 17));
    out.push('\n');
    out
}

/// The line, cut at spaces into lines of [`WIDTH`]; those after the first begin with `indent` spaces.
fn wrapped(line: &str, indent: usize) -> String {
    let mut out = String::new();
    let mut width = 0;
    for (place, word) in line.split(' ').enumerate() {
        let length = word.chars().count();
        if place > 0 && width + 1 + length > WIDTH && width > indent {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            width = indent;
        } else if place > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Check;

    const CHECK: Check = Check {
        key: "postgres.fsync",
        expected: "on",
        why: "what was acked as stored is lost with the power, or the whole database",
        remedy: "fsync = on in postgresql.conf",
    };

    #[test]
    fn people_read_what_is_wrong_and_why_and_what_to_do() {
        let report = Report::of(vec![
            CHECK.found(Severity::Ok, "postgres", "on"),
            CHECK.found(Severity::Danger, "postgres", "off"),
        ]);
        let expected = "DANGER   postgres.fsync (postgres): found off; expected on\n         \
                        why:    what was acked as stored is lost with the power, or the whole database\n         \
                        remedy: fsync = on in postgresql.conf\n\n\
                        dangers: 1, warnings: 0, notes: 0, as it should be: 1\n";
        assert_eq!(text(&report, false), expected);
        assert!(text(&report, true).contains("ok       postgres.fsync (postgres): on\n"));
    }

    #[test]
    fn programs_read_one_object() {
        let report = Report::of(vec![CHECK.unreachable("postgres", "connection refused")]);
        let value: serde_json::Value = serde_json::from_str(&json(&report).unwrap()).unwrap();
        assert_eq!(value["exit"], 3);
        assert_eq!(value["counts"]["unreachable"], 1);
        assert_eq!(value["findings"][0]["severity"], "warning");
        assert_eq!(value["findings"][0]["key"], "postgres.fsync");
    }

    #[test]
    fn long_lines_are_cut_at_spaces() {
        let text = wrapped(&format!("{} end", "word ".repeat(40).trim()), 4);
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("    word")), "{text}");
        assert_eq!(text.split_whitespace().count(), 41);
    }
}
