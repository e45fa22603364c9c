use super::*;
use crate::doctor::finding::testing::{severity, troubles};

const WANTS: Wants = Wants { sessions: 20, largest: 10, migration: 5 };

fn good() -> Postgres {
    let settings = [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("synchronous_standby_names", "b"),
        ("default_transaction_read_only", "off"),
        ("default_transaction_isolation", "read committed"),
        ("max_connections", "100"),
        ("superuser_reserved_connections", "3"),
        ("idle_session_timeout", "0"),
        ("data_checksums", "on"),
        ("autovacuum", "on"),
        ("track_counts", "on"),
        ("server_version", "15.8"),
        ("server_version_num", "150008"),
    ];
    Postgres {
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        in_recovery: false,
        superuser: false,
        role_limit: -1,
        tls: true,
        remote: true,
        others: 2,
        standbys: Some(1),
        migration: Some(5),
    }
}

fn road() -> Road {
    Road::Tried { pids: vec![7, 7], lock_kept: true, setting_kept: true }
}

fn with(settings: &[(&str, &str)]) -> Vec<(&'static str, Severity)> {
    let mut postgres = good();
    for (name, value) in settings {
        postgres.settings.insert((*name).to_owned(), (*value).to_owned());
    }
    troubles(&check(&postgres, &road(), &WANTS))
}

fn of(postgres: Postgres) -> Vec<(&'static str, Severity)> {
    troubles(&check(&postgres, &road(), &WANTS))
}

#[test]
fn a_primary_with_a_synchronous_standby_is_fine() {
    assert_eq!(of(good()), []);
}

#[test]
fn what_breaks_the_promise_is_a_danger() {
    for (setting, key) in [
        ("fsync", "postgres.fsync"),
        ("full_page_writes", "postgres.full_page_writes"),
        ("synchronous_commit", "postgres.synchronous_commit"),
    ] {
        assert_eq!(with(&[(setting, "off")]), [(key, Severity::Danger)]);
    }
    assert_eq!(with(&[("default_transaction_read_only", "on")]), [("postgres.read_only", Severity::Danger)]);
    assert_eq!(of(Postgres { in_recovery: true, ..good() }), [("postgres.read_only", Severity::Danger)]);
}

#[test]
fn a_weaker_level_is_worth_a_note_only_where_there_is_a_standby() {
    assert_eq!(with(&[("synchronous_commit", "local")]), [("postgres.synchronous_commit", Severity::Note)]);
    let alone = [("synchronous_commit", "local"), ("synchronous_standby_names", "")];
    assert_eq!(with(&alone), [("postgres.standby", Severity::Note)]);
    assert_eq!(of(Postgres { standbys: Some(0), ..good() }), [("postgres.standby", Severity::Warning)]);
}

#[test]
fn a_session_that_is_not_one_is_a_danger() {
    let roads = [
        Road::Tried { pids: vec![7, 8], lock_kept: false, setting_kept: false },
        Road::Tried { pids: vec![7, 7], lock_kept: false, setting_kept: true },
        Road::Tried { pids: vec![7, 7], lock_kept: true, setting_kept: false },
        Road::Stuck,
        Road::Refused("unsupported startup parameter: options".to_owned()),
    ];
    for road in roads {
        let found = check(&good(), &road, &WANTS);
        assert_eq!(troubles(&found), [("postgres.proxy", Severity::Danger)], "{road:?}");
    }
}

#[test]
fn connections_are_counted_against_the_workers() {
    let of_most = |most: &str| {
        let mut postgres = good();
        postgres.settings.insert("max_connections".to_owned(), most.to_owned());
        severity(&check(&postgres, &road(), &WANTS), "postgres.max_connections")
    };
    // 3 reserved and 2 used by others; 20 wanted, and 10 more during a roll.
    assert_eq!(
        [of_most("35"), of_most("34"), of_most("25"), of_most("24")],
        [Severity::Ok, Severity::Warning, Severity::Warning, Severity::Danger]
    );
    assert_eq!(of(Postgres { role_limit: 19, ..good() }), [("postgres.role_limit", Severity::Danger)]);
    assert_eq!(of(Postgres { role_limit: 20, ..good() }), []);
}

#[test]
fn what_will_hurt_is_warned_of() {
    for (setting, value, key, severity) in [
        ("idle_session_timeout", "60000", "postgres.idle_session_timeout", Severity::Warning),
        ("default_transaction_isolation", "serializable", "postgres.isolation", Severity::Warning),
        ("track_counts", "off", "postgres.autovacuum", Severity::Warning),
        ("data_checksums", "off", "postgres.data_checksums", Severity::Note),
        ("server_version_num", "140012", "postgres.version", Severity::Warning),
        ("server_version_num", "130004", "postgres.version", Severity::Danger),
    ] {
        assert_eq!(with(&[(setting, value)]), [(key, severity)]);
    }
    assert_eq!(of(Postgres { superuser: true, ..good() }), [("postgres.superuser", Severity::Warning)]);
    assert_eq!(of(Postgres { tls: false, ..good() }), [("postgres.tls", Severity::Warning)]);
    assert_eq!(of(Postgres { tls: false, remote: false, ..good() }), []);
    assert_eq!(of(Postgres { migration: Some(6), ..good() }), [("postgres.migration", Severity::Warning)]);
    assert_eq!(of(Postgres { migration: None, ..good() }), [("postgres.migration", Severity::Warning)]);
}
