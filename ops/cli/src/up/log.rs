//! Log files that rotate by size, fed from the processes' output pipes.
//!
//! The supervisor owns the pipes, so a process never meets a full disk when it logs: what cannot be written is
//! counted and dropped here, and said once there is room again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A file that has reached this size is set aside.
const LIMIT_BYTES: u64 = 16 << 20;
/// How many set-aside files are kept beside it, the newest as `.1`.
const KEPT: u32 = 4;
/// The most taken from a pipe at once.
const READ_BYTES: usize = 16 << 10;

/// A log file; clones write to the same.
#[derive(Clone, Debug)]
pub struct Log(Arc<Mutex<Rotating>>);

#[derive(Debug)]
struct Rotating {
    path: PathBuf,
    limit: u64,
    file: Option<File>,
    size: u64,
    at_line_start: bool,
    dropped: u64,
}

impl Log {
    /// Appends to the file at `path`, which is opened at the first write.
    pub fn new(path: PathBuf) -> Self {
        Self::with_limit(path, LIMIT_BYTES)
    }

    fn with_limit(path: PathBuf, limit: u64) -> Self {
        let rotating = Rotating { path, limit, file: None, size: 0, at_line_start: true, dropped: 0 };
        Self(Arc::new(Mutex::new(rotating)))
    }

    /// Appends, or counts what could not be appended.
    pub fn write(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes);
    }

    /// Copies a process's output here until its last holder has closed it, in a thread of its own: a disk that
    /// hangs must not hang the supervisor.
    pub fn follow(&self, mut pipe: PipeReader, name: &str) -> io::Result<()> {
        let log = self.clone();
        thread::Builder::new().name(format!("log {name}")).spawn(move || {
            let mut buffer = vec![0; READ_BYTES];
            loop {
                match pipe.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(length) => log.write(&buffer[..length]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        })?;
        Ok(())
    }
}

impl Rotating {
    fn write(&mut self, bytes: &[u8]) {
        match self.try_write(bytes) {
            Ok(()) => {}
            Err(_) => {
                self.dropped += bytes.len() as u64;
                // Opened again at the next write: the reason may be gone, or the file may be.
                self.file = None;
            }
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Between lines if possible, so that no line is cut; a process that never ends its line is cut all the same.
        if self.size >= self.limit && (self.at_line_start || self.size >= 2 * self.limit) {
            self.file = None;
            set_aside(&self.path)?;
        }
        if self.file.is_none() {
            let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            self.size = file.metadata()?.len();
            self.file = Some(file);
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        if self.dropped > 0 {
            writeln!(file, "\n[simple-im: {} bytes of this log could not be written here]", self.dropped)?;
            self.dropped = 0;
        }
        file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        self.at_line_start = bytes.last() == Some(&b'\n');
        Ok(())
    }
}

fn set_aside(path: &Path) -> io::Result<()> {
    let numbered = |number: u32| PathBuf::from(format!("{}.{number}", path.display()));
    for number in (1..KEPT).rev() {
        match fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, numbered(1))
}

/// The last lines of a log, for a message that says why something did not start.
pub fn last_lines(path: &Path, count: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let tail = &text[text.len().saturating_sub(8 << 10)..];
    let text = String::from_utf8_lossy(tail);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rotates_between_lines_and_keeps_a_few() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let log = Log::with_limit(path.clone(), 20);
        for number in 0..40 {
            log.write(b"line ");
            log.write(format!("{number:03}\n").as_bytes());
        }
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["x.log", "x.log.1", "x.log.2", "x.log.3", "x.log.4"]);
        assert_eq!(fs::read_to_string(dir.path().join("x.log.1")).unwrap(), "line 036\nline 037\nline 038\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 039\n");
        assert_eq!(last_lines(&dir.path().join("x.log.1"), 1), "line 038");
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_said_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("later/x.log");
        let log = Log::new(path.clone());
        log.write(b"lost\n");
        fs::create_dir(dir.path().join("later")).unwrap();
        log.write(b"kept\n");
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("5 bytes of this log could not be written") && text.ends_with("kept\n"),
            "{text}"
        );
    }
}
