//! NATS: whether the stream keeps what it takes, and whether batches fit through.
//!
//! | module | holds |
//! |---|---|
//! | `gather` | asking the server |

mod gather;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

pub use self::gather::{Asked, gather};
use super::clock::Clock;
use super::finding::{Check, Finding, Severity};

/// What is known of the server and its streams.
#[derive(Clone, Debug, Default)]
pub struct Nats {
    /// Of the server that answered.
    pub version: String,
    /// It wants to know who connects.
    pub auth: bool,
    /// It speaks TLS alone.
    pub tls: bool,
    /// The road to it leaves this machine.
    pub remote: bool,
    /// The longest message, bytes.
    pub max_payload: i64,
    /// Servers that it names, itself included.
    pub servers: usize,
    /// The stream of accepted frames, if it has been made.
    pub stream: Option<Stream>,
    /// Frames set aside.
    pub dead: Option<i64>,
    /// What only the monitoring port tells.
    pub monitor: Option<Monitor>,
}

/// A stream as JetStream describes it.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// `file` or `memory`.
    pub storage: String,
    /// `workqueue`, `limits` or `interest`.
    pub retention: String,
    /// `new` or `old`.
    pub discard: String,
    /// How many servers keep it.
    pub replicas: i64,
    /// Of the others, those that are away or behind.
    pub behind: usize,
    /// Bytes that it may hold; no limit: -1.
    pub max_bytes: i64,
    /// Messages that it may hold; no limit: -1.
    pub max_messages: i64,
    /// After how long it forgets a message; never: 0.
    pub max_age: Duration,
    /// Bytes that it holds.
    pub bytes: i64,
    /// The lanes for which it was made.
    pub lanes: Option<i64>,
}

/// From `/varz`.
#[derive(Clone, Debug)]
pub struct Monitor {
    /// Every write is synced before it is confirmed.
    pub sync_always: bool,
    /// Else: how often.
    pub sync_interval: Duration,
    /// Bytes on disk that all streams together may take; unknown: 0.
    pub max_store: i64,
}

/// What our processes need of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wants {
    /// `[nats] lanes`.
    pub lanes: i64,
    /// `[nats] stream_bytes`.
    pub stream_bytes: i64,
    /// The longest that an edge's `[publisher] batch_bytes` lets a batch become.
    pub batch_bytes: i64,
    /// Acks `queued` that edges have given: these rest on the stream alone until their messages are committed.
    pub queued_acks: u64,
}

/// Who was heard on NATS.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Edges, by their heartbeats.
    pub nodes: BTreeSet<String>,
    /// Workers, by their answers to `who`.
    pub workers: BTreeSet<String>,
}

/// What asking gave.
#[derive(Clone, Debug)]
pub struct Told {
    /// The server and its streams.
    pub nats: Nats,
    /// Who uses it.
    pub heard: Heard,
    /// Its clock, where it shows one.
    pub clock: Option<Clock>,
}

pub(super) const UNREACHABLE: Check = Check {
    key: "nats.unreachable",
    expected: "an answer",
    why: "nothing can be said of the stream; without NATS no frame is taken and no delivery made",
    remedy: "look at the server and its log, at the address, and at the credentials given to this command",
};
const VERSION: Check = Check {
    key: "nats.version",
    expected: "2.10 or newer",
    why: "the stream's metadata, in which the lanes are kept, came with 2.10; 2.12 and newer keep streams safer",
    remedy: "upgrade nats-server",
};
const MISSING: Check = Check {
    key: "nats.stream",
    expected: "a stream that workers have made",
    why: "no worker of this prefix has ever been ready on this NATS, or JetStream's files are gone",
    remedy: "look whether [nats] prefix and url are those of the workers, and at the workers' readyz",
};
const STORAGE: Check = Check {
    key: "nats.storage",
    expected: "file",
    why: "with the server's process goes every frame that is not yet committed",
    remedy: "stop the edges, let the stream run empty, delete it; workers make it anew on file",
};
const RETENTION: Check = Check {
    key: "nats.retention",
    expected: "workqueue, discard new, no age and no number of messages",
    why: "the stream throws frames away before they are committed, or keeps those that are until it is full",
    remedy: "stop the edges, let the stream run empty, delete it; workers make it anew as it should be",
};
const REPLICAS: Check = Check {
    key: "nats.replicas",
    expected: "3 on a cluster",
    why: "with its only server's disk go the frames that are not yet committed; clients send those again, and an ack \
          `queued` is worth less",
    remedy: "nats stream edit STREAM --replicas 3 on a cluster of three; workers leave it as they find it",
};
const BEHIND: Check = Check {
    key: "nats.replicas_behind",
    expected: "none",
    why: "a replica that is away or behind protects nothing; with the majority gone the stream takes nothing",
    remedy: "look at the cluster's servers: nats stream info, nats server report jetstream",
};
const BOUND: Check = Check {
    key: "nats.max_bytes",
    expected: "",
    why: "without a limit an outage of PostgreSQL fills the disk; with another one edges stop reading at another point",
    remedy: "nats stream edit STREAM --max-bytes with what [nats] stream_bytes says, the same for all workers",
};
const FILL: Check = Check {
    key: "nats.fill",
    expected: "below 50 % of its limit",
    why: "workers do not keep up, or are away; at the limit edges stop reading and turn logins away",
    remedy: "look at the workers and at PostgreSQL; more workers help while there are more lanes than committers",
};
const ROOM: Check = Check {
    key: "nats.max_store",
    expected: "",
    why: "JetStream refuses what does not fit there before the stream's own limit is reached",
    remedy: "raise max_file_store in the jetstream block above the sum of the streams' limits, on a disk of that size",
};
const LANES: Check = Check {
    key: "nats.lanes",
    expected: "",
    why: "a conversation's lane is a hash over their number: with two numbers its order is lost, and workers whose \
          number is not the stream's do not start",
    remedy: "set [nats] lanes to the stream's number in every process",
};
const PAYLOAD: Check = Check {
    key: "nats.max_payload",
    expected: "",
    why: "a batch that is longer than the server takes is refused for ever, and its senders wait",
    remedy: "max_payload: 1048576 in the server's configuration, or a smaller [publisher] batch_bytes",
};
const DEAD: Check = Check {
    key: "nats.dead",
    expected: "0",
    why: "frames that crashed their chunk three times were set aside; their senders were told",
    remedy: "look at them on the stream of dead frames, and report what the worker's log says of them",
};
const SYNC: Check = Check {
    key: "nats.sync_interval",
    expected: "known; `always` where clients ask for acks `queued`",
    why: "a confirmed frame is on the disk only after the next sync: an ack `queued` may be lost with the power. An ack \
          `stored` never rests on it",
    remedy: "give --nats-monitor URL to see it; sync_interval: always in the jetstream block, at the price of a sync a batch",
};
const AUTH: Check = Check {
    key: "nats.auth",
    expected: "credentials",
    why: "whoever reaches the port may read every message and every password on its way to a worker, and send as anyone",
    remedy: "give the server users, and each role its own credentials; keep the port off public networks",
};
const TLS: Check = Check {
    key: "nats.tls",
    expected: "TLS on a road that leaves the machine",
    why: "messages, and passwords on their way to a worker, cross the network readable",
    remedy: "a tls block in the server's configuration and tls:// in [nats] url, or a private network",
};

/// Judges it.
pub fn check(nats: &Nats, wants: &Wants) -> Vec<Finding> {
    let mut findings = vec![
        VERSION.judged(at_least(&nats.version, (2, 10)), Severity::Danger, "nats", &nats.version),
        PAYLOAD
            // A batch is never alone: headers, and its place in the protocol's line.
            .judged(nats.max_payload >= wants.batch_bytes + 4096, Severity::Danger, "nats", nats.max_payload)
            .expecting(format!("more than [publisher] batch_bytes, which is {}", wants.batch_bytes)),
        sync(nats.monitor.as_ref(), wants.queued_acks),
        exposed(AUTH, nats.auth, nats.remote, "no credentials asked for"),
        exposed(TLS, nats.tls, nats.remote, "plain TCP"),
    ];
    match &nats.stream {
        Some(stream) => findings.extend(of_stream(stream, nats, wants)),
        None => findings.push(MISSING.found(Severity::Warning, "nats", "none")),
    }
    findings.extend(nats.dead.map(|dead| DEAD.judged(dead == 0, Severity::Warning, "nats", dead)));
    findings
}

fn of_stream(stream: &Stream, nats: &Nats, wants: &Wants) -> Vec<Finding> {
    let name = &stream.name;
    let retention = format!(
        "{}, discard {}, age {:?}, messages {}",
        stream.retention, stream.discard, stream.max_age, stream.max_messages
    );
    let keeps = stream.retention == "workqueue"
        && stream.discard == "new"
        && stream.max_age.is_zero()
        && stream.max_messages <= 0;
    let mut findings = vec![
        STORAGE.judged(stream.storage == "file", Severity::Danger, name, &stream.storage),
        RETENTION.judged(keeps, Severity::Danger, name, retention),
        replicas(stream, nats.servers),
        BEHIND.judged(stream.behind == 0, Severity::Warning, name, stream.behind),
    ];
    let wanted = format!("{}, as [nats] stream_bytes says", wants.stream_bytes);
    findings.push(if stream.max_bytes <= 0 {
        BOUND.found(Severity::Warning, name, "no limit").expecting(wanted)
    } else {
        BOUND
            .judged(stream.max_bytes == wants.stream_bytes, Severity::Note, name, stream.max_bytes)
            .expecting(wanted)
    });
    if stream.max_bytes > 0 {
        let percent = stream.bytes.saturating_mul(100) / stream.max_bytes;
        findings.push(FILL.judged(percent < 50, Severity::Warning, name, format!("{percent} %")));
        let store = nats.monitor.as_ref().map_or(0, |monitor| monitor.max_store);
        if store > 0 {
            let wanted = format!("more than the stream's own {}", stream.max_bytes);
            findings.push(
                ROOM.judged(store > stream.max_bytes, Severity::Warning, "nats", store).expecting(wanted),
            );
        }
    }
    if let Some(lanes) = stream.lanes {
        let wanted = format!("{}, as the processes have it", wants.lanes);
        findings.push(LANES.judged(lanes == wants.lanes, Severity::Danger, name, lanes).expecting(wanted));
    }
    findings
}

fn replicas(stream: &Stream, servers: usize) -> Finding {
    let severity = match (stream.replicas, servers) {
        (3.., _) => Severity::Ok,
        // There is nowhere to put more.
        (_, ..=2) => Severity::Note,
        _ => Severity::Warning,
    };
    let found = format!("{}, with {servers} known servers", stream.replicas);
    REPLICAS.found(severity, &stream.name, found)
}

/// Whether clients rely on it is seen by what they were told.
fn sync(monitor: Option<&Monitor>, queued_acks: u64) -> Finding {
    let (always, shown) = match monitor {
        None => (false, "not to be seen from a client's port".to_owned()),
        Some(monitor) if monitor.sync_always => (true, "always".to_owned()),
        Some(monitor) => (false, format!("{:?}", monitor.sync_interval)),
    };
    let severity = match (always, queued_acks) {
        (true, _) => Severity::Ok,
        (false, 0) => Severity::Note,
        (false, _) => Severity::Warning,
    };
    SYNC.found(
        severity,
        "nats",
        format!("{shown}, with {queued_acks} acks `queued` given by the edges asked"),
    )
}

fn exposed(check: Check, guarded: bool, remote: bool, otherwise: &str) -> Finding {
    match (guarded, remote) {
        (true, _) => check.found(Severity::Ok, "nats", check.expected),
        (false, true) => check.found(Severity::Warning, "nats", otherwise),
        (false, false) => check.found(Severity::Note, "nats", format!("{otherwise}, on this machine")),
    }
}

/// Whether a version such as `2.15.1` is at least this one.
pub fn at_least(version: &str, wanted: (u32, u32)) -> bool {
    let mut parts = version.split(['.', '-']).map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= wanted,
        _ => false,
    }
}
