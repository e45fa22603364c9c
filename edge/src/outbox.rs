//! What waits for one session: the only way by which the rest of the node reaches it.
//!
//! Capacity: `limits.outbox` entries or [`Outbox`]'s bytes. When full: the entry is dropped, counted, and the session
//! reads its backlog; an answer lost so is asked for again by the client.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use shared::{
    delivery::{Delivery, Push, ReceiptKey},
    ids::{Conversation, MessageId, Seq},
    message::Sender,
};

use crate::metric::Mark;

/// One thing for a session to handle, in order.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named by what they carry; see shared::delivery")]
pub enum Item {
    Push(Arc<Push>),
    Answer {
        place: Option<(Conversation, Seq)>,
        body: Bytes,
    },
    Receipt(Box<(ReceiptKey, Bytes)>),
    /// A frame of the node's own: a notice.
    Notice(Bytes),
    /// The broker holds this message, and its sender wanted to know.
    Queued(MessageId),
    /// The backlog read under way has ended.
    Page(Page),
}

/// How a backlog read ended.
#[derive(Debug, Clone)]
pub enum Page {
    /// With entries, and whether there are more.
    Read(Vec<Delivery>, bool),
    /// The worker says that this session is over, and why.
    Over(Close),
}

/// Why a session is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// Its device logged in again.
    Replaced,
    /// Its token is gone.
    Revoked,
    /// An operator wants it closed; its client may come back.
    Kicked,
    /// This node is draining.
    Drain,
    /// The broker's stream was wiped, and what the session sent may be gone with it: its client is to send again.
    Wiped,
}

/// Sessions that are to be woken together; they are when this is dropped.
#[derive(Debug, Default)]
pub struct Wakes {
    wakers: Vec<Waker>,
}

impl Wakes {
    /// Wakes them now.
    pub fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.wakers.is_empty()
    }

    /// Leaves waking them to somebody else.
    pub fn into_wakers(mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }
}

impl FromIterator<Waker> for Wakes {
    fn from_iter<T: IntoIterator<Item = Waker>>(wakers: T) -> Self {
        Self { wakers: wakers.into_iter().collect() }
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        self.wake();
    }
}

/// One session, as the rest of the node sees it.
#[derive(Debug)]
pub struct Outbox {
    /// Whose it is.
    pub who: Arc<Sender>,
    state: Mutex<State>,
    /// With [`HELD`] where that holds.
    unpublished: AtomicU32,
    stream: AtomicU32,
}

/// It is not read, however few of its frames are unpublished: more than any limit.
const HELD: u32 = 1 << 31;

#[derive(Debug, Default)]
struct State {
    items: Vec<Item>,
    bytes: u32,
    behind: Option<&'static str>,
    close: Option<Close>,
    /// In a box: few sessions have one at a time, and all have room for it.
    mark: Option<Box<Mark>>,
    gone: bool,
    /// Somebody has woken the session since it last looked.
    woken: bool,
    /// How to wake its task, while that waits.
    waker: Option<Waker>,
}

/// All that has gathered.
#[derive(Debug, Default)]
#[must_use]
pub struct Taken {
    /// In order of arrival.
    pub items: Vec<Item>,
    /// Something was dropped or may have been, before, between or after the items, and why: read the backlog, and
    /// know it before handling them. Whoever takes an item sees every drop before it: both change under one lock.
    pub behind: Option<&'static str>,
    /// End, after the items.
    pub close: Option<Close>,
    /// One of the items whose writing is to be measured.
    pub mark: Option<Box<Mark>>,
}

/// The most bytes of frames that wait for one session.
pub const MAX_BYTES: usize = 1 << 20;

impl Outbox {
    /// An empty one.
    pub fn new(who: Arc<Sender>) -> Self {
        Self { who, state: Mutex::default(), unpublished: AtomicU32::new(0), stream: AtomicU32::new(0) }
    }

    /// Queues an item. False: it was full, the item is dropped and the session will read its backlog.
    pub fn queue(&self, item: Item, capacity: usize) -> bool {
        let (queued, waker) = self.put(item, capacity);
        if let Some(waker) = waker {
            waker.wake();
        }
        queued
    }

    /// As [`Self::queue`]; the session is woken with everybody in `later`, so that it writes once what comes together.
    pub fn queue_with(&self, item: Item, capacity: usize, later: &mut Wakes) -> bool {
        let (queued, waker) = self.put(item, capacity);
        later.wakers.extend(waker);
        queued
    }

    fn put(&self, item: Item, capacity: usize) -> (bool, Option<Waker>) {
        let mut state = self.state();
        if state.gone {
            return (true, None);
        }
        let (size, held) = (item.size(), state.bytes as usize);
        let page = matches!(item, Item::Page(_));
        // Answers are held by their bytes alone: a client that sends fast gets thousands in one batch, and no backlog
        // brings one that was dropped.
        let counted = !matches!(item, Item::Answer { .. });
        // A page is never dropped: there is at most one, and the session waits for it.
        let room = page || ((!counted || state.items.len() < capacity) && held + size <= MAX_BYTES.max(size));
        if room {
            state.bytes = u32::try_from(held + size).unwrap_or(u32::MAX);
            state.items.push(item);
        } else {
            state.behind = Some("overflow");
        }
        state.woken = true;
        (room, state.waker.take())
    }

    /// Marks the item queued last, if it still waits and none is marked. Wakes nobody.
    pub fn mark(&self, mark: Mark) {
        let mut state = self.state();
        // A mark without its item would be measured with the next one, whenever that comes.
        if !state.items.is_empty() {
            state.mark.get_or_insert_with(|| Box::new(mark));
        }
    }

    /// Something may have been missed: the session is to read its backlog, and why.
    pub fn behind(&self, why: &'static str) {
        let mut state = self.state();
        state.behind = Some(why);
        wake(state);
    }

    /// Tells the session to end. The first reason stands.
    pub fn close(&self, why: Close) {
        let mut state = self.state();
        state.close.get_or_insert(why);
        wake(state);
    }

    /// The session has ended: nothing is kept any more.
    pub fn gone(&self) {
        *self.state() = State { gone: true, ..State::default() };
    }

    /// Whether the session has ended.
    pub fn is_gone(&self) -> bool {
        self.state().gone
    }

    /// Takes all that has gathered.
    pub fn take(&self) -> Taken {
        let mut state = self.state();
        state.bytes = 0;
        Taken {
            items: std::mem::take(&mut state.items),
            behind: std::mem::take(&mut state.behind),
            close: state.close,
            mark: state.mark.take(),
        }
    }

    /// Wakes the session to look around.
    pub fn wake(&self) {
        wake(self.state());
    }

    /// Ready once somebody has woken the session since this last was. One task waits at a time: the session's own.
    pub fn poll_woken(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if std::mem::take(&mut state.woken) {
            return Poll::Ready(());
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            state.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// The session begins with this one of the broker's streams.
    pub fn begin(&self, stream: u32) {
        self.stream.store(stream, Ordering::Relaxed);
    }

    /// With which of the broker's streams it has begun: into a later one it publishes nothing.
    pub fn stream(&self) -> u32 {
        self.stream.load(Ordering::Relaxed)
    }

    /// One more frame of this session has been given to the publisher.
    pub fn publishing(&self) {
        self.unpublished.fetch_add(1, Ordering::Relaxed);
    }

    /// The broker holds this many frames of the session. Wakes it if it waited below `limit`.
    pub fn published(&self, frames: u32, limit: usize) {
        let before = self.unpublished.fetch_sub(frames, Ordering::Relaxed) as usize;
        if before >= limit && before - (frames as usize) < limit {
            self.wake();
        }
    }

    /// Frames given to the publisher that the broker has not confirmed.
    pub fn unpublished(&self) -> usize {
        (self.unpublished.load(Ordering::Relaxed) & !HELD) as usize
    }

    /// The session is not to be read until [`Self::release`].
    pub fn hold(&self) {
        self.unpublished.fetch_or(HELD, Ordering::Relaxed);
    }

    /// It may be read again, and is woken for it.
    pub fn release(&self) {
        self.unpublished.fetch_and(!HELD, Ordering::Relaxed);
        self.wake();
    }

    /// Whether it may be read: nothing holds it, and fewer frames than `limit` are unpublished.
    pub fn may_be_read(&self, limit: usize) -> bool {
        (self.unpublished.load(Ordering::Relaxed) as usize) < limit
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds this; a poisoned lock would still hold a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    state.woken = true;
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Item {
    fn size(&self) -> usize {
        match self {
            Self::Push(push) => push.body.len(),
            Self::Answer { body, .. } | Self::Notice(body) => body.len(),
            Self::Receipt(receipt) => receipt.1.len(),
            Self::Queued(id) => id.as_str().len(),
            Self::Page(_) => 0,
        }
    }
}
