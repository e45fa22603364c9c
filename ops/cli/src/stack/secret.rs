//! Passwords made once for a data folder and kept there, readable by its owner alone.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// The password in this file; made, with 144 random bits, if the file is not there yet.
pub fn kept_in(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("reading {}", path.display()));
        }
        _ => {}
    }
    let mut random = [0u8; 18];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).context("/dev/urandom")?;
    let password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    // Complete or not there: a half-written password would lock its own database out.
    let partial = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(password.as_bytes()).and_then(|()| file.sync_all()).context("writing a password")?;
    fs::rename(&partial, path).with_context(|| format!("writing {}", path.display()))?;
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_same_password_again_and_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let first = kept_in(&path).unwrap();
        assert_eq!(first.len(), 36);
        assert_eq!(kept_in(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
