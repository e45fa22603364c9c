//! Going to another node because this one is about to end: at its time a connection is made and logged in there, while
//! the one here still serves. So nothing stands still in between.

use std::{future::pending, time::Duration};

use tokio::{task::JoinHandle, time::Instant};

use super::{
    Connection, Options,
    dial::{Dialer, Failure},
};

/// How long a node that drains may leave a client where it is.
const LONGEST: Duration = Duration::from_secs(600);

/// A logged-in connection to another node.
#[derive(Debug)]
pub struct Moved {
    /// To be served from now on.
    pub connection: Connection,
    /// Where it leads, `host:port`.
    pub server: String,
    /// How long there has been no connection before it: nothing, where the old one still served.
    pub away: Duration,
}

/// A node has said that it is about to end.
#[derive(Debug)]
pub struct Moving {
    /// When to go, or to come back.
    at: Instant,
    /// Where to; `None` where there is no other node, or while the attempt has it.
    dialer: Option<Dialer>,
    attempt: Option<JoinHandle<(Dialer, Result<Connection, Failure>)>>,
    failures: u32,
}

impl Moving {
    /// To `server`, or back to wherever a node is then, after so many milliseconds.
    pub fn new(server: Option<String>, after: u64) -> Self {
        let at = Instant::now() + Duration::from_millis(after).min(LONGEST);
        Self { at, dialer: server.map(Dialer::to), attempt: None, failures: 0 }
    }

    /// When [`Self::begin`] is due; `None` while an attempt is under way, or where there is nowhere to go.
    pub fn due(&self) -> Option<Instant> {
        self.dialer.as_ref().map(|_| self.at)
    }

    /// Whether a login on the next node is under way.
    pub fn is_under_way(&self) -> bool {
        self.attempt.is_some()
    }

    /// Before this there is no use in coming back, where there is no other node.
    pub fn not_before(&self) -> Option<Instant> {
        (self.dialer.is_none() && self.attempt.is_none()).then_some(self.at)
    }

    /// Begins to connect and log in there, beside the connection that there is.
    pub fn begin(&mut self, options: &Options) {
        if let Some(mut dialer) = self.dialer.take() {
            let options = options.clone();
            self.attempt = Some(tokio::spawn(async move {
                let dialed = dialer.dial(&options).await;
                (dialer, dialed)
            }));
        }
    }

    /// Until the attempt under way has succeeded, or has failed and another one is due; for ever where there is none.
    /// Cancelled at an await, it goes on where it was.
    pub async fn arrived(&mut self, options: &Options) -> Option<(Connection, String)> {
        let Some(attempt) = &mut self.attempt else { return pending().await };
        let ended = attempt.await;
        self.attempt = None;
        // Its task ends early only with its runtime.
        let (dialer, dialed) = ended.ok()?;
        match dialed {
            Ok(connection) => Some((connection, dialer.server().to_owned())),
            Err(failure) => {
                tracing::debug!(user.id = %options.user, ?failure, "no connection to the next node yet");
                self.failures = self.failures.saturating_add(1);
                self.at = Instant::now() + options.backoff.wait(self.failures).max(dialer.retry_after());
                self.dialer = Some(dialer);
                None
            }
        }
    }

    /// The connection here has ended: goes there now, unless it is under way; one attempt, for as long as that takes.
    pub async fn at_once(mut self, options: &Options) -> Option<Moved> {
        let lost = Instant::now();
        self.begin(options);
        self.attempt.as_ref()?;
        let (connection, server) = self.arrived(options).await?;
        Some(Moved { connection, server, away: lost.elapsed() })
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        if let Some(attempt) = &self.attempt {
            attempt.abort();
        }
    }
}
