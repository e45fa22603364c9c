//! One backlog read, tried until a worker answers or the session is over.

use std::{sync::Arc, time::Duration};

use shared::{
    command::Code,
    delivery,
    rpc::{self, Backlog},
    telemetry::{self, Metric},
};

use crate::{
    backoff::Backoff,
    calls::CallError,
    context::Context,
    outbox::{Close, Item, Outbox, Page},
};

/// Reads after `pause` and puts the result into the session's outbox.
pub async fn read(context: Arc<Context>, session: Arc<Outbox>, request: Backlog, pause: Duration) {
    tokio::time::sleep(pause).await;
    let request = rpc::to_vec(&request);
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    while !session.is_gone() {
        match once(&context, &request).await {
            Ok(page) => {
                session.queue(Item::Page(page), usize::MAX);
                return;
            }
            Err(reason) => {
                tracing::debug!(reason, session = session.who.session.0, "a backlog read is tried again")
            }
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

async fn once(context: &Context, request: &[u8]) -> Result<Page, String> {
    let permit = context.backlog_reads.acquire().await.map_err(|error| error.to_string())?;
    let answer = context.calls.raw("session.backlog", request.to_vec(), context.calls.timeout()).await;
    drop(permit);
    telemetry::count(Metric::EdgeBacklogReads, &[("result", if answer.is_ok() { "ok" } else { "error" })], 1);
    match answer {
        Ok(reply) => {
            let entries = delivery::decode(&reply.payload).map_err(|error| {
                tracing::error!(%error, "a worker's backlog cannot be read");
                error.to_string()
            })?;
            Ok(Page::Read(entries, reply.more))
        }
        Err(error) => over(&error).map(Page::Over).ok_or_else(|| error.to_string()),
    }
}

/// Why the session is over, if the refusal says that it is.
fn over(refused: &CallError) -> Option<Close> {
    let CallError::Refused { code, .. } = refused else { return None };
    match Code::parse(code)? {
        Code::Token => Some(Close::Replaced),
        Code::NotLoggedIn => Some(Close::Revoked),
        _ => None,
    }
}
