//! Tasks without which a node only seems to live: if one of them ends unasked, the process is to end, so that whoever
//! started it starts it again.
//!
//! Without its deliveries, say, a node would go on beating while workers wait for its confirmations for ever.

use std::future::Future;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Watches tasks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Vital {
    ended: watch::Sender<Option<&'static str>>,
    shutdown: CancellationToken,
}

impl Vital {
    /// From `shutdown` on, tasks may end; the drain waits for them then.
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { ended: watch::Sender::new(None), shutdown }
    }

    /// What begins the shutdown.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// The task's work, watched: however it ends, by a panic too, is noticed.
    pub async fn task<T>(self, name: &'static str, work: impl Future<Output = T>) -> T {
        let _end = End { vital: self, name };
        work.await
    }

    /// Until one has ended unasked; which. Never returns if none does.
    pub async fn ended(&self) -> &'static str {
        let mut ended = self.ended.subscribe();
        loop {
            let found: Option<&'static str> = *ended.borrow_and_update();
            match found {
                Some(name) => return name,
                // Its sender is in `self`.
                None => ended.changed().await.unwrap_or_default(),
            }
        }
    }
}

/// Tells of the end when it is dropped.
struct End {
    vital: Vital,
    name: &'static str,
}

impl Drop for End {
    fn drop(&mut self) {
        if !self.vital.shutdown.is_cancelled() {
            tracing::error!(
                task = self.name,
                "a task without which this node cannot serve has ended unasked"
            );
            self.vital.ended.send_modify(|ended| {
                ended.get_or_insert(self.name);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_task_that_returns_or_panics_unasked_is_noticed_and_one_that_works_is_not() {
        let panics = async { panic!("a bug") };
        for (name, work) in [("returns", async {}.boxed()), ("panics", panics.boxed())] {
            let vital = Vital::new(CancellationToken::new());
            tokio::spawn(vital.clone().task("works", std::future::pending::<()>()));
            tokio::task::yield_now().await;
            assert_eq!(vital.ended().now_or_never(), None);
            tokio::spawn(vital.clone().task(name, work));
            assert_eq!(vital.ended().await, name);
        }
    }

    #[tokio::test]
    async fn at_a_shutdown_tasks_may_end() {
        let shutdown = CancellationToken::new();
        let vital = Vital::new(shutdown.clone());
        let task = tokio::spawn(vital.clone().task("ends", shutdown.clone().cancelled_owned()));
        shutdown.cancel();
        task.await.unwrap();
        assert_eq!(vital.ended().now_or_never(), None);
    }
}
