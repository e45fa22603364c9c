//! Taking calls in, from the broker, and answering them.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Client, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use shared::{
    rpc::{ERROR_HEADER, WORKER_HEADER},
    subject::Subjects,
    telemetry::Metric,
};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Calls, Fault, dispatch, known};
use crate::metric::{Metrics, metrics};

/// Nobody waits longer for an answer than this.
const DEADLINE: Duration = Duration::from_secs(10);

/// Where calls come in.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    pub nats: Client,
    pub subjects: Subjects,
    pub calls: Arc<Calls>,
    /// One a call.
    pub permits: Arc<Semaphore>,
}

impl Counter {
    /// Answers what comes by one subscription, until shutdown.
    pub async fn serve(&self, mut incoming: Subscriber, shutdown: CancellationToken) {
        let mut running = JoinSet::new();
        let mut draining = false;
        loop {
            while running.try_join_next().is_some() {}
            let message = tokio::select! {
                message = incoming.next() => message,
                () = shutdown.cancelled(), if !draining => {
                    draining = true;
                    if let Err(error) = incoming.drain().await {
                        tracing::warn!(%error, "calls that had already come may go unanswered");
                    }
                    continue;
                }
            };
            let Some(message) = message else { break };
            let Ok(permit) = self.permits.clone().acquire_owned().await else { break };
            let this = self.clone();
            let under_way = Metrics::one_more(&metrics().rpc_under_way);
            running.spawn(async move {
                this.answer(message).await;
                drop((permit, under_way));
            });
        }
        while running.join_next().await.is_some() {}
    }

    async fn answer(&self, message: Message) {
        let (subjects, subject) = (&self.subjects, &message.subject);
        if subject.as_str() == subjects.who() {
            return self.here(message).await;
        }
        let Some(reply) = message.reply else { return };
        let asked = subjects.rpc_call(subject).or_else(|| subjects.at_call(subject)).unwrap_or_default();
        let begun = Instant::now();
        let name = known(asked);
        let working = AssertUnwindSafe(dispatch(&self.calls, name, &message.payload)).catch_unwind();
        let done = match tokio::time::timeout(DEADLINE, working).await {
            Ok(Ok(done)) => done,
            Ok(Err(_panic)) => {
                tracing::error!(call = name, "a call panicked; its caller is told to try again");
                Err(Fault::Unavailable("the call failed in the worker".to_owned()))
            }
            Err(_) => Err(Fault::Unavailable(format!("the call took longer than {DEADLINE:?}"))),
        };
        Metric::WorkerRpcSeconds.histogram(&[("call", name)]).record(begun.elapsed());
        let ok = !matches!(done, Err(Fault::Store(_) | Fault::Unavailable(_)));
        Metric::WorkerRpcCalls
            .counter(&[("call", name), ("result", if ok { "ok" } else { "error" })])
            .increment(1);
        let mut headers = HeaderMap::new();
        let payload = match done {
            Ok(payload) => payload,
            Err(fault) => {
                log(name, &fault);
                headers.insert(ERROR_HEADER, fault.code().as_str());
                fault.to_string().into_bytes()
            }
        };
        if let Err(error) = self.nats.publish_with_headers(reply, headers, payload.into()).await {
            tracing::warn!(call = name, %error, "an answer was not sent");
        }
    }

    /// Not before there is room for a call: who asks takes whoever says it first.
    async fn here(&self, message: Message) {
        let Some(reply) = message.reply else { return };
        let mut headers = HeaderMap::new();
        headers.insert(WORKER_HEADER, self.calls.name.as_str());
        if let Err(error) = self.nats.publish_with_headers(reply, headers, Bytes::new()).await {
            tracing::debug!(%error, "an edge was not told that this worker is there");
        }
    }
}

fn log(call: &str, fault: &Fault) {
    match fault {
        Fault::Store(error) if !error.retry() => {
            Metric::WorkerStoreErrors.counter(&[]).increment(1);
            tracing::error!(call, error = error as &dyn std::error::Error, "a call failed");
        }
        Fault::Store(error) => {
            Metric::WorkerStoreErrors.counter(&[]).increment(1);
            tracing::warn!(call, %error, "a call failed; it is tried again");
        }
        Fault::Unavailable(reason) => tracing::warn!(call, reason, "a call failed; it is tried again"),
        Fault::Refused { .. } => tracing::debug!(call, %fault, "a call was refused"),
    }
}
