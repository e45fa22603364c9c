//! The session file: which tokens this user of the machine holds. Mode 0600, since a token is as good as a password.

use std::{
    env, fs,
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use shared::ids::UserId;
use tokio::time::Instant;

use super::place::Place;
use crate::record::replace;

const HEADER: &str = "# Who is logged in here, for simple-im chat, send and tail. Kept mode 0600: a token is as good as a password.\n";

/// One device's token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The HTTP address of the system, or several with commas between them.
    pub server: String,
    /// Whose.
    pub phone: String,
    /// The same person, by number.
    pub user: UserId,
    /// Which device.
    pub device: String,
    /// Its token.
    pub token: Token,
    /// Whom to believe there: a PEM file. Without it the roots of this machine, where the address is `https://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

impl Session {
    /// Where it is good.
    pub fn place(&self) -> Place {
        Place { server: self.server.clone(), ca: self.ca.clone() }
    }
}

/// A token as the file holds it; it does not print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Contents {
    #[serde(default)]
    session: Vec<Session>,
}

/// The file itself.
#[derive(Debug, Clone)]
pub struct File {
    path: PathBuf,
}

/// Holds a device, or the file, against other processes; ends with its value.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "its end is the end of the lock")] fs::File);

impl File {
    /// This one, or the usual one of this user.
    ///
    /// # Errors
    /// There is no home to keep one in.
    pub fn at(path: Option<PathBuf>) -> Result<Self> {
        let path = match path.or_else(usual) {
            Some(path) => path,
            None => {
                bail!("expected --session FILE, XDG_CONFIG_HOME or HOME, to keep the login in; found none")
            }
        };
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .with_context(|| format!("making {}", dir.display()))?;
        }
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds; nothing where there is none.
    ///
    /// # Errors
    /// It cannot be read, or others could have read it.
    pub fn read(&self) -> Result<Vec<Session>> {
        let path = self.path.display();
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("{path}")),
        };
        let mode = fs::metadata(&self.path)?.mode() & 0o777;
        ensure!(
            mode & 0o077 == 0,
            "{path}: expected mode 0600, found {mode:04o}: others could have read its tokens. Log out, or chmod 600 {path}"
        );
        let contents: Contents = toml::from_str(&text).with_context(|| format!("{path}"))?;
        Ok(contents.session)
    }

    /// Changes it as a whole, against other processes that do so.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub async fn change(&self, change: impl FnOnce(&mut Vec<Session>)) -> Result<()> {
        let _held = self.hold("lock", Duration::from_secs(5)).await?;
        let mut session = self.read()?;
        change(&mut session);
        let text = format!("{HEADER}{}", toml::to_string(&Contents { session })?);
        replace(&self.path, &text).with_context(|| format!("writing {}", self.path.display()))
    }

    /// Holds a name beside the file, waiting while another process does.
    ///
    /// # Errors
    /// Another process holds it all the while.
    pub async fn hold(&self, name: &str, patience: Duration) -> Result<Held> {
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{name}"));
        let path = PathBuf::from(path);
        let file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("{}", path.display()))?;
        let end = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Held(file)),
                Err(fs::TryLockError::WouldBlock) if Instant::now() < end => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(fs::TryLockError::WouldBlock) => bail!("another process holds {}", path.display()),
                Err(fs::TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("{}", path.display()));
                }
            }
        }
    }
}

fn usual() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(config.join("simple-im").join("session.toml"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn session(device: &str, token: &str) -> Session {
        Session {
            server: "http://127.0.0.1:8080".into(),
            phone: "138".into(),
            user: UserId(7),
            device: device.into(),
            token: Token(token.into()),
            ca: None,
        }
    }

    #[tokio::test]
    async fn it_is_kept_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::at(Some(dir.path().join("new").join("session.toml"))).unwrap();
        assert_eq!(file.read().unwrap(), []);
        file.change(|kept| kept.push(session("tail@a", "t1"))).await.unwrap();
        file.change(|kept| kept.push(session("send@a", "t2"))).await.unwrap();
        assert_eq!(file.read().unwrap(), [session("tail@a", "t1"), session("send@a", "t2")]);
        assert_eq!(fs::metadata(file.path()).unwrap().mode() & 0o777, 0o600);
        assert!(!format!("{:?}", file.read().unwrap()).contains("t1"), "tokens do not print");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        let error = file.read().unwrap_err().to_string();
        assert!(error.contains("found 0640"), "{error}");
    }

    #[tokio::test]
    async fn a_device_is_held_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::at(Some(dir.path().join("session.toml"))).unwrap();
        let held = file.hold("tail@a", Duration::ZERO).await.unwrap();
        assert!(file.hold("tail@a", Duration::from_millis(30)).await.is_err());
        drop(file.hold("send@a", Duration::ZERO).await.unwrap());
        drop(held);
        drop(file.hold("tail@a", Duration::ZERO).await.unwrap());
    }
}
