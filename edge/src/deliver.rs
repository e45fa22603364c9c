//! What workers send to this node: taken strictly in order, queued at its sessions, then confirmed.
//!
//! | module | holds |
//! |---|---|
//! | [`crowds`] | waking the sessions of a large group without making others wait |
//! | [`senders`] | the place of each batch among those of its worker: a missing one is known by the next |

pub mod crowds;
pub mod senders;

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use metrics::Counter;
use shared::{
    delivery::{self, Delivery, Push},
    ids::Conversation,
    rpc::{ACCEPTED_HEADER, BATCH_HEADER},
    telemetry::{Metric, Moment},
};
use tokio_util::sync::CancellationToken;

use self::{
    crowds::{CROWD, Crowds},
    senders::Senders,
};
use crate::{
    broker::{Broker, Losses},
    context::Context,
    metric::{Mark, Marked, MarkedKind},
    outbox::{Close, Item, Outbox, Wakes},
};

/// Deliveries after which those that got something are woken; what one batch has for a session is mostly written at once.
const SLICE: usize = 256;
/// From accepting a frame to its answer or delivery, seconds: what takes longer is late. Alarms count on it.
const LATE: f64 = 1.0;

/// Hands deliveries to sessions.
#[derive(Debug)]
pub struct Deliver {
    context: Arc<Context>,
    counters: Counters,
    /// What had cost deliveries before the last batch.
    seen: Losses,
    senders: Senders,
    crowds: Crowds,
}

struct Counters {
    push: Counter,
    answer: Counter,
    receipt: Counter,
    replaced: Counter,
    revoked: Counter,
    resync: Counter,
    batches: Counter,
    unreadable: Counter,
    late_pushes: Counter,
    late_answers: Counter,
}

impl Deliver {
    /// For the sessions of this node.
    pub fn new(context: Arc<Context>) -> Self {
        let kind = |kind: &'static str| Metric::EdgeDeliveries.counter(&[("kind", kind)]);
        let batches = |result: &'static str| Metric::EdgeDeliveryBatches.counter(&[("result", result)]);
        let late = |kind: &'static str| Metric::EdgeDeliveriesLate.counter(&[("kind", kind)]);
        let counters = Counters {
            push: kind("push"),
            answer: kind("answer"),
            receipt: kind("receipt"),
            replaced: kind("replaced"),
            revoked: kind("revoked"),
            resync: kind("resync"),
            batches: batches("ok"),
            unreadable: batches("error"),
            late_pushes: late("push"),
            late_answers: late("answer"),
        };
        Self {
            context,
            counters,
            seen: Losses::default(),
            senders: Senders::default(),
            crowds: Crowds::default(),
        }
    }

    /// What wakes the sessions of crowds; [`Self::run`] runs it.
    #[cfg(test)]
    pub fn crowds(&self) -> &Crowds {
        &self.crowds
    }

    /// Handles what comes on the node's subject until `shutdown`.
    pub async fn run(
        mut self,
        mut subscription: BoxStream<'static, async_nats::Message>,
        broker: Broker,
        shutdown: CancellationToken,
    ) {
        self.seen = broker.losses();
        let crowds = self.crowds.clone();
        let mut waking = std::pin::pin!(crowds.run());
        loop {
            let message = tokio::select! {
                () = shutdown.cancelled() => return,
                message = subscription.next() => message,
                () = &mut waking => None,
            };
            let Some(message) = message else {
                return tracing::error!("the subscription to this node's subject has ended");
            };
            self.after(broker.losses());
            let place = message.headers.as_ref().and_then(|headers| headers.get(BATCH_HEADER));
            if let Some(place) = place
                && !self.senders.follows(place.as_str())
            {
                self.context.resync("gap");
            }
            let accepted = message.headers.as_ref().and_then(|headers| headers.get(ACCEPTED_HEADER));
            self.batch(&message.payload, accepted.and_then(|at| at.as_str().parse().ok()));
            // An empty reply is the confirmation: everything is queued, or its session will read its backlog.
            if let Some(reply) = message.reply
                && let Err(error) = broker.client().publish(reply, Bytes::new()).await
            {
                tracing::debug!(%error, "a confirmation could not be sent; the worker will ask for a resync");
            }
        }
    }

    /// Before a batch that came after these losses: what was lost with them may be what its first delivery follows, so
    /// every session reads its backlog. The heartbeat sees to the same, but only once it is answered.
    pub fn after(&mut self, losses: Losses) {
        let before = std::mem::replace(&mut self.seen, losses);
        if losses.reconnects != before.reconnects {
            self.context.resync("disconnected");
        } else if losses.dropped != before.dropped {
            self.context.resync("slow_consumer");
        }
    }

    /// One batch, in order. `accepted`: when the oldest frame of its chunk was, if that is known.
    pub fn batch(&self, batch: &Bytes, accepted: Option<Moment>) {
        match delivery::decode(batch) {
            Ok(deliveries) => {
                self.counters.batches.increment(1);
                let at = self.context.trace.delivering();
                // Each of them counts, as a slow worker's few batches hold many and a quick one's many hold few.
                let late = accepted.is_some_and(|accepted| accepted.elapsed() > LATE);
                let marks = Marks { accepted, set: [false; 6] };
                let mut to = Reached { at, late, later: Wakes::default(), marks };
                for (number, delivery) in deliveries.into_iter().enumerate() {
                    self.one(delivery, &mut to);
                    if number % SLICE == SLICE - 1 {
                        to.later.wake();
                    }
                }
            }
            Err(error) => {
                // Whatever it held is stored: reading the backlogs brings it. Sending it again would not.
                tracing::error!(%error, bytes = batch.len(), "a delivery batch cannot be read");
                self.counters.unreadable.increment(1);
                self.context.resync("unreadable");
            }
        }
    }

    fn one(&self, delivery: Delivery, to: &mut Reached) {
        let registry = &self.context.registry;
        match delivery {
            Delivery::Push(push) => {
                self.counters.push.increment(1);
                if to.late {
                    self.counters.late_pushes.increment(1);
                }
                self.push(push, to);
            }
            Delivery::Answer { user, session, place, body } => {
                self.counters.answer.increment(1);
                if to.late {
                    self.counters.late_answers.increment(1);
                }
                let body = Bytes::copy_from_slice(&body);
                let kind = kind(&body, place.map(|(conversation, _)| conversation));
                registry.of_user(user, |one| {
                    if one.who.session == session {
                        self.queue(one, Item::Answer { place, body: body.clone() }, &mut to.later);
                        to.marks.mark(one, Marked::Answer, kind);
                    }
                });
            }
            Delivery::Receipt { user, device, key, body } => {
                self.counters.receipt.increment(1);
                let body = Bytes::copy_from_slice(&body);
                registry.of_user(user, |one| {
                    if one.who.device == device {
                        self.queue(one, Item::Receipt(Box::new((key.clone(), body.clone()))), &mut to.later);
                    }
                });
            }
            Delivery::Replaced { user, device, below } => {
                self.counters.replaced.increment(1);
                registry.of_user(user, |one| {
                    if one.who.device == device && one.who.session < below {
                        one.close(Close::Replaced);
                    }
                });
            }
            Delivery::Revoked { user, device, below } => {
                self.counters.revoked.increment(1);
                registry.of_user(user, |one| {
                    let on_it = device.as_ref().is_none_or(|device| one.who.device == *device);
                    if on_it && below.is_none_or(|below| one.who.session < below) {
                        one.close(Close::Revoked);
                    }
                });
            }
            Delivery::Resync => {
                self.counters.resync.increment(1);
                self.context.resync("asked");
            }
        }
    }

    fn push(&self, mut push: Push, to: &mut Reached) {
        // A copy of its own: a frame that waits for a slow client must not keep a whole batch in memory. All sessions
        // that get it share this one.
        push.body = Bytes::copy_from_slice(&push.body);
        let kind = kind(&push.body, Some(push.conversation));
        let push = Arc::new(push);
        let (mut found, mut crowd) = (0, Wakes::default());
        let later = if push.to.len() > CROWD { &mut crowd } else { &mut to.later };
        for user in &push.to {
            found += self.context.registry.of_user(*user, |one| {
                if push.skip != Some(one.who.session) {
                    if !self.queue(one, Item::Push(push.clone()), later) {
                        self.context.trace.dropped(one, &push, to.at);
                    }
                    to.marks.mark(one, Marked::Push, kind);
                }
            });
        }
        self.context.trace.queued(&push, found, to.at);
        if !crowd.is_empty() {
            let mut writer = None;
            self.context.registry.of_user(push.from, |one| {
                if push.skip == Some(one.who.session) {
                    writer = Some(one.clone());
                }
            });
            self.crowds.wake(crowd, writer);
        }
        if found == 0 {
            self.context.metrics.nobody.increment(1);
        }
    }

    /// False: there was no room for it.
    fn queue(&self, session: &Outbox, item: Item, later: &mut Wakes) -> bool {
        let queued = session.queue_with(item, self.context.limits.outbox, later);
        if !queued {
            self.context.metrics.overflows.increment(1);
        }
        queued
    }
}

/// Whom a batch has reached.
struct Reached {
    /// When, for the trace.
    at: i64,
    /// It came late.
    late: bool,
    later: Wakes,
    marks: Marks,
}

/// Which deliveries of a batch are measured.
struct Marks {
    /// When the oldest frame of its chunk was accepted; without it none is.
    accepted: Option<Moment>,
    /// Of what and of which kind one has been marked.
    set: [bool; 6],
}

impl Marks {
    /// Marks what was queued last at this session, if it is the batch's first of its kind. Where there was no room the
    /// session reads its backlog, and the mark is dropped with what is not written live.
    fn mark(&mut self, session: &Outbox, what: Marked, kind: MarkedKind) {
        let place = what as usize * 3 + kind as usize;
        if let Some(accepted) = self.accepted
            && !std::mem::replace(&mut self.set[place], true)
        {
            session.mark(Mark { accepted, what, kind });
        }
    }
}

/// Of which kind the frame is to which this belongs: a request's answer is `[[rr]]`, what it shows to others is `[[r]]`.
fn kind(body: &[u8], conversation: Option<Conversation>) -> MarkedKind {
    match conversation {
        _ if body.get(2) == Some(&b'r') => MarkedKind::Request,
        Some(Conversation::Group(_)) => MarkedKind::Group,
        _ => MarkedKind::Message,
    }
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counters")
    }
}
