//! What the committers of a process share, and say to those of others.

use async_nats::jetstream::Context;
use bytes::Bytes;
use futures::StreamExt;
use shared::subject::Subjects;
use tokio::sync::watch;

use super::{finish::Tools, turn::Turn};
use crate::config::WorkerConfig;

/// What every committer of a process shares.
#[derive(Debug)]
pub struct Shared {
    /// The worker's settings.
    pub config: WorkerConfig,
    /// JetStream.
    pub js: Context,
    /// How often the broker was lost: what was under way then must not be relied on.
    pub losses: watch::Receiver<u64>,
    /// Names on the broker.
    pub subjects: Subjects,
    /// Deliveries and routes.
    pub tools: Tools,
    /// Changes when a committer somewhere has let lanes go, or shares them from now on.
    pub news: watch::Receiver<()>,
    /// Whose turn it is to commit what is small.
    pub turn: Turn,
}

impl Shared {
    /// Until the broker has taken in what was sent to it before: a message to ourselves has come back.
    pub(super) async fn acked(&self) -> Result<(), async_nats::Error> {
        let client = self.js.client();
        let inbox = client.new_inbox();
        let mut back = client.subscribe(inbox.clone()).await?;
        client.publish(inbox, Bytes::new()).await?;
        drop(back.next().await);
        Ok(())
    }

    /// Has every committer look at the lanes now. Where this is lost, they look at their own time.
    pub(super) async fn tell(&self) {
        if let Err(error) = self.js.client().publish(self.subjects.lanes(), Bytes::new()).await {
            tracing::debug!(%error, "other committers were not told of the lanes");
        }
    }
}
