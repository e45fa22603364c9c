//! Reading certificate and key again when their files change, or when told.
//!
//! New connections get the new ones; connections that stand keep theirs. A pair that cannot be used changes nothing.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, PoisonError},
};

use shared::telemetry::{self, Metric};
use tokio_util::sync::CancellationToken;

use super::{Files, Tls};

/// What a look at the files shows: by this a change is noticed. A symbolic link that leads elsewhere is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look([Option<(i64, i64, u64, u64)>; 2]);

impl Look {
    fn at(files: &Files) -> Self {
        Self([&files.certificate, &files.key].map(|file| seen(file)))
    }
}

fn seen(file: &Path) -> Option<(i64, i64, u64, u64)> {
    let file = fs::metadata(file).ok()?;
    Some((file.mtime(), file.mtime_nsec(), file.ino(), file.size()))
}

impl Tls {
    /// Reads them again now, changed or not.
    pub fn reload_now(&self) {
        self.again.notify_one();
    }

    /// Looks every `tls.reload_seconds` until `shutdown`. A change is taken once the files have stayed the same from one
    /// look to the next: certificate and key are written one after the other.
    pub async fn keep_fresh(self: Arc<Self>, shutdown: CancellationToken) {
        let mut taken = Look::at(&self.files);
        let mut last = taken;
        loop {
            let told = tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.again.notified() => true,
                () = tokio::time::sleep(self.every) => false,
            };
            let look = Look::at(&self.files);
            let settled = std::mem::replace(&mut last, look) == look;
            if told || (settled && look != taken) {
                // Taken also if it is of no use: it is said once, not at every look.
                taken = look;
                self.reload();
            }
        }
    }

    fn reload(&self) {
        // Two small files: not worth a thread of its own.
        let result = match self.files.load() {
            Ok(serving) => {
                serving.tell();
                *self.serving.write().unwrap_or_else(PoisonError::into_inner) = serving;
                "ok"
            }
            Err(error) => {
                tracing::error!(%error, "the new TLS certificate cannot be used; going on with the old one");
                "error"
            }
        };
        telemetry::count(Metric::EdgeTlsReloads, &[("result", result)], 1);
    }
}
