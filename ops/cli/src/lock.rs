//! One supervisor a data folder: a lock that goes with its process, however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};

use crate::process::Identity;

/// The lock on a data folder, held until it is dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not used")] File);

/// What there is at a lock.
#[derive(Debug)]
pub enum Attempt {
    /// It is ours.
    Held(Lock),
    /// A live supervisor has it.
    Taken(Identity),
}

/// Takes the lock if nobody has it.
pub fn attempt(data: &Path) -> Result<Attempt> {
    let path = data.join("supervisor.lock");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = file.with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {
            let Identity { pid, started } = Identity::of(std::process::id());
            file.set_len(0)?;
            writeln!(file, "{pid} {started}").context("writing the lock")?;
            Ok(Attempt::Held(Lock(file)))
        }
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            file.rewind()?;
            file.read_to_string(&mut text)?;
            let mut numbers = text.split_whitespace().map(str::parse::<u64>);
            let (Some(Ok(pid)), Some(Ok(started))) = (numbers.next(), numbers.next()) else {
                bail!("{} is locked, and holds {text:?} in place of its owner's pid", path.display());
            };
            Ok(Attempt::Taken(Identity { pid: u32::try_from(pid)?, started }))
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

/// Takes the lock once whoever has it lets go; `None` if that takes longer.
pub async fn within(data: &Path, limit: Duration) -> Result<Option<Lock>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Attempt::Held(lock) = attempt(data)? {
            return Ok(Some(lock));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let Attempt::Held(lock) = attempt(dir.path()).unwrap() else { panic!("nobody had it") };
        let Attempt::Taken(by) = attempt(dir.path()).unwrap() else { panic!("it was given twice") };
        assert_eq!(by, Identity::of(std::process::id()));
        drop(lock);
        assert!(matches!(attempt(dir.path()).unwrap(), Attempt::Held(_)));
    }
}
