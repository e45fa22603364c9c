use super::*;
use crate::doctor::finding::testing::{severity, troubles};

const WANTS: Wants = Wants { lanes: 8, stream_bytes: 1 << 30, batch_bytes: 262_144, queued_acks: 0 };

fn good() -> Nats {
    Nats {
        version: "2.15.1".to_owned(),
        auth: true,
        tls: true,
        remote: true,
        max_payload: 1 << 20,
        servers: 3,
        stream: Some(Stream {
            name: "IM_IN".to_owned(),
            storage: "file".to_owned(),
            retention: "workqueue".to_owned(),
            discard: "new".to_owned(),
            replicas: 3,
            behind: 0,
            max_bytes: 1 << 30,
            max_messages: -1,
            max_age: Duration::ZERO,
            bytes: 4096,
            lanes: Some(8),
        }),
        dead: Some(0),
        monitor: Some(Monitor { sync_always: true, sync_interval: Duration::ZERO, max_store: 1 << 34 }),
    }
}

fn with(change: impl FnOnce(&mut Stream)) -> Vec<Finding> {
    let mut nats = good();
    change(nats.stream.as_mut().unwrap());
    check(&nats, &WANTS)
}

#[test]
fn a_cluster_as_it_should_be_is_fine() {
    assert_eq!(troubles(&check(&good(), &WANTS)), []);
}

#[test]
fn a_private_server_on_this_machine_is_worth_notes_alone() {
    let mut nats = Nats { auth: false, tls: false, remote: false, servers: 1, monitor: None, ..good() };
    nats.stream.as_mut().unwrap().replicas = 1;
    let found = check(&nats, &WANTS);
    let notes = ["nats.sync_interval", "nats.auth", "nats.tls", "nats.replicas"];
    assert_eq!(troubles(&found), notes.map(|key| (key, Severity::Note)));
    let open = check(&Nats { remote: true, ..nats }, &WANTS);
    assert_eq!(severity(&open, "nats.auth"), Severity::Warning);
    assert_eq!(severity(&open, "nats.tls"), Severity::Warning);
}

#[test]
fn a_stream_that_loses_frames_is_a_danger() {
    assert_eq!(troubles(&with(|it| it.storage = "memory".to_owned())), [("nats.storage", Severity::Danger)]);
    let retention: [fn(&mut Stream); 4] = [
        |it| it.retention = "limits".to_owned(),
        |it| it.discard = "old".to_owned(),
        |it| it.max_age = Duration::from_secs(60),
        |it| it.max_messages = 1000,
    ];
    for change in retention {
        assert_eq!(troubles(&with(change)), [("nats.retention", Severity::Danger)]);
    }
    assert_eq!(troubles(&with(|it| it.lanes = Some(4))), [("nats.lanes", Severity::Danger)]);
}

#[test]
fn one_replica_on_a_cluster_and_one_that_is_behind_are_warned_of() {
    assert_eq!(troubles(&with(|it| it.replicas = 1)), [("nats.replicas", Severity::Warning)]);
    assert_eq!(troubles(&with(|it| it.behind = 1)), [("nats.replicas_behind", Severity::Warning)]);
}

#[test]
fn a_stream_is_bounded_as_configured_and_not_half_full() {
    assert_eq!(troubles(&with(|it| it.max_bytes = -1)), [("nats.max_bytes", Severity::Warning)]);
    assert_eq!(troubles(&with(|it| it.max_bytes = 1 << 29)), [("nats.max_bytes", Severity::Note)]);
    assert_eq!(troubles(&with(|it| it.bytes = 1 << 29)), [("nats.fill", Severity::Warning)]);
    let mut nats = good();
    nats.monitor.as_mut().unwrap().max_store = 1 << 29;
    assert_eq!(troubles(&check(&nats, &WANTS)), [("nats.max_store", Severity::Warning)]);
}

#[test]
fn what_the_server_itself_lacks() {
    let of = |nats: Nats| troubles(&check(&nats, &WANTS));
    assert_eq!(of(Nats { version: "2.9.25".to_owned(), ..good() }), [("nats.version", Severity::Danger)]);
    assert_eq!(of(Nats { max_payload: 262_144, ..good() }), [("nats.max_payload", Severity::Danger)]);
    assert_eq!(of(Nats { stream: None, ..good() }), [("nats.stream", Severity::Warning)]);
    assert_eq!(of(Nats { dead: Some(2), ..good() }), [("nats.dead", Severity::Warning)]);
    let slow = Monitor { sync_always: false, sync_interval: Duration::from_secs(120), max_store: 0 };
    assert_eq!(of(Nats { monitor: Some(slow), ..good() }), [("nats.sync_interval", Severity::Note)]);
}

#[test]
fn how_often_is_synced_matters_to_those_who_were_told_queued() {
    let wants = Wants { queued_acks: 3, ..WANTS };
    let of = |monitor| troubles(&check(&Nats { monitor, ..good() }, &wants));
    let monitor =
        |sync_always| Some(Monitor { sync_always, sync_interval: Duration::from_secs(120), max_store: 0 });
    assert_eq!(of(monitor(true)), []);
    assert_eq!(of(monitor(false)), [("nats.sync_interval", Severity::Warning)]);
    assert_eq!(of(None), [("nats.sync_interval", Severity::Warning)]);
}

#[test]
fn versions_are_compared_as_numbers() {
    assert!(at_least("2.10.0", (2, 10)) && at_least("2.9.1", (2, 9)) && at_least("3.0.0-beta", (2, 10)));
    assert!(!at_least("2.9.25", (2, 10)) && !at_least("", (2, 10)) && !at_least("unknown", (2, 10)));
}
