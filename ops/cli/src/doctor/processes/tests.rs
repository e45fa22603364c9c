use shared::config::{InForce, Setting};

use super::*;
use crate::doctor::finding::testing::{severity, troubles};

fn process(name: &str, part: Part, settings: &[(&str, Value)]) -> Process {
    let setting =
        |value: &Value| Setting { value: value.clone(), from: "the default".to_owned(), secret: None };
    let settings: InForce = settings.iter().map(|(key, value)| ((*key).to_owned(), setting(value))).collect();
    let about = About { version: env!("CARGO_PKG_VERSION").to_owned(), settings, ..About::default() };
    Process { name: name.to_owned(), part: Some(part), unready: None, about: Some(about), queued_acks: 0 }
}

fn edge(name: &str) -> Process {
    let settings = [
        ("edge.name", name.into()),
        ("edge.listen", "10.0.0.1:1987".into()),
        ("edge.advertise", "".into()),
        ("edge.trusted_proxies", "10.0.0.7".into()),
        ("edge.metrics", "127.0.0.1:9187".into()),
        ("tls.certificate", "/etc/simple-im/edge.crt".into()),
        ("nats.lanes", 8.into()),
        ("node.lease_ms", 2000.into()),
        ("log.filter", "info".into()),
    ];
    process(name, Part::Edge, &settings)
}

fn worker(name: &str) -> Process {
    let settings = [
        ("worker.name", name.into()),
        ("worker.metrics", "127.0.0.1:9287".into()),
        ("worker.committers", 2.into()),
        ("worker.chunk_frames", 1000.into()),
        ("worker.node_dead_ms", 3000.into()),
        ("nats.lanes", 8.into()),
        ("account.argon2_kib", 19_456.into()),
        ("account.argon2_passes", 2.into()),
    ];
    process(name, Part::Worker, &settings)
}

fn all() -> Vec<Process> {
    vec![edge("e1"), edge("e2"), worker("w1"), worker("w2")]
}

fn heard(nodes: &[&str], workers: &[&str]) -> Heard {
    let set = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
    Heard { nodes: set(nodes), workers: set(workers) }
}

/// What is found when one setting of the process at this place is another.
fn with(place: usize, key: &str, value: impl Into<Value>) -> Vec<Finding> {
    let mut processes = all();
    let settings = &mut processes[place].about.as_mut().unwrap().settings;
    settings.get_mut(key).unwrap().value = value.into();
    check(&processes, None)
}

#[test]
fn two_of_each_that_agree_are_fine() {
    let everybody = heard(&["e1-0a", "e2-0b"], &["w1-0c", "w2-0d"]);
    assert_eq!(troubles(&check(&all(), Some(&everybody))), []);
    let one = check(&[edge("e1"), worker("w1")], None);
    assert_eq!(troubles(&one), [("process.edges", Severity::Note), ("process.workers", Severity::Note)]);
}

#[test]
fn what_differs_is_named_with_who_has_what() {
    let found = with(3, "worker.chunk_frames", 500);
    assert_eq!(troubles(&found), [("settings.differ", Severity::Warning)]);
    let found = found.iter().find(|it| it.key == "settings.differ").unwrap();
    assert_eq!(
        (found.subject.as_str(), found.found.as_str()),
        ("worker.chunk_frames", "1000 (w1) and 500 (w2)")
    );

    let found = with(0, "nats.lanes", 4);
    assert_eq!(troubles(&found), [("settings.vital", Severity::Danger)]);
    assert!(found.iter().any(|it| it.found == "4 (e1) and 8 (e2, w1, w2)"), "{found:?}");
    assert_eq!(troubles(&with(0, "log.filter", "debug")), [("settings.vary", Severity::Note)]);
    assert_eq!(troubles(&with(0, "edge.listen", "10.0.0.2:1987")), []);
}

#[test]
fn what_is_wrong_by_itself() {
    assert_eq!(troubles(&with(0, "edge.listen", "0.0.0.0:1987")), [("edge.advertise", Severity::Warning)]);
    assert_eq!(severity(&with(0, "edge.trusted_proxies", "0.0.0.0/0"), "settings.differ"), Severity::Warning);
    assert!(
        troubles(&with(0, "edge.trusted_proxies", "::/0"))
            .contains(&("edge.trusted_proxies", Severity::Warning))
    );
    assert!(
        troubles(&with(2, "worker.metrics", "0.0.0.0:9287")).contains(&("process.metrics", Severity::Note))
    );
    assert!(troubles(&with(2, "account.argon2_kib", 8)).contains(&("worker.argon2", Severity::Warning)));
    // The edge believes in itself for longer than the second worker does.
    let late = with(3, "worker.node_dead_ms", 2000);
    assert_eq!(late.iter().filter(|it| (it.key, it.severity) == ("edge.lease", Severity::Danger)).count(), 2);
    assert_eq!(
        troubles(&with(2, "worker.committers", 7)).first(),
        Some(&("settings.differ", Severity::Warning))
    );
    assert!(troubles(&with(2, "worker.committers", 7)).contains(&("process.committers", Severity::Note)));
}

#[test]
fn who_is_not_ready_silent_older_or_unseen_is_said() {
    let mut processes = all();
    processes[0].unready = Some("broker: not yet".to_owned());
    processes[2].about = None;
    processes[3].about.as_mut().unwrap().version = "0.0.9".to_owned();
    let strangers = heard(&["e1-0a", "e1-0b", "e2-0c"], &["w1-0d", "w2-0e", "w3-0f"]);
    let found = check(&processes, Some(&strangers));
    assert_eq!(
        troubles(&found),
        [
            ("process.ready", Severity::Warning),
            ("process.settings", Severity::Warning),
            ("process.version", Severity::Warning),
            ("process.unseen", Severity::Warning)
        ]
    );
    let unseen = found.iter().find(|it| it.key == "process.unseen").unwrap();
    assert_eq!(unseen.found, "2 heard and not asked: e1, w3");
}

#[test]
fn a_public_port_without_tls_is_said_and_a_private_one_is_not() {
    for (certificate, listen, expected) in [
        ("/etc/simple-im/edge.crt", "0.0.0.0:1987", Severity::Ok),
        ("", "127.0.0.1:1987", Severity::Ok),
        ("", "10.0.0.1:1987", Severity::Note),
    ] {
        let settings = [("tls.certificate", certificate.into()), ("edge.listen", listen.into())];
        let found = own::check(&process("e1", Part::Edge, &settings));
        assert_eq!(severity(&found, "edge.tls"), expected, "{certificate} {listen}");
    }
}

#[test]
fn each_part_has_its_own_user_at_the_broker() {
    let mut processes = all();
    for (process, url) in processes.iter_mut().zip(["edge-e1", "edge-e2", "worker:***", "worker:***"]) {
        let setting = Setting {
            value: format!("nats://{url}@nats:4222").into(),
            from: "the default".to_owned(),
            secret: None,
        };
        process.about.as_mut().unwrap().settings.insert("nats.url".to_owned(), setting);
    }
    assert!(!troubles(&check(&processes, None)).iter().any(|(key, _)| key.starts_with("settings.")));
    let other = &mut processes[3].about.as_mut().unwrap().settings;
    other.get_mut("nats.url").unwrap().value = "nats://worker:***@other:4222".into();
    assert!(troubles(&check(&processes, None)).contains(&("settings.vary", Severity::Note)));
}
