//! What was sent and has no answer yet, in the order of sending: what a reconnect sends again.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::BytesMut;
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::Instant,
};

use super::handle::{SendError, Stored};
use crate::{
    ids::{Conversation, MessageId},
    message::write::Success,
};

/// One message or request on its way.
#[derive(Debug)]
pub struct Outgoing {
    /// Its id.
    pub id: MessageId,
    /// Its counted frame.
    pub frame: Vec<u8>,
    /// Who waits.
    pub waiter: Waiter,
    /// Its place in the window, free again once it is answered.
    pub _permit: OwnedSemaphorePermit,
}

/// Who waits for the answer.
#[derive(Debug)]
pub enum Waiter {
    /// A message's sender, and the conversation it goes to.
    Message(oneshot::Sender<Result<Stored, SendError>>, Conversation),
    /// A request's.
    Request(oneshot::Sender<Result<Success, SendError>>),
}

impl Waiter {
    /// Tells of a failure. Someone who no longer waits is told nothing.
    pub fn fail(self, error: SendError) {
        match self {
            Self::Message(waiter, _) => drop(waiter.send(Err(error))),
            Self::Request(waiter) => drop(waiter.send(Err(error))),
        }
    }
}

/// Everything without an answer. Bounded by the window's permits.
#[derive(Debug, Default)]
pub struct Outstanding {
    queue: VecDeque<Sent>,
    written: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Sent {
    outgoing: Outgoing,
    at: Instant,
}

impl Outstanding {
    /// Nothing yet; what is written is counted here, each time anew.
    pub fn counted(written: Arc<AtomicU64>) -> Self {
        Self { queue: VecDeque::new(), written }
    }

    /// Writes it and remembers it.
    pub fn send(&mut self, outgoing: Outgoing, now: Instant, out: &mut BytesMut) {
        self.written.fetch_add(1, Ordering::Relaxed);
        out.extend_from_slice(&outgoing.frame);
        self.queue.push_back(Sent { outgoing, at: now });
    }

    /// Writes everything again, in order.
    pub fn send_again(&mut self, now: Instant, out: &mut BytesMut) {
        self.written.fetch_add(self.queue.len() as u64, Ordering::Relaxed);
        for sent in &mut self.queue {
            out.extend_from_slice(&sent.outgoing.frame);
            sent.at = now;
        }
    }

    /// When the one that waits longest was sent.
    pub fn oldest(&self) -> Option<Instant> {
        // Repeats go out together and what follows is younger: the front is the oldest.
        self.queue.front().map(|sent| sent.at)
    }

    /// Takes out the message of this id that waits longest.
    pub fn take_message(&mut self, id: &MessageId) -> Option<Outgoing> {
        self.take(|outgoing| outgoing.id == *id && matches!(outgoing.waiter, Waiter::Message(..)))
    }

    /// Takes out the request of this id.
    pub fn take_request(&mut self, id: &str) -> Option<Outgoing> {
        self.take(|outgoing| outgoing.id.as_str() == id && matches!(outgoing.waiter, Waiter::Request(_)))
    }

    /// Takes out what was refused: a request where the refusal names one, a message otherwise, whichever there is.
    pub fn take_refused(&mut self, id: &str, request: bool) -> Option<Outgoing> {
        self.take(|outgoing| {
            outgoing.id.as_str() == id && matches!(outgoing.waiter, Waiter::Request(_)) == request
        })
        .or_else(|| self.take(|outgoing| outgoing.id.as_str() == id))
    }

    /// Fails everything.
    pub fn fail(&mut self, error: &SendError) {
        for sent in self.queue.drain(..) {
            sent.outgoing.waiter.fail(error.clone());
        }
    }

    fn take(&mut self, is: impl Fn(&Outgoing) -> bool) -> Option<Outgoing> {
        // Answers come nearly in order, so what is looked for stands near the front.
        let at = self.queue.iter().position(|sent| is(&sent.outgoing))?;
        self.queue.remove(at).map(|sent| sent.outgoing)
    }
}
