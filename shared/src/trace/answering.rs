//! The task by which a process answers what is asked of its trace. One question at a time: others wait at the broker's
//! client, and an asker waits for a second only.

use std::time::Duration;

use async_nats::Client;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::{Answer, Question};
use crate::{rpc, subject::Subjects};

/// Before it subscribes once more, should the subscription have ended.
const AGAIN: Duration = Duration::from_secs(1);

/// Answers until `shutdown`. Whatever goes wrong is logged, and costs an asker one answer.
pub async fn answer<A>(client: Client, subjects: Subjects, answer: A, shutdown: CancellationToken)
where
    A: AsyncFn(Question) -> Answer,
{
    let serving = async {
        loop {
            match client.subscribe(subjects.trace()).await {
                Ok(mut asked) => {
                    while let Some(message) = asked.next().await {
                        let Some(reply) = message.reply else { continue };
                        let question = match rpc::from_slice(&message.payload) {
                            Ok(question) => question,
                            Err(error) => {
                                tracing::debug!(%error, "a question about the trace cannot be read");
                                continue;
                            }
                        };
                        let payload = rpc::to_vec(&answer(question).await);
                        if let Err(error) = client.publish(reply, payload.into()).await {
                            tracing::debug!(%error, "an answer about the trace was not sent");
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "nobody can ask for this process's trace; trying again"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = serving => {}
    }
}
