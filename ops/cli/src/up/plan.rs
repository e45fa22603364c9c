//! Which processes there are to be, at which ports: those of the last time where they are free, else the default
//! ones or the next.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use shared::config::{Args, ConfigErrors};
use shared::subject::{Subjects, permissions::Role};
use workers::config::{DEFAULT, RULES, WorkerConfig};

use super::spec::{Program, Spec};
use crate::record::{Addresses, Kind};
use crate::stack::authority::Pair;
use crate::stack::ports::Ports;
use crate::stack::servers::{Nats, Postgres, Redis, Store};

/// The stores of a stack.
#[derive(Clone, Debug)]
pub struct Stores {
    /// The broker.
    pub nats: Store,
    /// The database.
    pub postgres: Store,
    /// The fast memory.
    pub redis: Store,
}

/// Prepares the stores: folders, configuration, passwords, and the database's cluster where there is none. The broker
/// knows each of so many edges by a user of its own.
pub async fn stores(data: &Path, ports: &mut Ports, edges: u16) -> Result<Stores> {
    let names: Vec<String> = (1..=edges).map(|number| format!("e{number}")).collect();
    let mut roles = vec![Role::Admin, Role::Worker, Role::Edge(None)];
    roles.extend(names.iter().map(|name| Role::Edge(Some(name))));
    let subjects = Subjects::new(&prefix(data)?);
    let nats = Nats::prepare_for(&data.join("nats"), ports.give("nats", 4222)?, &subjects, &roles)?;
    let redis = Redis::prepare(&data.join("redis"), ports.give("redis", 6379)?)?;
    let postgres = Postgres::prepare(&data.join("postgres"), ports.give("postgres", 5432)?).await?;
    Ok(Stores { nats, postgres, redis })
}

/// What every subject begins with: the workers' own file may say so.
fn prefix(data: &Path) -> Result<String> {
    let config = Args { config: own_config(data, "worker"), ..Args::default() };
    let config: Result<_, ConfigErrors> = config.load::<WorkerConfig>(DEFAULT, RULES);
    Ok(config.context("the workers' configuration")?.config.nats.prefix)
}

/// How a process reaches a store: nothing of it is secret.
fn access(store: &Store, role: Role<'_>) -> impl Iterator<Item = (&'static str, String)> {
    let (url, password) = match store {
        Store::Nats(_) => ("IM_NATS__URL", "IM_NATS__PASSWORD_FILE"),
        Store::Postgres(_) => ("IM_POSTGRES__URL", "IM_POSTGRES__PASSWORD_FILE"),
        Store::Redis(_) => ("IM_REDIS__URL", "IM_REDIS__PASSWORD_FILE"),
    };
    let access = store.access(role);
    let file = access.password_file.map(|file| (password, file.display().to_string()));
    [(url, access.url)].into_iter().chain(file)
}

/// Which edges are wanted.
#[derive(Clone, Debug, Default)]
pub struct Edges {
    /// How many.
    pub count: u16,
    /// Each has a port for simple_im's original clients.
    pub compat: bool,
    /// What they show their clients.
    pub tls: Option<Pair>,
}

/// The edges `e1`, `e2`, ….
pub fn edges(data: &Path, wanted: &Edges, ports: &mut Ports, stores: &Stores) -> Result<Vec<Spec>> {
    ours(data, Kind::Edge, "edge", 'e', wanted.count, |name| {
        let (tcp, http) =
            (ports.address(&format!("{name}.tcp"), 1987)?, ports.address(&format!("{name}.http"), 8080)?);
        let metrics = ports.address(&format!("{name}.metrics"), 9187)?;
        let compat = wanted.compat.then(|| ports.address(&format!("{name}.compat"), 2015)).transpose()?;
        let compat_http =
            wanted.compat.then(|| ports.address(&format!("{name}.compat_http"), 2080)).transpose()?;
        let mut environment = vec![
            ("IM_EDGE__NAME", name.to_owned()),
            ("IM_EDGE__LISTEN", tcp.clone()),
            ("IM_EDGE__HTTP", http.clone()),
            ("IM_EDGE__METRICS", metrics.clone()),
        ];
        environment.extend(access(&stores.nats, Role::Edge(Some(name))));
        environment.extend(compat.clone().map(|address| ("IM_EDGE__COMPAT_LISTEN", address)));
        environment.extend(compat_http.clone().map(|address| ("IM_EDGE__COMPAT_HTTP", address)));
        if let Some(Pair { certificate, key, .. }) = &wanted.tls {
            environment.push(("IM_TLS__CERTIFICATE", certificate.display().to_string()));
            environment.push(("IM_TLS__KEY", key.display().to_string()));
        }
        let ca = wanted.tls.as_ref().map(|pair| pair.ca.clone());
        let addresses = Addresses {
            tcp: Some(tcp),
            http: Some(http),
            compat,
            compat_http,
            ca,
            metrics: Some(metrics),
            url: None,
        };
        Ok((addresses, environment))
    })
}

/// The workers `w1`, `w2`, ….
pub fn workers(data: &Path, count: u16, ports: &mut Ports, stores: &Stores) -> Result<Vec<Spec>> {
    ours(data, Kind::Worker, "worker", 'w', count, |name| {
        let metrics = ports.address(&format!("{name}.metrics"), 9287)?;
        let mut environment =
            vec![("IM_WORKER__NAME", name.to_owned()), ("IM_WORKER__METRICS", metrics.clone())];
        for store in [&stores.nats, &stores.postgres, &stores.redis] {
            environment.extend(access(store, Role::Worker));
        }
        Ok((Addresses { metrics: Some(metrics), ..Addresses::default() }, environment))
    })
}

/// `DIR/edge.toml` or `DIR/worker.toml`: a configuration of the user's own, laid under what the supervisor decides.
pub fn own_config(data: &Path, program: &str) -> Option<PathBuf> {
    Some(data.join(format!("{program}.toml"))).filter(|file| file.is_file())
}

/// `DIR/through.toml`: `e1.nats = 5222` sends that process through this port to that store, for a proxy that breaks the
/// road between them.
fn through(data: &Path) -> Result<BTreeMap<String, BTreeMap<String, u16>>> {
    let file = data.join("through.toml");
    match std::fs::read_to_string(&file) {
        Ok(text) => toml::from_str(&text).with_context(|| format!("{}", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).with_context(|| format!("{}", file.display())),
    }
}

/// The address of another port in place of a store's own.
fn by_port(url: &str, port: u16) -> String {
    let Some((before, after)) = url.split_once("127.0.0.1:") else { return url.to_owned() };
    format!("{before}127.0.0.1:{port}{}", after.trim_start_matches(|digit: char| digit.is_ascii_digit()))
}

type Decided = (Addresses, Vec<(&'static str, String)>);

fn ours(
    data: &Path,
    kind: Kind,
    program: &str,
    letter: char,
    count: u16,
    mut decide: impl FnMut(&str) -> Result<Decided>,
) -> Result<Vec<Spec>> {
    let path = std::env::current_exe()?.with_file_name(program);
    ensure!(count == 0 || path.is_file(), "there is no {}: cargo build --bins makes it", path.display());
    let (config, through) = (own_config(data, program), through(data)?);
    (1..=count)
        .map(|number| {
            let name = format!("{letter}{number}");
            let (addresses, mut environment) = decide(&name)?;
            for (store, port) in through.get(&name).into_iter().flatten() {
                let variable = format!("IM_{}__URL", store.to_ascii_uppercase());
                if let Some((_, url)) = environment.iter_mut().find(|(name, _)| *name == variable) {
                    *url = by_port(url, *port);
                }
            }
            let log = data.join("log").join(format!("{name}.log"));
            let program = Program::Ours { path: path.clone(), config: config.clone(), environment };
            Ok(Spec { name, kind, log, addresses, program })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_port_is_another() {
        assert_eq!(by_port("postgres://im:p5432@127.0.0.1:5432/im", 7), "postgres://im:p5432@127.0.0.1:7/im");
        assert_eq!(by_port("nats://127.0.0.1:4222", 61), "nats://127.0.0.1:61");
    }
}
