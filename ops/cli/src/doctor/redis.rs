//! Redis: whether a route can be evicted, and whether it takes what is written.
//!
//! | module | holds |
//! |---|---|
//! | `gather` | asking the server |

mod gather;
#[cfg(test)]
mod tests;

pub use self::gather::gather;
use super::finding::{Check, Finding, Severity};
use super::nats::at_least;

/// What is known of the server.
#[derive(Clone, Debug, Default)]
pub struct Redis {
    /// Its version.
    pub version: String,
    /// `master` or `slave`.
    pub role: String,
    /// What it evicts when it is full.
    pub policy: String,
    /// Bytes that it may use; no limit: 0.
    pub max_memory: i64,
    /// Bytes that it uses.
    pub memory: i64,
    /// Connections that it may have; unknown: 0.
    pub max_clients: i64,
    /// Connections that it has.
    pub clients: i64,
    /// Something is written to disk: the rules of `save`, or an append-only file.
    pub persists: Option<bool>,
    /// It wants a password.
    pub auth: bool,
    /// The road to it is encrypted.
    pub tls: bool,
    /// The road to it leaves this machine.
    pub remote: bool,
}

pub(super) const UNREACHABLE: Check = Check {
    key: "redis.unreachable",
    expected: "an answer",
    why: "nothing can be said of it; without Redis every delivery goes to every edge, and each token is looked up in \
          PostgreSQL",
    remedy: "look at the server and its log, at the address, and at the password given to this command",
};
const EVICTION: Check = Check {
    key: "redis.maxmemory_policy",
    expected: "volatile-ttl",
    why: "with allkeys-* a full Redis evicts routes, and users who are online look offline until their node says \
          otherwise; with noeviction it refuses all writes and counts as away",
    remedy: "maxmemory-policy volatile-ttl: only what expires anyway goes, what ends soonest first",
};
const BOUND: Check = Check {
    key: "redis.maxmemory",
    expected: "a limit below the machine's memory",
    why: "without a limit Redis grows until the kernel ends it, or something else",
    remedy: "maxmemory 256mb, or what 1,000 bytes a session and the cached bodies need",
};
const FILL: Check = Check {
    key: "redis.memory",
    expected: "below 80 % of its limit",
    why: "when it is full, cached bodies and tokens go first; when nothing is left that may go, it counts as away",
    remedy: "raise maxmemory; or keep fewer bodies: [redis] offline_days, [group] cache_offline_below",
};
const ROLE: Check = Check {
    key: "redis.role",
    expected: "master",
    why: "a replica refuses writes: it counts as away, and every delivery goes to every edge",
    remedy: "point [redis] url at the primary",
};
const PERSISTENCE: Check = Check {
    key: "redis.persistence",
    expected: "off",
    why: "everything here can be made again from PostgreSQL and the edges; writing it to disk costs, and an old image \
          that comes back has to be thrown away",
    remedy: "save \"\" and appendonly no",
};
const CLIENTS: Check = Check {
    key: "redis.maxclients",
    expected: "below 80 % of its limit",
    why: "workers that come later get no connection",
    remedy: "raise maxclients, and the open files of Redis's process",
};
const VERSION: Check = Check {
    key: "redis.version",
    expected: "6.2 or newer",
    why: "what is older is not tested, and no longer maintained",
    remedy: "upgrade Redis",
};
const AUTH: Check = Check {
    key: "redis.auth",
    expected: "a password",
    why: "whoever reaches the port can redirect deliveries, forge verified tokens and read cached messages",
    remedy: "requirepass or ACLs, the password in [redis] url; and keep the port off public networks",
};

const TLS: Check = Check {
    key: "redis.tls",
    expected: "TLS on a road that leaves the machine",
    why: "its password and cached messages cross the network readable",
    remedy: "tls-port at the server, rediss:// in [redis] url and its ca; or a private network",
};

/// Judges it.
pub fn check(redis: &Redis) -> Vec<Finding> {
    let at = "redis";
    let percent = |part: i64, whole: i64| part.saturating_mul(100) / whole.max(1);
    let mut findings = vec![
        EVICTION.found(evicts(&redis.policy), at, &redis.policy),
        ROLE.judged(redis.role == "master", Severity::Danger, at, &redis.role),
        VERSION.judged(at_least(&redis.version, (6, 2)), Severity::Warning, at, &redis.version),
    ];
    if redis.max_memory > 0 {
        let filled = percent(redis.memory, redis.max_memory);
        findings.push(BOUND.found(Severity::Ok, at, redis.max_memory));
        findings.push(FILL.judged(filled < 80, Severity::Warning, at, format!("{filled} %")));
    } else {
        findings.push(BOUND.found(Severity::Warning, at, "no limit"));
    }
    if redis.max_clients > 0 {
        let filled = percent(redis.clients, redis.max_clients);
        let found = format!("{filled} % of {}", redis.max_clients);
        findings.push(CLIENTS.judged(filled < 80, Severity::Warning, at, found));
    }
    findings.extend(
        redis.persists.map(|on| PERSISTENCE.judged(!on, Severity::Note, at, if on { "on" } else { "off" })),
    );
    findings.push(match (redis.auth, redis.remote) {
        (true, _) => AUTH.found(Severity::Ok, at, "a password"),
        (false, true) => AUTH.found(Severity::Warning, at, "none asked for"),
        (false, false) => AUTH.found(Severity::Note, at, "none asked for, on this machine"),
    });
    findings.push(match (redis.tls, redis.remote) {
        (true, _) => TLS.found(Severity::Ok, at, TLS.expected),
        (false, true) => TLS.found(Severity::Warning, at, "plain TCP"),
        (false, false) => TLS.found(Severity::Ok, at, "plain, on this machine"),
    });
    findings
}

fn evicts(policy: &str) -> Severity {
    match policy {
        "volatile-ttl" => Severity::Ok,
        // They evict nothing that has no expiry, but a token as soon as a counter.
        "volatile-lru" | "volatile-lfu" | "volatile-random" => Severity::Note,
        "noeviction" => Severity::Warning,
        _ => Severity::Danger,
    }
}
