//! Dashboards, rules, their tests and their runbooks name only what there is, and leave nothing out.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use shared::telemetry::{Kind, Metric};

/// Labels that Prometheus adds, and those of its own series.
const ADDED: [&str; 5] = ["job", "instance", "le", "alertname", "alertstate"];

fn ops() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = ops().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(dir: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(ops().join(dir)).expect(dir).map(|entry| entry.expect(dir).path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|it| it == extension)).collect();
    files.sort();
    assert!(!files.is_empty(), "expected files *.{extension} in {dir}");
    files
}

/// A series' name to its metric; a histogram has three for it.
fn metric(series: &str) -> Option<Metric> {
    let named = |name: &str| Metric::ALL.iter().copied().find(|metric| metric.name() == name);
    named(series).filter(|metric| metric.kind() != Kind::Histogram).or_else(|| {
        let name = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| series.strip_suffix(suffix))?;
        named(name).filter(|metric| metric.kind() == Kind::Histogram)
    })
}

fn is_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'
}

/// Every series of ours and every recorded one in a text, each with its matchers, if it has any.
fn series(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("im") {
        let rest = &text[at..];
        let begins = rest.starts_with("im_") || rest.starts_with("im:");
        if !begins || text[..at].chars().next_back().is_some_and(|before| is_name(before) || before == '.') {
            continue;
        }
        let end = rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
        let matchers = rest[end..].strip_prefix('{').and_then(|rest| rest.split_once('}'));
        found.push((&rest[..end], matchers.map_or("", |(matchers, _)| matchers)));
    }
    found
}

/// What is wrong with the series of an expression.
fn faults(expression: &str, recorded: &HashSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, matchers) in series(expression) {
        if name.starts_with("im:") {
            if !recorded.contains(name) {
                faults.push(format!("{name} is recorded by no rule"));
            }
            continue;
        }
        let Some(metric) = metric(name) else {
            faults.push(format!("{name} is no series of any metric"));
            continue;
        };
        for matcher in matchers.split(',').map(str::trim).filter(|matcher| !matcher.is_empty()) {
            faults.extend(fault(metric, matcher));
        }
    }
    for by in expression.split(" by (").skip(1).filter_map(|rest| rest.split_once(')')) {
        for label in by.0.split(',').map(str::trim) {
            let known =
                ADDED.contains(&label) || Metric::ALL.iter().any(|metric| metric.values(label).is_some());
            if !known {
                faults.push(format!("by ({label}): no metric has this label"));
            }
        }
    }
    faults
}

/// What is wrong with one matcher: `result=~"timeout|unreachable"`.
fn fault(metric: Metric, matcher: &str) -> Option<String> {
    let (label, value) = matcher.split_once(['=', '!']).expect("a matcher has an operator");
    let (regex, value) = (value.contains('~'), value.trim_start_matches(['=', '~']).trim_matches('"'));
    if ["job", "instance", "le"].contains(&label) {
        return None;
    }
    let Some(values) = metric.values(label) else {
        return Some(format!("{} has no label {label}", metric.name()));
    };
    let asked = if regex { value.split('|').collect() } else { vec![value] };
    let strange = asked.into_iter().find(|asked| !values.is_empty() && !values.contains(asked))?;
    Some(format!("{}: {label} is never {strange:?}", metric.name()))
}

fn rules() -> Vec<String> {
    let text = read("prometheus/rules.yml");
    text.split("\n      - ").skip(1).map(str::to_owned).collect()
}

fn value<'a>(rule: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = rule.split_once(&format!("{key}: "))?;
    Some(rest.lines().next().unwrap_or_default().trim())
}

fn recorded() -> HashSet<String> {
    rules()
        .iter()
        .filter(|rule| rule.starts_with("record: "))
        .filter_map(|rule| value(rule, "record").map(str::to_owned))
        .collect()
}

fn alerts() -> Vec<(String, String)> {
    let alerts = rules().into_iter().filter(|rule| rule.starts_with("alert: "));
    alerts.filter_map(|rule| Some((value(&rule, "alert")?.to_owned(), rule))).collect()
}

#[test]
fn dashboards_are_whole_and_show_every_metric_there_is() {
    let (recorded, mut uids, mut wrong) = (recorded(), HashSet::new(), Vec::new());
    let mut shown = HashSet::new();
    for file in files("grafana/dashboards", "json") {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let board: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let uid = board["uid"].as_str().unwrap_or_default();
        assert_eq!(uid, format!("simple-im-{name}"));
        assert!(uids.insert(uid.to_owned()), "{uid} twice");
        let variables = board["templating"]["list"].as_array().unwrap();
        assert!(
            variables.iter().any(|it| it["name"] == "datasource" && it["type"] == "datasource"),
            "{name}"
        );
        let mut ids = HashSet::new();
        for panel in board["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            let mut complain = |what: String| wrong.push(format!("{name}: {title}: {what}"));
            if !ids.insert(panel["id"].as_u64().unwrap()) {
                complain("its id is another's too".to_owned());
            }
            if panel["type"] == "row" {
                continue;
            }
            for (what, text) in
                [("unit", &panel["fieldConfig"]["defaults"]["unit"]), ("description", &panel["description"])]
            {
                if text.as_str().is_none_or(str::is_empty) {
                    complain(format!("no {what}"));
                }
            }
            let targets = panel["targets"].as_array().unwrap();
            if targets.is_empty() {
                complain("no query".to_owned());
            }
            let mut legends = HashSet::new();
            for target in targets {
                let expression = target["expr"].as_str().unwrap();
                faults(expression, &recorded).into_iter().for_each(&mut complain);
                if target["datasource"]["uid"] != "${datasource}" {
                    complain("another data source than the board's".to_owned());
                }
                let legend = target["legendFormat"].as_str().unwrap_or_default();
                if legend.is_empty() || !legends.insert(legend) {
                    complain(format!("legend {legend:?}"));
                }
                shown.extend(series(expression).into_iter().filter_map(|(name, _)| metric(name)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let hidden: Vec<_> = Metric::ALL.iter().filter(|it| !shown.contains(*it)).map(|it| it.name()).collect();
    assert!(hidden.is_empty(), "on no dashboard: {hidden:?}");
}

#[test]
fn rules_name_what_there_is_and_each_alarm_is_explained_tested_and_tried() {
    let (recorded, runbooks, trial) =
        (recorded(), read("docs/OPERATIONS.md"), read("prometheus/trial/faults.py"));
    let tests: String =
        files("prometheus/tests", "yml").iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let mut wrong = Vec::new();
    for rule in rules() {
        let expression = rule.split_once("expr:").unwrap().1;
        let expression =
            expression.split("\n        for:").next().unwrap().split("\n        labels:").next().unwrap();
        wrong.extend(faults(expression, &recorded));
    }
    let alerts = alerts();
    assert!(alerts.len() > 40, "expected the alarms to be found, found {}", alerts.len());
    for (name, rule) in &alerts {
        let mut need = |there: bool, what: &str| {
            if !there {
                wrong.push(format!("{name}: {what}"));
            }
        };
        let severity = value(rule, "severity").unwrap_or_default().trim_end_matches('}');
        need(["page", "warn", "info", "none"].contains(&severity), "no severity");
        need(value(rule, "summary").is_some(), "no summary");
        let runbook = format!("ops/docs/OPERATIONS.md#{}", name.to_lowercase());
        need(value(rule, "runbook") == Some(&runbook), "its runbook annotation leads elsewhere");
        need(runbooks.contains(&format!("\n### {name}\n")), "no runbook in ops/docs/OPERATIONS.md");
        need(tests.contains(&format!("alertname: {name}\n")), "no case in ops/prometheus/tests");
        need(trial.contains(&format!("\"{name}\"")), "no fault in ops/prometheus/trial");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let names: BTreeSet<&str> = alerts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), alerts.len(), "an alarm's name is used twice");
    for heading in runbooks.lines().filter_map(|line| line.strip_prefix("### Im")) {
        if heading.starts_with(|letter: char| letter.is_lowercase()) {
            continue;
        }
        assert!(names.contains(format!("Im{heading}").as_str()), "a runbook for no alarm: Im{heading}");
    }
}

#[test]
fn metrics_named_in_the_documents_are_there() {
    let recorded = recorded();
    for file in files("docs", "md") {
        let text = fs::read_to_string(&file).unwrap();
        // `im:` alone is text.
        for (name, matchers) in series(&text).into_iter().filter(|(name, _)| *name != "im:") {
            let whole = Metric::ALL.iter().any(|metric| metric.name() == name);
            let ours =
                ["im_edge_", "im_worker_", "im_process_", "im:"].iter().any(|part| name.starts_with(part));
            if ours && !whole {
                let wrong = faults(&format!("{name}{{{matchers}}}"), &recorded);
                assert!(wrong.is_empty(), "{}: {wrong:?}", file.display());
            }
        }
    }
}

#[test]
fn what_is_not_there_is_found() {
    let recorded = HashSet::from(["im:settled".to_owned()]);
    for (expression, fault) in [
        ("sum(im_edge_conections)", "im_edge_conections is no series"),
        ("rate(im_edge_ack_seconds[1m])", "im_edge_ack_seconds is no series"),
        ("im_edge_logins_total{result=\"okay\"}", "result is never \"okay\""),
        ("im_edge_logins_total{reason=~\"ok\"}", "has no label reason"),
        ("im_edge_logins_total{result=~\"ok|timeuot\"}", "result is never \"timeuot\""),
        ("im:unsettled", "recorded by no rule"),
        ("sum by (colour) (im_edge_sessions)", "no metric has this label"),
    ] {
        let found = faults(expression, &recorded).join("; ");
        assert!(found.contains(fault), "{expression}: {found:?}");
    }
    let right =
        "sum by (le, kind) (rate(im_edge_ack_seconds_bucket{le=\"1\",kind!=\"r\"}[1m])) and im:settled";
    assert_eq!(faults(right, &recorded), Vec::<String>::new());
}
