//! Tells workers which devices are there. Their rows are looked at by age, and a device that stays connected and hears
//! nothing for weeks would be taken for one that is gone.

use std::{sync::Arc, time::Duration};

use shared::rpc::{Done, Registration, Seen};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{calls::CallError, context::Context};

/// Far below the shortest time after which a device may be forgotten, a day.
pub const EVERY: Duration = Duration::from_secs(6 * 60 * 60);
/// Sessions of one call.
const PER_CALL: usize = 1000;

/// Tells it every [`EVERY`], until `shutdown`. What fails is told the next time.
pub async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval_at(Instant::now() + EVERY, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = tell(&context).await {
            tracing::warn!(%error, "workers were not told which devices are here; again in {EVERY:?}");
        }
    }
}

async fn tell(context: &Context) -> Result<(), CallError> {
    let mut sessions = Vec::new();
    context.registry.for_all(|session| {
        let who = &session.who;
        sessions.push(Registration { user: who.user, device: who.device.clone(), session: who.session });
    });
    for part in sessions.chunks(PER_CALL) {
        let call = Seen { sessions: part.to_vec() };
        context.calls.call::<_, Done>("session.seen", &call, context.calls.timeout()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Client, Node};

    #[tokio::test]
    async fn every_session_is_told() {
        let node = Node::start(|_| ()).await;
        let _one = Client::logged_in(&node, 1, "pad").await;
        let _other = Client::logged_in(&node, 2, "phone").await;
        tell(&node.context).await.unwrap();
        let world = node.world.borrow();
        let mut seen: Vec<_> =
            world.seen.iter().map(|one| (one.user.0, one.device.as_str().to_owned())).collect();
        seen.sort();
        assert_eq!(seen, [(1, "pad".to_owned()), (2, "phone".to_owned())]);
    }
}
