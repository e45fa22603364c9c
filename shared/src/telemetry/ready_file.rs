//! The file that tells a supervisor or a test where a process listens, once it does.

use std::{fs, io, path::Path};

/// Writes `path` as a whole or not at all: `pid`, and each name with its address (`tcp = "127.0.0.1:40123"`). An empty
/// path writes nothing, as the configuration's `ready_file = ""` means.
///
/// # Errors
/// What the file system said, naming the file.
pub fn write_ready_file(path: impl AsRef<Path>, addresses: &[(&str, &str)]) -> io::Result<()> {
    let path = path.as_ref();
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let mut text = format!("pid = {}\n", std::process::id());
    for (name, address) in addresses {
        text.push_str(&format!("{name} = {address:?}\n"));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("ready file {}: {error}", path.display()));
    fs::write(&beside, text).map_err(named)?;
    fs::rename(&beside, path).map_err(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_toml_and_an_error_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e1.toml");
        write_ready_file(&path, &[("tcp", "127.0.0.1:1987")]).unwrap();
        let table: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        assert_eq!(table["tcp"].as_str(), Some("127.0.0.1:1987"));
        assert_eq!(table["pid"].as_integer(), Some(i64::from(std::process::id())));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let error = write_ready_file(dir.path().join("no/e1.toml"), &[]).unwrap_err();
        assert!(error.to_string().contains("no/e1.toml"), "{error}");
        write_ready_file("", &[]).unwrap();
    }
}
