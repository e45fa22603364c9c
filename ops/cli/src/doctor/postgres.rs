//! PostgreSQL: whether committed means committed, whether a session is a session, and whether there are enough.
//!
//! | module | holds |
//! |---|---|
//! | `gather` | asking the server |
//! | `road` | whether something between deals its sessions out anew |

mod gather;
mod road;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use self::gather::gather;
pub use self::road::Road;
use super::clock::Clock;
use super::finding::{Check, Finding, Severity};

/// What is known of the server.
#[derive(Clone, Debug, Default)]
pub struct Postgres {
    /// Settings as a session of ours has them.
    pub settings: BTreeMap<String, String>,
    /// It follows another server, and takes no writes.
    pub in_recovery: bool,
    /// The role may do anything.
    pub superuser: bool,
    /// Connections that the role may have; no limit: -1.
    pub role_limit: i64,
    /// This connection is encrypted.
    pub tls: bool,
    /// The road to it leaves this machine.
    pub remote: bool,
    /// Clients' sessions that are none of ours.
    pub others: i64,
    /// Standbys that receive what is written; unknown where the role may not see them.
    pub standbys: Option<i64>,
    /// The newest migration applied; none: the schema is not there.
    pub migration: Option<i64>,
}

/// What our processes need of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Sessions of all workers together: pools and committers.
    pub sessions: i64,
    /// Of the largest worker: a roll may have one more for a while.
    pub largest: i64,
    /// The newest migration that this command knows.
    pub migration: i64,
}

/// What asking gave.
#[derive(Clone, Debug)]
pub struct Told {
    /// The server.
    pub postgres: Postgres,
    /// The way to it.
    pub road: Road,
    /// Its clock.
    pub clock: Option<Clock>,
}

pub(super) const UNREACHABLE: Check = Check {
    key: "postgres.unreachable",
    expected: "an answer",
    why: "nothing can be said of the database; without it nothing is stored and nobody logs in",
    remedy: "look at the server and its log, at the address, and at the password given to this command",
};
const FSYNC: Check = Check {
    key: "postgres.fsync",
    expected: "on",
    why: "after a power loss the database may be beyond repair, and with it every message acked as `stored`",
    remedy: "fsync = on, then restart PostgreSQL and write everything out once (sync) before relying on it",
};
const FULL_PAGES: Check = Check {
    key: "postgres.full_page_writes",
    expected: "on",
    why: "a page that was half written at a power loss cannot be repaired",
    remedy: "full_page_writes = on, unless the file system itself never tears a page",
};
const COMMIT: Check = Check {
    key: "postgres.synchronous_commit",
    expected: "on",
    why: "`stored` is said before the commit is on the disk: a crash of PostgreSQL loses messages that were acked",
    remedy: "synchronous_commit = on for the server, and for the workers' role and database (ALTER ROLE … RESET)",
};
const STANDBY: Check = Check {
    key: "postgres.standby",
    expected: "a synchronous standby, or a backup that is good enough",
    why: "what was acked as `stored` goes with the only disk that has it; an asynchronous standby lacks the newest",
    remedy: "synchronous_standby_names with a standby in another place; and a backup that was once restored",
};
const READ_ONLY: Check = Check {
    key: "postgres.read_only",
    expected: "a primary that takes writes",
    why: "no frame can be committed here: acks wait until it takes writes",
    remedy: "point [postgres] url at the primary; default_transaction_read_only = off",
};
const ISOLATION: Check = Check {
    key: "postgres.isolation",
    expected: "read committed",
    why: "workers count on seeing what was committed while they waited for a lock; stricter, their chunks fail and \
          are tried again",
    remedy: "default_transaction_isolation = 'read committed' for the workers' role",
};
const ROAD: Check = Check {
    key: "postgres.proxy",
    expected: "a session that stays one session",
    why: "a lane's owner holds its lock on the session that inserts: where a proxy hands each transaction to another \
          session, two workers own one lane, and a worker that hangs can still commit",
    remedy: "connect workers to PostgreSQL itself, or through the proxy's session mode",
};
const CONNECTIONS: Check = Check {
    key: "postgres.max_connections",
    expected: "",
    why: "whoever comes too late gets no session: lanes without an owner, calls that fail",
    remedy: "raise max_connections (and restart PostgreSQL), or lower [postgres] pool or the number of workers",
};
const ROLE_LIMIT: Check = Check {
    key: "postgres.role_limit",
    expected: "",
    why: "the role may have fewer sessions than its workers open",
    remedy: "ALTER ROLE … CONNECTION LIMIT",
};
const IDLE: Check = Check {
    key: "postgres.idle_session_timeout",
    expected: "0",
    why: "the pool's sessions end whenever nobody calls for a while, and the next call fails; a committer sets its own",
    remedy: "idle_session_timeout = 0 for the workers' role",
};
const CHECKSUMS: Check = Check {
    key: "postgres.data_checksums",
    expected: "on",
    why: "a disk that gives back other bytes than it took is not noticed until somebody reads nonsense",
    remedy: "pg_checksums --enable while PostgreSQL is stopped; initdb --data-checksums for a new one",
};
const VACUUM: Check = Check {
    key: "postgres.autovacuum",
    expected: "on",
    why: "tables and their plans get slower until PostgreSQL stops taking writes",
    remedy: "autovacuum = on and track_counts = on",
};
const VERSION: Check = Check {
    key: "postgres.version",
    expected: "15 or newer",
    why: "idle_session_timeout, which cuts a hung lane owner, came with 14; what is older than 15 is not tested",
    remedy: "upgrade PostgreSQL",
};
const SUPERUSER: Check = Check {
    key: "postgres.superuser",
    expected: "a role that owns its database and no more",
    why: "whoever gets hold of a worker gets the whole server, and its machine",
    remedy: "a role of its own for the workers: CREATE ROLE … LOGIN, owner of the database",
};
const TLS: Check = Check {
    key: "postgres.tls",
    expected: "TLS on a road that leaves the machine",
    why: "messages cross the network readable",
    remedy: "ssl = on at the server, and sslmode in [postgres] url; or a private network",
};
const MIGRATION: Check = Check {
    key: "postgres.migration",
    expected: "",
    why: "workers of a newer version wait to migrate it; those of an older one do not start on a newer schema",
    remedy: "simple-im migrate of the newest version that is to run",
};

/// Judges it.
pub fn check(postgres: &Postgres, road: &Road, wants: &Wants) -> Vec<Finding> {
    let at = "postgres";
    if matches!(road, Road::Refused(_)) {
        // Nothing else is known.
        return vec![Finding { unreachable: true, ..road.judged(ROAD) }];
    }
    let set = |name: &str| postgres.settings.get(name).map_or("unknown", String::as_str);
    let on = |check: Check, name, otherwise| check.judged(set(name) == "on", otherwise, at, set(name));
    let read_only = postgres.in_recovery || set("default_transaction_read_only") == "on";
    let writes = if read_only { "it takes no writes" } else { "it takes writes" };
    let isolation = set("default_transaction_isolation");
    let vacuum = set("autovacuum") == "on" && set("track_counts") == "on";
    let mut findings = vec![
        on(FSYNC, "fsync", Severity::Danger),
        on(FULL_PAGES, "full_page_writes", Severity::Danger),
        commit(set("synchronous_commit"), set("synchronous_standby_names")),
        standby(postgres, set("synchronous_standby_names")),
        READ_ONLY.judged(!read_only, Severity::Danger, at, writes),
        ISOLATION.judged(isolation == "read committed", Severity::Warning, at, isolation),
        road.judged(ROAD),
        connections(postgres, wants),
        IDLE.judged(
            ["0", "unknown"].contains(&set("idle_session_timeout")),
            Severity::Warning,
            at,
            set("idle_session_timeout"),
        ),
        on(CHECKSUMS, "data_checksums", Severity::Note),
        VACUUM.judged(vacuum, Severity::Warning, at, if vacuum { "on" } else { "off" }),
        version(set("server_version_num"), set("server_version")),
        SUPERUSER.judged(
            !postgres.superuser,
            Severity::Warning,
            at,
            if postgres.superuser { "a superuser" } else { "no superuser" },
        ),
        migration(postgres.migration, wants.migration),
    ];
    findings.push(match (postgres.tls, postgres.remote) {
        (true, _) => TLS.found(Severity::Ok, at, "TLS"),
        (false, true) => TLS.found(Severity::Warning, at, "plain TCP"),
        (false, false) => TLS.found(Severity::Ok, at, "plain, on this machine"),
    });
    if postgres.role_limit >= 0 {
        let enough = postgres.role_limit >= wants.sessions;
        let wanted = format!("{} or more, or no limit", wants.sessions);
        findings.push(ROLE_LIMIT.judged(enough, Severity::Danger, at, postgres.role_limit).expecting(wanted));
    }
    findings
}

/// Without a synchronous standby all levels but `off` mean this server's disk.
fn commit(level: &str, standbys: &str) -> Finding {
    let severity = match level {
        "on" | "remote_apply" => Severity::Ok,
        "local" | "remote_write" if standbys.is_empty() => Severity::Ok,
        "local" | "remote_write" => Severity::Note,
        _ => Severity::Danger,
    };
    COMMIT.found(severity, "postgres", level)
}

fn standby(postgres: &Postgres, names: &str) -> Finding {
    let found = match (names, postgres.standbys) {
        ("", None) => "no synchronous one".to_owned(),
        ("", Some(some)) => format!("no synchronous one ({some} standbys connected)"),
        (names, Some(0)) => {
            // Every commit waits for one that is not there.
            return STANDBY.found(Severity::Warning, "postgres", format!("{names:?} named, none connected"));
        }
        (names, _) => return STANDBY.found(Severity::Ok, "postgres", format!("{names:?}")),
    };
    STANDBY.found(Severity::Note, "postgres", found)
}

fn connections(postgres: &Postgres, wants: &Wants) -> Finding {
    let number = |name: &str| postgres.settings.get(name).and_then(|text| text.parse::<i64>().ok());
    let reserved = number("superuser_reserved_connections").unwrap_or(3)
        + number("reserved_connections").unwrap_or_default();
    let Some(most) = number("max_connections") else {
        return CONNECTIONS.found(Severity::Note, "postgres", "unknown");
    };
    let free = most - reserved - postgres.others;
    let severity = match free {
        _ if free < wants.sessions => Severity::Danger,
        _ if free < wants.sessions + wants.largest => Severity::Warning,
        _ => Severity::Ok,
    };
    let found = format!("{most}, of which {reserved} are reserved and {} used by others", postgres.others);
    let wanted =
        format!("room for the workers' {} and {} more while one is replaced", wants.sessions, wants.largest);
    CONNECTIONS.found(severity, "postgres", found).expecting(wanted)
}

fn version(number: &str, name: &str) -> Finding {
    let severity = match number.parse::<i64>().unwrap_or_default() / 10_000 {
        15.. => Severity::Ok,
        14 => Severity::Warning,
        _ => Severity::Danger,
    };
    VERSION.found(severity, "postgres", name)
}

fn migration(found: Option<i64>, known: i64) -> Finding {
    let wanted = format!("{known}, the newest that this command knows");
    match found {
        None => MIGRATION.found(Severity::Warning, "postgres", "no schema of ours"),
        Some(found) => MIGRATION.judged(found == known, Severity::Warning, "postgres", found),
    }
    .expecting(wanted)
}
