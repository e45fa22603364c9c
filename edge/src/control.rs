//! What operators tell this node: to drain, and to close connections.

use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use shared::{
    command::Code,
    control::{Control, Controlled},
    ids::NodeId,
    rpc::{self, ERROR_HEADER},
    subject::Subjects,
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use crate::{drain::Drain, outbox::Close, registry::Registry};

/// Listens to operators until the node ends.
#[derive(Debug)]
pub struct Controls {
    node: NodeId,
    registry: Arc<Registry>,
    client: Client,
    own: Subscriber,
    all: Subscriber,
    drain: Drain,
}

impl Controls {
    /// Subscribes, for what is told about these sessions and this drain.
    ///
    /// # Errors
    /// The broker's client has ended.
    pub async fn open(
        client: &Client,
        subjects: &Subjects,
        node: &NodeId,
        (registry, drain): (&Arc<Registry>, &Drain),
    ) -> Result<Self, async_nats::SubscribeError> {
        Ok(Self {
            node: node.clone(),
            registry: registry.clone(),
            client: client.clone(),
            own: client.subscribe(subjects.control(node)).await?,
            all: client.subscribe(subjects.control_all()).await?,
            drain: drain.clone(),
        })
    }

    /// Obeys until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let message = tokio::select! {
                () = shutdown.cancelled() => return,
                Some(message) = self.own.next() => message,
                Some(message) = self.all.next() => message,
                else => return tracing::error!("the subscriptions to this node's control subjects have ended"),
            };
            self.told(message).await;
        }
    }

    async fn told(&self, message: Message) {
        let (payload, headers) = match rpc::from_slice::<Control>(&message.payload) {
            Ok(told) => {
                tracing::info!(?told, "an operator tells this node");
                let sessions = obey(&told, &self.registry, &self.drain) as u64;
                (rpc::to_vec(&Controlled { node: self.node.clone(), sessions }), None)
            }
            Err(error) => {
                let reason = error.message().to_owned();
                tracing::warn!(reason, "what an operator tells this node cannot be read");
                let mut headers = async_nats::HeaderMap::new();
                headers.insert(ERROR_HEADER, Code::Unknown.as_str());
                (reason.into_bytes(), Some(headers))
            }
        };
        let Some(to) = message.reply else { return };
        let payload = Bytes::from(payload);
        let sent = match headers {
            Some(headers) => self.client.publish_with_headers(to, headers, payload).await,
            None => self.client.publish(to, payload).await,
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "an operator was not answered");
        }
    }
}

/// Does it; how many sessions it concerns.
fn obey(told: &Control, registry: &Registry, drain: &Drain) -> usize {
    let mut closed = 0;
    match told {
        Control::Drain => {
            drain.begin("an operator");
            return registry.len();
        }
        Control::Kick { user, device } => {
            registry.of_user(*user, |one| {
                if device.as_ref().is_none_or(|device| one.who.device == *device) {
                    one.close(Close::Kicked);
                    closed += 1;
                }
            });
        }
        Control::Revoke { user, device, below } => {
            registry.of_user(*user, |one| {
                if one.who.device == *device && one.who.session < *below {
                    one.close(Close::Revoked);
                    closed += 1;
                }
            });
        }
    }
    closed
}

#[cfg(test)]
mod tests {
    use shared::ids::{Device, SessionNo, UserId};

    use super::*;
    use crate::testing::session;

    #[test]
    fn only_what_is_named_is_closed() {
        let registry = Arc::new(Registry::default());
        let drain = Drain::new(CancellationToken::new());
        let (pad, phone, other) = (session(1, "pad", 5), session(1, "phone", 9), session(2, "pad", 7));
        let _held = [&pad, &phone, &other].map(|one| registry.add(one.clone()));
        let (user, device) = (UserId(1), Device::new("pad").unwrap());
        let revoke = |below| Control::Revoke { user, device: device.clone(), below: SessionNo(below) };
        assert_eq!(obey(&revoke(5), &registry, &drain), 0, "it began after that");
        assert_eq!(obey(&revoke(6), &registry, &drain), 1);
        assert_eq!(pad.take().close, Some(Close::Revoked));
        assert_eq!(obey(&Control::Kick { user, device: None }, &registry, &drain), 2);
        assert_eq!(phone.take().close, Some(Close::Kicked));
        assert_eq!(pad.take().close, Some(Close::Revoked), "the first reason stands");
        assert_eq!(other.take().close, None);
        assert!(!drain.has_begun());
        assert_eq!(obey(&Control::Drain, &registry, &drain), 3);
        assert!(drain.has_begun());
    }
}
