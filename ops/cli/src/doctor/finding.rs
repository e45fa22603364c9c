//! What was found, how bad it is, why, and what to do about it.

use std::fmt::Display;

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing needs to be done.
    Note,
    /// Will hurt some day, or hurts already.
    Warning,
    /// Unsafe: something that was promised can be lost, or anyone can read it.
    Danger,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Names the check, `postgres.fsync`; stays the same over versions.
    pub key: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it was found at: `postgres`, `w1`.
    pub subject: String,
    /// What is there.
    pub found: String,
    /// What should be.
    pub expected: String,
    /// What it leads to.
    pub why: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// Something could not be looked at, so this report is not the whole story.
    pub unreachable: bool,
}

/// What a check always says, whatever it finds.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name.
    pub key: &'static str,
    /// What should be found.
    pub expected: &'static str,
    /// What it leads to if not.
    pub why: &'static str,
    /// What to do then.
    pub remedy: &'static str,
}

impl Check {
    /// It found this at `subject`.
    pub fn found(self, severity: Severity, subject: impl Display, found: impl Display) -> Finding {
        Finding {
            key: self.key,
            severity,
            subject: subject.to_string(),
            found: found.to_string(),
            expected: self.expected.to_owned(),
            why: self.why,
            remedy: self.remedy,
            unreachable: false,
        }
    }

    /// It found this at `subject`: fine if `good`, else as bad as `otherwise`.
    pub fn judged(
        self,
        good: bool,
        otherwise: Severity,
        subject: impl Display,
        found: impl Display,
    ) -> Finding {
        self.found(if good { Severity::Ok } else { otherwise }, subject, found)
    }

    /// It could not look.
    pub fn unreachable(self, subject: impl Display, reason: impl Display) -> Finding {
        Finding { unreachable: true, ..self.found(Severity::Warning, subject, reason) }
    }
}

impl Finding {
    /// With what was expected in this case.
    pub fn expecting(self, expected: impl Into<String>) -> Self {
        Self { expected: expected.into(), ..self }
    }
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version that looked.
    pub version: &'static str,
    /// The worst first.
    pub findings: Vec<Finding>,
    /// How many of each.
    pub counts: Counts,
    /// The command's exit code.
    pub exit: u8,
}

/// How many findings there are of each severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// As they should be.
    pub ok: usize,
    /// Worth knowing.
    pub note: usize,
    /// Will hurt.
    pub warning: usize,
    /// Unsafe.
    pub danger: usize,
    /// Of these: could not be looked at.
    pub unreachable: usize,
}

impl Report {
    /// Sorts and counts them.
    pub fn of(mut findings: Vec<Finding>) -> Self {
        findings.sort_by(|a, b| (b.severity, a.key, &a.subject).cmp(&(a.severity, b.key, &b.subject)));
        let count = |severity| findings.iter().filter(|it| it.severity == severity).count();
        let counts = Counts {
            ok: count(Severity::Ok),
            note: count(Severity::Note),
            warning: count(Severity::Warning),
            danger: count(Severity::Danger),
            unreachable: findings.iter().filter(|it| it.unreachable).count(),
        };
        let exit = match counts {
            Counts { unreachable: 1.., .. } => 3,
            Counts { danger: 1.., .. } => 2,
            Counts { warning: 1.., .. } => 1,
            _ => 0,
        };
        Self { version: env!("CARGO_PKG_VERSION"), findings, counts, exit }
    }
}

/// For the other modules' tests.
#[cfg(test)]
pub mod testing {
    use super::{Finding, Severity};

    /// The severity of the one finding of this key.
    pub fn severity(findings: &[Finding], key: &str) -> Severity {
        let of: Vec<&Finding> = findings.iter().filter(|it| it.key == key).collect();
        assert_eq!(of.len(), 1, "{key}: expected one finding, found {of:?}");
        of[0].severity
    }

    /// Keys and severities of all that is not ok, in the order in which they were found.
    pub fn troubles(findings: &[Finding]) -> Vec<(&'static str, Severity)> {
        findings.iter().filter(|it| it.severity > Severity::Ok).map(|it| (it.key, it.severity)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: Check = Check { key: "a.b", expected: "on", why: "it hurts", remedy: "turn it on" };

    #[test]
    fn the_exit_code_follows_the_worst_and_blindness_is_the_worst() {
        let of = |severity| CHECK.found(severity, "a", "off");
        let exit = |findings: Vec<Finding>| Report::of(findings).exit;
        assert_eq!(exit(vec![]), 0);
        assert_eq!(exit(vec![of(Severity::Ok), of(Severity::Note)]), 0);
        assert_eq!(exit(vec![of(Severity::Note), of(Severity::Warning)]), 1);
        assert_eq!(exit(vec![of(Severity::Danger), of(Severity::Warning)]), 2);
        assert_eq!(exit(vec![of(Severity::Danger), CHECK.unreachable("a", "refused")]), 3);
    }

    #[test]
    fn the_worst_comes_first_and_each_is_counted() {
        let report = Report::of(vec![
            CHECK.judged(true, Severity::Danger, "x", "on"),
            CHECK.judged(false, Severity::Danger, "y", "off"),
            CHECK.unreachable("z", "refused"),
        ]);
        let subjects: Vec<&str> = report.findings.iter().map(|it| it.subject.as_str()).collect();
        assert_eq!(subjects, ["y", "z", "x"]);
        assert_eq!(report.counts, Counts { ok: 1, note: 0, warning: 1, danger: 1, unreachable: 1 });
    }
}
