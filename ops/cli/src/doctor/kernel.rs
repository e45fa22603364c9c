//! What the kernel allows: waiting connections and open files. Every process is asked for its own, since a container
//! may have other limits than its host.

use shared::telemetry::Machine;

use super::finding::{Check, Finding, Severity};

/// The backlog that an edge's listeners ask for: the kernel gives the smaller of this and its own limit.
const BACKLOG: i64 = 4096;
/// Half-open connections that a rush of clients has.
const HALF_OPEN: i64 = 1024;
/// Files that an edge has beside its clients' connections.
const OWN_FILES: i64 = 500;
/// Open files that any process of ours can do with.
const FEWEST_FILES: i64 = 1024;

const SOMAXCONN: Check = Check {
    key: "kernel.somaxconn",
    expected: "4096 or more",
    why: "when many clients come back at once, connections beyond this wait for seconds until they try again",
    remedy: "sysctl -w net.core.somaxconn=4096, and the same in /etc/sysctl.d; in a container by its own setting",
};
const SYN_BACKLOG: Check = Check {
    key: "kernel.tcp_max_syn_backlog",
    expected: "1024 or more",
    why: "connections that are half open are dropped beyond this, or go by cookies, when many clients come at once",
    remedy: "sysctl -w net.ipv4.tcp_max_syn_backlog=4096, and the same in /etc/sysctl.d",
};
const OPEN_FILES: Check = Check {
    key: "kernel.nofile",
    expected: "",
    why: "a connection is an open file: at the limit an edge can accept nobody, and a worker reaches no store",
    remedy: "LimitNOFILE= in the unit, or the container's ulimit; or lower [limits] connections to what is allowed",
};

/// What one process has.
#[derive(Clone, Debug)]
pub struct Host<'a> {
    /// The process.
    pub name: &'a str,
    /// What its kernel says.
    pub machine: &'a Machine,
    /// The clients' connections that it is to take, if it takes any.
    pub connections: Option<i64>,
}

/// Judges one process's limits; what its kernel does not say is passed over.
pub fn check(host: &Host<'_>) -> Vec<Finding> {
    let machine = host.machine;
    let mut findings = Vec::new();
    // Only who listens for many has a backlog that fills.
    if host.connections.is_some() {
        let backlogs =
            [(SOMAXCONN, BACKLOG, machine.somaxconn), (SYN_BACKLOG, HALF_OPEN, machine.syn_backlog)];
        findings.extend(backlogs.into_iter().filter_map(|(check, least, limit)| {
            Some(check.judged(limit? >= least, Severity::Warning, host.name, limit?))
        }));
    }
    findings.extend(machine.open_files.map(|files| open_files(host, files)));
    findings
}

fn open_files(host: &Host<'_>, files: i64) -> Finding {
    let needed = host.connections.map_or(FEWEST_FILES, |connections| connections + OWN_FILES);
    let severity = match files {
        _ if files >= needed => Severity::Ok,
        // Not even a small office gets in.
        _ if files < FEWEST_FILES => Severity::Danger,
        _ => Severity::Warning,
    };
    let needs = match host.connections {
        Some(connections) => format!("{needed} or more: [limits] connections = {connections} and its own"),
        None => format!("{needed} or more"),
    };
    let raised = host.machine.open_files_hard.filter(|hard| *hard >= needed && files < needed);
    let found = match raised {
        Some(hard) => format!("{files} (the hard limit of {hard} would do)"),
        None => files.to_string(),
    };
    OPEN_FILES.found(severity, host.name, found).expecting(needs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::testing::{severity, troubles};

    fn machine(open_files: i64, somaxconn: i64, syn_backlog: i64) -> Machine {
        Machine {
            host: "h".to_owned(),
            open_files: Some(open_files),
            open_files_hard: Some(65_536),
            somaxconn: Some(somaxconn),
            syn_backlog: Some(syn_backlog),
        }
    }

    #[test]
    fn an_edge_needs_a_file_for_each_connection_and_room_for_a_rush() {
        let of = |machine: &Machine, connections| check(&Host { name: "e1", machine, connections });
        assert_eq!(troubles(&of(&machine(20_000, 4096, 2048), Some(19_000))), []);
        let low = of(&machine(1023, 128, 128), Some(19_000));
        assert_eq!(
            troubles(&low),
            [
                ("kernel.somaxconn", Severity::Warning),
                ("kernel.tcp_max_syn_backlog", Severity::Warning),
                ("kernel.nofile", Severity::Danger)
            ]
        );
        let some = of(&machine(10_000, 4096, 2048), Some(19_000));
        assert_eq!(severity(&some, "kernel.nofile"), Severity::Warning);
        assert!(some.iter().any(|it| it.found == "10000 (the hard limit of 65536 would do)"), "{some:?}");
    }

    #[test]
    fn a_worker_listens_for_nobody() {
        let low = machine(4096, 1, 1);
        assert_eq!(troubles(&check(&Host { name: "w1", machine: &low, connections: None })), []);
        let silent = Machine::default();
        assert!(check(&Host { name: "w1", machine: &silent, connections: None }).is_empty());
    }
}
