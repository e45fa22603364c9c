//! A private NATS server with JetStream on disk, open to whoever comes or to the parts of a system alone.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shared::config::Secret;
use shared::subject::{Subjects, permissions::Role};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::{Access, Store};
use crate::record::replace;
use crate::stack::{find, secret};

/// How much memory its garbage collector lets it have. A full stream is read by eight lanes, and what they read is kept for
/// a while: without a limit that came to 2.1 GiB for a stream of 1 GiB, with this one to 0.7, at the same pace.
const MEMORY: (&str, &str) = ("GOMEMLIMIT", "768MiB");

/// How late its timers may ring. Go's runtime looks after its threads every 20 µs while there is work, and each look wakes a
/// core: at 2,000 single messages a second that was a quarter of what NATS needs. What waits in turn, goroutines of a thread that
/// is long in a system call, was seen neither in latency nor in throughput.
pub(super) const TIMER_SLACK: Duration = Duration::from_millis(1);

/// A NATS server's folder, port and program.
#[derive(Clone, Debug)]
pub struct Nats {
    program: PathBuf,
    dir: PathBuf,
    port: u16,
    /// Who may connect, with a password each; nobody named: whoever comes may do everything.
    users: Vec<User>,
    subjects: Subjects,
}

/// One who may connect.
#[derive(Clone, Debug)]
struct User {
    name: String,
    password: Secret,
    file: PathBuf,
}

impl Nats {
    /// Writes the configuration into `dir` (made if missing), where JetStream keeps its files too.
    pub fn prepare(dir: &Path, port: u16) -> Result<Store> {
        Self::prepare_for(dir, port, &Subjects::new("im"), &[])
    }

    /// The same for these roles alone, under these subjects, each with a password of its own kept in `dir`. One of them is
    /// to be [`Role::Admin`], as whom it is asked whether it answers.
    pub fn prepare_for(dir: &Path, port: u16, subjects: &Subjects, roles: &[Role<'_>]) -> Result<Store> {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let mut users = Vec::new();
        for role in roles {
            let name = role.user();
            let file = dir.join(format!("{name}.password"));
            users.push(User { password: Secret::new(secret::kept_in(&file)?), name, file });
        }
        let nats = Self { program: find::nats_server()?, dir, port, users, subjects: subjects.clone() };
        replace(&nats.config(), &nats.settings(roles)).context("writing nats.conf")?;
        Ok(Store::Nats(nats))
    }

    fn user(&self, role: Role<'_>) -> Option<&User> {
        let name = role.user();
        self.users.iter().find(|user| user.name == name)
    }

    fn config(&self) -> PathBuf {
        self.dir.join("nats.conf")
    }

    fn settings(&self, roles: &[Role<'_>]) -> String {
        let (port, store) = (self.port, self.dir.join("jetstream"));
        // One setting a line: nats-server does not parse a block on one line.
        let quoted = |user: &User| format!("\"{}\"", user.password.expose());
        let users: Vec<_> = roles.iter().copied().zip(self.users.iter().map(quoted)).collect();
        let authorization =
            if users.is_empty() { String::new() } else { self.subjects.authorization(&users) };
        // max_file_store only has to be above the sum of the streams' own limits, which are what bounds the disk.
        format!(
            "# Written by simple-im at every start; changes are lost.\n\
             listen: \"127.0.0.1:{port}\"\n\
             server_name: \"simple-im\"\n\
             max_payload: 1048576\n\
             max_pending: 67108864\n\
             write_deadline: \"10s\"\n\
             jetstream {{\n\
             \x20 store_dir: {store:?}\n\
             \x20 max_memory_store: 67108864\n\
             \x20 max_file_store: 17179869184\n\
             }}\n\
             {authorization}"
        )
    }

    pub(super) fn url(&self) -> String {
        match self.user(Role::Admin) {
            Some(User { name, password, .. }) => {
                format!("nats://{name}:{}@127.0.0.1:{}", password.expose(), self.port)
            }
            None => format!("nats://127.0.0.1:{}", self.port),
        }
    }

    pub(super) fn access(&self, role: Role<'_>) -> Access {
        match self.user(role) {
            Some(User { name, file, .. }) => Access {
                url: format!("nats://{name}@127.0.0.1:{}", self.port),
                password_file: Some(file.clone()),
            },
            None => Access { url: self.url(), password_file: None },
        }
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.config()).stdin(Stdio::null()).current_dir(&self.dir);
        let (name, limit) = MEMORY;
        if std::env::var_os(name).is_none() {
            command.env(name, limit);
        }
        command
    }

    /// It answers a ping, and says in its greeting that JetStream is on.
    pub(super) async fn answers(&self) -> Result<()> {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).await?);
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        ensure!(line.starts_with("INFO "), "expected NATS's greeting, found {line:?}");
        ensure!(line.contains("\"jetstream\":true"), "JetStream is not on");
        let login = self.user(Role::Admin).map_or_else(String::new, |user| {
            format!(",\"user\":\"{}\",\"pass\":\"{}\"", user.name, user.password.expose())
        });
        let connect = format!("CONNECT {{\"verbose\":false{login}}}\r\nPING\r\n");
        stream.write_all(connect.as_bytes()).await?;
        line.clear();
        stream.read_line(&mut line).await?;
        ensure!(line.trim_end() == "PONG", "expected PONG, found {line:?}");
        Ok(())
    }
}
