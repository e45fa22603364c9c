//! A private PostgreSQL server, whose data folder may lie where its user cannot go.
//!
//! PostgreSQL refuses to run as root, so for a caller who is root it runs as the user `postgres`
//! (`SIMPLE_IM_POSTGRES_USER` names another). The data folder belongs to that user, but a folder above it may
//! be root's with mode 0700, which no path through it gets past, neither from `-D` nor from the working
//! directory, to which PostgreSQL returns by its path. So root opens the data folder before it gives up its
//! rights and hands it down as an open descriptor, and PostgreSQL is told `-D /proc/self/fd/9`: that name
//! leads straight to the open folder, without a look at what is above. It needs no capability, no mount and no
//! change to the caller's folders, and PostgreSQL's own children inherit it.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::{User, geteuid};
use tokio::process::Command;
use tokio::time::{Instant, sleep};
use tokio_postgres::NoTls;

use super::{Access, Store};
use crate::stack::{find, secret};

/// The role and the database that the system uses.
const NAME: &str = "im";
/// The data folder, as a process started by [`Postgres::run`] sees it.
const HANDED_DOWN: &str = "/proc/self/fd/9";
/// Opens descriptor 9 on the folder that came as standard input, then runs the arguments.
const WITH_FOLDER: &str = "exec 9<&0 0</dev/null; exec \"$@\"";
/// The same for single-user PostgreSQL, which reads its statements from standard input.
const WITH_FOLDER_AND_SQL: &str = "exec 9<&0; printf '%s\\n' \"$IM_SQL\" | \"$@\"";

/// How long the processes of a killed server have to end, and how often that is looked at.
const LAST_ONE_LIMIT: Duration = Duration::from_secs(20);
const LAST_ONE_EVERY: Duration = Duration::from_millis(10);

/// A PostgreSQL server's folder, port, programs and password.
#[derive(Clone, Debug)]
pub struct Postgres {
    bin: PathBuf,
    data: PathBuf,
    port: u16,
    password: String,
    password_file: PathBuf,
    /// Whom to run as; `None` for the caller, who is not root.
    user: Option<(u32, u32)>,
}

impl Postgres {
    /// Makes the cluster in `dir/data` with its role and database if it is not there, and writes the settings.
    pub async fn prepare(dir: &Path, port: u16) -> Result<Store> {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let data = dir.join("data");
        let major = fs::read_to_string(data.join("PG_VERSION")).ok();
        let bin = find::postgres_bin(major.as_deref().map(str::trim))?;
        let password_file = dir.join("password");
        let password = secret::kept_in(&password_file)?;
        let postgres = Self { bin, data, port, password, password_file, user: other_user()? };
        if major.is_none() {
            postgres.make_cluster(&dir).await.context("making the PostgreSQL cluster")?;
        }
        postgres.write_settings().context("writing PostgreSQL's settings")?;
        Ok(Store::Postgres(postgres))
    }

    /// Made beside and renamed when whole, so that an attempt cut short leaves nothing half made.
    async fn make_cluster(&self, dir: &Path) -> Result<()> {
        let partial = Self { data: dir.join("data.new"), ..self.clone() };
        if partial.data.exists() {
            fs::remove_dir_all(&partial.data)?;
        }
        fs::create_dir(&partial.data)?;
        fs::set_permissions(&partial.data, fs::Permissions::from_mode(0o700))?;
        if let Some((uid, gid)) = self.user {
            chown(&partial.data, Some(uid), Some(gid))?;
        }
        let mut initdb = partial.run(WITH_FOLDER, "initdb")?;
        initdb.args(["--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"]);
        // No password is set for `postgres`: over the network nobody is the superuser.
        initdb.args(["--auth-host=scram-sha-256", "--auth-local=reject", "-D", HANDED_DOWN]);
        succeed(initdb, "initdb").await?;
        let mut single = partial.run(WITH_FOLDER_AND_SQL, "postgres")?;
        single.args(["--single", "-j", "-D", HANDED_DOWN, "postgres"]);
        single.env("IM_SQL", partial.first_statements());
        succeed(single, "postgres --single").await?;
        fs::rename(&partial.data, &self.data).context("naming the new cluster")
    }

    /// Each ends with an empty line, which is where single-user mode ends a statement. Checkpoints are for `load grow`,
    /// and could be granted from PostgreSQL 15 on.
    fn first_statements(&self) -> String {
        let password = &self.password;
        format!(
            "CREATE ROLE {NAME} LOGIN PASSWORD '{password}';\n\nGRANT pg_monitor TO {NAME};\n\n\
             DO $$BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pg_checkpoint') \
             THEN GRANT pg_checkpoint TO {NAME}; END IF; END$$;\n\n\
             CREATE DATABASE {NAME} OWNER {NAME};\n\n"
        )
    }

    fn write_settings(&self) -> Result<()> {
        let partial = self.data.join("postgresql.conf.new");
        fs::write(&partial, settings(self.port))?;
        Ok(fs::rename(partial, self.data.join("postgresql.conf"))?)
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://{NAME}:{}@127.0.0.1:{}/{NAME}", self.password, self.port)
    }

    pub(super) fn access(&self) -> Access {
        let url = format!("postgres://{NAME}@127.0.0.1:{}/{NAME}", self.port);
        Access { url, password_file: Some(self.password_file.clone()) }
    }

    pub(super) fn command(&self) -> Result<Command> {
        let mut command = self.run(WITH_FOLDER, "postgres")?;
        command.args(["-D", HANDED_DOWN]);
        Ok(command)
    }

    pub(super) async fn answers(&self) -> Result<()> {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await?;
        let (connection, asked) = tokio::join!(connection, async move {
            let asked = client.simple_query("SELECT 1").await;
            drop(client);
            asked
        });
        asked?;
        Ok(connection?)
    }

    /// Until the processes of a server that was killed have ended, too: PostgreSQL does not start while one of them still
    /// holds the memory they shared. It leaves the id of that in its folder.
    pub(super) async fn last_one_has_ended(&self) -> Result<()> {
        let Ok(left) = fs::read_to_string(self.data.join("postmaster.pid")) else { return Ok(()) };
        let Some(id) = left.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) else {
            return Ok(());
        };
        let until = Instant::now() + LAST_ONE_LIMIT;
        while is_attached(&fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default(), id) {
            ensure!(
                Instant::now() < until,
                "processes of an earlier PostgreSQL still share memory (ipcs -m, id {id}) after {LAST_ONE_LIMIT:?}"
            );
            sleep(LAST_ONE_EVERY).await;
        }
        Ok(())
    }

    /// One of PostgreSQL's programs as its user, with the data folder as [`HANDED_DOWN`].
    fn run(&self, script: &str, program: &str) -> Result<Command> {
        let folder = File::open(&self.data).with_context(|| format!("opening {}", self.data.display()))?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, "sh"]).arg(self.bin.join(program)).stdin(Stdio::from(folder));
        command.current_dir("/").env("LC_ALL", "C.UTF-8").env_remove("PGDATA");
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        Ok(command)
    }
}

/// Whether anyone holds this piece of shared memory, by the kernel's table: its second column is the id, the seventh
/// how many do.
fn is_attached(table: &str, id: &str) -> bool {
    table.lines().any(|line| {
        let mut columns = line.split_whitespace();
        columns.nth(1) == Some(id) && columns.nth(4).is_some_and(|holders| holders != "0")
    })
}

/// The user to run as when the caller is root.
fn other_user() -> Result<Option<(u32, u32)>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let name = std::env::var("SIMPLE_IM_POSTGRES_USER").unwrap_or_else(|_| "postgres".to_owned());
    let Some(user) = User::from_name(&name)? else {
        bail!("PostgreSQL does not run as root and there is no user {name:?}; ops/install makes `postgres`");
    };
    ensure!(!user.uid.is_root(), "PostgreSQL does not run as root: SIMPLE_IM_POSTGRES_USER is {name:?}");
    Ok(Some((user.uid.as_raw(), user.gid.as_raw())))
}

async fn succeed(mut command: Command, what: &str) -> Result<()> {
    let output = command.output().await.with_context(|| format!("running {what}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{what} failed ({}): {}", output.status, String::from_utf8_lossy(&said).trim());
    }
    Ok(())
}

fn settings(port: u16) -> String {
    // Durability is PostgreSQL's alone here ("stored" means committed): fsync and synchronous_commit are said
    // aloud. After a checkpoint each page's first change goes whole into the log, so checkpoints are rare and
    // the log compressed, by what costs least. A hung worker's session is cut so that its lanes can move.
    format!(
        "# Written by simple-im at every start; changes are lost.\n\
         listen_addresses = '127.0.0.1'\n\
         port = {port}\n\
         unix_socket_directories = ''\n\
         max_connections = 200\n\
         password_encryption = 'scram-sha-256'\n\
         fsync = on\n\
         synchronous_commit = on\n\
         full_page_writes = on\n\
         wal_compression = lz4\n\
         wal_level = replica\n\
         max_wal_senders = 4\n\
         max_wal_size = '4GB'\n\
         min_wal_size = '256MB'\n\
         checkpoint_timeout = '15min'\n\
         checkpoint_completion_target = 0.9\n\
         shared_buffers = '256MB'\n\
         effective_cache_size = '1GB'\n\
         work_mem = '8MB'\n\
         maintenance_work_mem = '64MB'\n\
         random_page_cost = 1.1\n\
         jit = off\n\
         autovacuum_vacuum_insert_scale_factor = 0.05\n\
         tcp_keepalives_idle = 5\n\
         tcp_keepalives_interval = 2\n\
         tcp_keepalives_count = 3\n\
         log_line_prefix = '%m [%p] %u %a '\n\
         log_checkpoints = on\n\
         log_lock_waits = on\n\
         log_min_duration_statement = '1s'\n\
         log_timezone = 'UTC'\n\
         timezone = 'UTC'\n\
         datestyle = 'iso, ymd'\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_is_held_as_the_kernel_says() {
        let table = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid\n\
                     10036022    2686976   600                    56 28152 28152      6   113   120\n\
                     10036023    2686977   600                    56 28152 28152      0   113   120\n";
        assert!(is_attached(table, "2686976"));
        assert!(!is_attached(table, "2686977"), "nobody holds it");
        assert!(!is_attached(table, "28152"), "another column");
        assert!(!is_attached("", "2686976"), "gone");
    }
}
