//! Settings of one process that are wrong by themselves, or against the others of its own.

use super::{Part, Process};
use crate::doctor::finding::{Check, Finding, Severity};

/// The defaults' memory of a password digest; what is less is for tests.
const ARGON2_KIB: i64 = 19_456;
const ADVERTISE: Check = Check {
    key: "edge.advertise",
    expected: "an address that clients can reach",
    why: "a login tells clients to connect to 0.0.0.0: none of them gets in",
    remedy: "[edge] advertise = host:port of the balancer, or of this edge as clients see it",
};
const PROXIES: Check = Check {
    key: "edge.trusted_proxies",
    expected: "the balancers' own addresses",
    why: "whoever connects is believed about its address, and goes round the limits on failed logins",
    remedy: "name the balancers, not everybody",
};
const METRICS: Check = Check {
    key: "process.metrics",
    expected: "an address that the public does not reach",
    why: "figures, settings and readiness are for whoever runs the system alone",
    remedy: "listen on a private address, or let only the monitoring reach the port",
};
const CLIENTS_TLS: Check = Check {
    key: "edge.tls",
    expected: "a certificate, or a proxy with one in front",
    why: "whoever is between a client and this node reads and alters what goes by, tokens and passwords included",
    remedy: "[tls] certificate and key; where a proxy or balancer has them, let it alone reach this port",
};
const PASSWORDS: Check = Check {
    key: "worker.argon2",
    expected: "19456 KiB and 2 passes, or more",
    why: "whoever gets the table of users tries passwords as fast as the digests are light",
    remedy: "the defaults of [account] argon2_kib and argon2_passes; new passwords are digested by them",
};
const LEASE: Check = Check {
    key: "edge.lease",
    expected: "",
    why: "workers pass a node by that is silent for [worker] node_dead_ms; an edge that believes longer in itself does \
          not read what it has missed",
    remedy: "keep [node] lease_ms of the edges below [worker] node_dead_ms",
};

/// Judges what one process alone says.
pub fn check(process: &Process) -> Vec<Finding> {
    let name = &process.name;
    let mut findings = Vec::new();
    let metrics = process.text("edge.metrics").or_else(|| process.text("worker.metrics"));
    findings.extend(metrics.map(|address| METRICS.judged(!is_any(address), Severity::Note, name, address)));
    if process.part == Some(Part::Edge) {
        if let (Some(advertise), Some(listen)) = (process.text("edge.advertise"), process.text("edge.listen"))
        {
            let told = if advertise.is_empty() { listen } else { advertise };
            findings.push(ADVERTISE.judged(!is_any(told), Severity::Warning, name, told));
        }
        if let (Some(certificate), Some(listen)) =
            (process.text("tls.certificate"), process.text("edge.listen"))
        {
            let found = if certificate.is_empty() { "none" } else { certificate };
            let guarded = !certificate.is_empty() || is_loopback(listen);
            findings.push(CLIENTS_TLS.judged(guarded, Severity::Note, name, found));
        }
        findings.extend(process.text("edge.trusted_proxies").map(|proxies| {
            let all = proxies.split(',').any(|it| it.trim().ends_with("/0"));
            PROXIES.judged(!all, Severity::Warning, name, if proxies.is_empty() { "none" } else { proxies })
        }));
    }
    if let (Some(kib), Some(passes)) =
        (process.number("account.argon2_kib"), process.number("account.argon2_passes"))
    {
        let found = format!("{kib} KiB and {passes} passes");
        // What matters is memory times passes; more of one makes up for less of the other.
        let enough = kib.saturating_mul(passes) >= ARGON2_KIB * 2;
        findings.push(PASSWORDS.judged(enough, Severity::Warning, name, found));
    }
    findings
}

/// Judges edges against workers.
pub fn lease(processes: &[Process]) -> Vec<Finding> {
    let dead = processes.iter().filter_map(|it| it.number("worker.node_dead_ms")).min();
    let Some(dead) = dead else { return Vec::new() };
    let leases = processes.iter().filter_map(|it| Some((it, it.number("node.lease_ms")?)));
    leases
        .map(|(edge, lease)| {
            let wanted = format!("below the workers' {dead} ms");
            LEASE.judged(lease < dead, Severity::Danger, &edge.name, format!("{lease} ms")).expecting(wanted)
        })
        .collect()
}

/// Whether an address leads to this machine alone.
fn is_loopback(address: &str) -> bool {
    address.starts_with("127.") || address.starts_with("[::1]:") || address.starts_with("localhost:")
}

/// Whether an address means every one of the machine's.
fn is_any(address: &str) -> bool {
    address.starts_with("0.0.0.0:") || address.starts_with("[::]:")
}
