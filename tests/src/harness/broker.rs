//! A broker of a test's own that knows each part of the system by its user and lets it do no more than it must.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::Context;
use shared::subject::{Subjects, permissions::Role};
use simple_im::stack::{
    ports,
    servers::{Access, Nats, Store},
};
use tokio::process::Child;

use super::{eventually, servers};

/// One that runs, until it is dropped.
#[derive(Debug)]
pub struct Broker {
    store: Store,
    _child: Child,
}

impl Broker {
    /// For so many edges and their workers, under this prefix; its data and log are in `dir`.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(run: &str, prefix: &str, edges: usize, dir: &Path) -> anyhow::Result<Self> {
        let names: Vec<String> = (1..=edges).map(|number| format!("e{number}")).collect();
        let mut roles = vec![Role::Admin, Role::Worker, Role::Edge(None)];
        roles.extend(names.iter().map(|name| Role::Edge(Some(name))));
        let subjects = Subjects::new(prefix);
        let store = Nats::prepare_for(&dir.join("nats"), ports::free()?, &subjects, &roles)?;
        let log = std::fs::File::create(dir.join("nats.log"))?;
        let mut command = store.command()?;
        command.stdout(Stdio::from(log.try_clone()?)).stderr(log).kill_on_drop(true);
        // By this it is found and ended with its run, should the test be killed.
        command.env(servers::RUN, run);
        let child = store.spawn(&mut command).context("starting a broker")?;
        eventually(Duration::from_secs(20), async || {
            store.answers().await.map_err(|error| format!("{error:#}"))
        })
        .await;
        Ok(Self { store, _child: child })
    }

    /// As whom people and tools connect: with the password.
    pub fn url(&self) -> String {
        self.store.url()
    }

    /// How this part connects.
    pub fn access(&self, role: Role<'_>) -> Access {
        self.store.access(role)
    }

    /// The same with the password in it, for a test that acts as this part.
    ///
    /// # Panics
    /// When the broker knows no such user.
    pub fn url_of(&self, role: Role<'_>) -> String {
        let Access { url, password_file } = self.access(role);
        let file = password_file.expect("every user has a password");
        let password = std::fs::read_to_string(file).expect("the password is kept");
        url.replacen('@', &format!(":{password}@"), 1)
    }
}
