//! Free TCP ports on the loopback address, and those that a data folder remembers.
//!
//! A port that was handed out once is not handed out again by this process: between choosing a port and the
//! server binding it there is a moment in which a second caller would be given the same one.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::{fs, io};

use anyhow::{Context, Result};

use crate::record::replace;

static HANDED_OUT: LazyLock<Mutex<BTreeSet<u16>>> = LazyLock::new(Mutex::default);

/// Where [`free`] starts to look. Below the range from which the kernel takes ports for outgoing connections:
/// a port from that range can be taken by any client between the choice and the bind.
const FREE_FROM: u16 = 10_240;

const FILE: &str = "ports.toml";
const STORES: [&str; 3] = ["nats", "postgres", "redis"];
/// An edge's.
const EDGE: [&str; 5] = ["tcp", "http", "metrics", "compat", "compat_http"];

/// The ports of a data folder, by name (`e1.tcp`), as they were the last time.
#[derive(Debug)]
pub struct Ports {
    file: PathBuf,
    known: BTreeMap<String, u16>,
}

impl Ports {
    /// Those of this folder's last time, if any.
    pub fn of(data: &Path) -> Self {
        let file = data.join(FILE);
        let known = fs::read_to_string(&file).ok().and_then(|text| toml::from_str(&text).ok());
        Self { file, known: known.unwrap_or_default() }
    }

    /// Free ones for a stack with at most so many edges and workers, in place of the default ones: another stack may want
    /// those while one of its processes is down.
    pub fn free(data: &Path, edges: u16, workers: u16) -> Result<Self> {
        let of_edges = (1..=edges).flat_map(|number| EDGE.map(|what| format!("e{number}.{what}")));
        let of_workers = (1..=workers).map(|number| format!("w{number}.metrics"));
        let names = STORES.map(str::to_owned).into_iter().chain(of_edges).chain(of_workers);
        let known: io::Result<_> = names.map(|name| Ok((name, free()?))).collect();
        Ok(Self { file: data.join(FILE), known: known? })
    }

    /// The port under this name, if there is one.
    pub fn of_name(&self, name: &str) -> Option<u16> {
        self.known.get(name).copied()
    }

    /// The port for this name: last time's or the default if it is free, else the next.
    pub fn give(&mut self, name: &str, default: u16) -> Result<u16> {
        let wanted = self.of_name(name).unwrap_or(default);
        let port = free_or_next(wanted).with_context(|| format!("a port for {name}"))?;
        self.known.insert(name.to_owned(), port);
        Ok(port)
    }

    /// The same as an address of this machine.
    pub fn address(&mut self, name: &str, default: u16) -> Result<String> {
        Ok(format!("127.0.0.1:{}", self.give(name, default)?))
    }

    /// Remembers them for the next time.
    pub fn keep(&self) -> Result<()> {
        let text = format!(
            "# The ports of this stack, taken again if they are free.\n{}",
            toml::to_string(&self.known)?
        );
        replace(&self.file, &text).context("writing ports.toml")
    }
}

/// `wanted` if nothing listens there, else the next higher port that is free.
pub fn free_or_next(wanted: u16) -> io::Result<u16> {
    first_free(wanted..=u16::MAX, wanted)
}

/// Any free port, from a random place on, below the ports of outgoing connections.
pub fn free() -> io::Result<u16> {
    let end = outgoing_from().max(FREE_FROM + 1_000);
    let random = RandomState::new().hash_one(std::process::id());
    let start = FREE_FROM + (random % u64::from(end - FREE_FROM)) as u16;
    first_free((start..end).chain(FREE_FROM..start), start)
}

/// Whether a server could listen on 127.0.0.1 at this port now.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn first_free(mut candidates: impl Iterator<Item = u16>, wanted: u16) -> io::Result<u16> {
    let mut handed_out = HANDED_OUT.lock().unwrap_or_else(PoisonError::into_inner);
    candidates
        .find(|port| !handed_out.contains(port) && is_free(*port))
        .inspect(|port| {
            handed_out.insert(*port);
        })
        .ok_or_else(|| {
            io::Error::new(io::ErrorKind::AddrInUse, format!("no free port on 127.0.0.1 from {wanted} on"))
        })
}

/// The lowest port the kernel gives to outgoing connections.
fn outgoing_from() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next().and_then(|low| low.parse().ok()))
        .unwrap_or(32_768)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_gives_a_higher_one() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let next = free_or_next(port).unwrap();
        assert!(next > port, "{next} is not after the taken {port}");
    }

    #[test]
    fn a_port_is_handed_out_once() {
        let ports: BTreeSet<u16> = (0..20).map(|_| free().unwrap()).collect();
        assert_eq!(ports.len(), 20);
    }
}
