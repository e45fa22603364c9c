use super::*;
use crate::doctor::finding::testing::{severity, troubles};

fn good() -> Redis {
    Redis {
        version: "7.0.15".to_owned(),
        role: "master".to_owned(),
        policy: "volatile-ttl".to_owned(),
        max_memory: 256 << 20,
        memory: 1 << 20,
        max_clients: 10_000,
        clients: 12,
        persists: Some(false),
        auth: true,
        tls: true,
        remote: true,
    }
}

fn of(redis: Redis) -> Vec<(&'static str, Severity)> {
    troubles(&check(&redis))
}

#[test]
fn memory_alone_with_a_limit_and_a_password_is_fine() {
    assert_eq!(of(good()), []);
}

#[test]
fn routes_that_can_be_evicted_are_a_danger() {
    let policy =
        |name: &str| severity(&check(&Redis { policy: name.to_owned(), ..good() }), "redis.maxmemory_policy");
    for name in ["allkeys-lru", "allkeys-lfu", "allkeys-random", "whatever-comes"] {
        assert_eq!(policy(name), Severity::Danger, "{name}");
    }
    assert_eq!(policy("noeviction"), Severity::Warning);
    assert_eq!(policy("volatile-lru"), Severity::Note);
}

#[test]
fn what_it_lacks_is_said() {
    assert_eq!(of(Redis { role: "slave".to_owned(), ..good() }), [("redis.role", Severity::Danger)]);
    assert_eq!(of(Redis { max_memory: 0, ..good() }), [("redis.maxmemory", Severity::Warning)]);
    assert_eq!(of(Redis { memory: 220 << 20, ..good() }), [("redis.memory", Severity::Warning)]);
    assert_eq!(of(Redis { clients: 9000, ..good() }), [("redis.maxclients", Severity::Warning)]);
    assert_eq!(of(Redis { persists: Some(true), ..good() }), [("redis.persistence", Severity::Note)]);
    assert_eq!(of(Redis { persists: None, max_clients: 0, ..good() }), []);
    assert_eq!(of(Redis { version: "6.0.16".to_owned(), ..good() }), [("redis.version", Severity::Warning)]);
    assert_eq!(of(Redis { tls: false, ..good() }), [("redis.tls", Severity::Warning)]);
    assert_eq!(of(Redis { tls: false, remote: false, ..good() }), []);
    assert_eq!(of(Redis { auth: false, ..good() }), [("redis.auth", Severity::Warning)]);
    assert_eq!(of(Redis { auth: false, remote: false, ..good() }), [("redis.auth", Severity::Note)]);
}
