//! What a process says of itself to whoever looks after it: what it runs with, since when, on what machine, and what
//! its clock shows. Never a secret.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::config::{InForce, in_force};

/// The body of `/config`, as TOML. Whoever reads it may be of another version: what is missing is empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// The version of simple-im.
    pub version: String,
    /// The process, as its own machine numbers it.
    pub pid: u32,
    /// When it began to serve, microseconds since 1970.
    pub started_us: i64,
    /// Its clock at this moment, microseconds since 1970.
    pub now_us: i64,
    /// What its machine allows it.
    pub machine: Machine,
    /// Every key of its configuration; empty where the process was not started by its command line.
    pub settings: InForce,
}

/// What the kernel allows a process; absent where there is no Linux to say it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// The machine's name.
    pub host: String,
    /// Open files that the process may have, connections included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<i64>,
    /// As far as it may raise that by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files_hard: Option<i64>,
    /// Established connections that may wait at a listener to be accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub somaxconn: Option<i64>,
    /// Connections that may be half open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syn_backlog: Option<i64>,
}

impl About {
    /// This process, which began to serve at `began`.
    pub fn this_process(began: SystemTime) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_us: micros(began),
            now_us: micros(SystemTime::now()),
            machine: Machine::of_this_process(),
            settings: in_force().cloned().unwrap_or_default(),
        }
    }
}

impl Machine {
    /// As it is for the process that asks: in a container much of this is the container's own.
    pub fn of_this_process() -> Self {
        let read = |name: &str| fs::read_to_string(name).unwrap_or_default();
        let number = |name: &str| read(name).trim().parse().ok();
        let limits = open_files(&read("/proc/self/limits"));
        Self {
            host: read("/proc/sys/kernel/hostname").trim().to_owned(),
            open_files: limits.map(|(soft, _)| soft),
            open_files_hard: limits.map(|(_, hard)| hard),
            somaxconn: number("/proc/sys/net/core/somaxconn"),
            syn_backlog: number("/proc/sys/net/ipv4/tcp_max_syn_backlog"),
        }
    }
}

/// The soft and the hard limit of open files, from the text of `/proc/PID/limits`.
pub fn open_files(limits: &str) -> Option<(i64, i64)> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut both = line
        .split_whitespace()
        .map(|word| if word == "unlimited" { Some(i64::MAX) } else { word.parse().ok() });
    Some((both.next()??, both.next()??))
}

fn micros(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_read_as_the_kernel_writes_them() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max cpu time              unlimited            unlimited            seconds   \n\
                    Max open files            1024                 unlimited            files     \n";
        assert_eq!(open_files(text), Some((1024, i64::MAX)));
        assert_eq!(open_files("Max open files\n"), None);
        assert!(Machine::of_this_process().open_files.is_some());
    }
}
