//! Talking: every device sends at its own pace and takes what it is shown; all of it is recorded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;
use shared::client::{Client, Content, Delivery, Event, Events, Options, SendError, Stored};
use shared::ids::MessageId;
use shared::message::{Target, WantedAck};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::history::{Answer, AttemptNo, DeviceNo, Gap, History, Shown, TalkNo, What, text};
use super::people::{People, WINDOW};
use super::random::Random;

/// How a slow device is slow: so long a delivery, and one of so many makes it stop for longer, in which more comes than its
/// edge sends it unacknowledged (`world::EDGE`): it falls behind and is served from PostgreSQL.
const SLOW: Duration = Duration::from_millis(10);
const STALL: Duration = Duration::from_secs(6);
const STALLS_IN: usize = 300;
/// One message in so many is followed by a lost connection.
const DROPS_IN: usize = 400;
/// How long a device that goes away stays, and how long it is away, milliseconds.
const STAYS_MS: (u64, u64) = (4_000, 15_000);
const AWAY_MS: (u64, u64) = (200, 6_000);

/// What all tasks of a run share.
#[derive(Debug)]
pub struct Record {
    began: Instant,
    history: Mutex<History>,
    stop: AtomicBool,
}

impl Record {
    /// From now on.
    pub fn new(history: History) -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), history: Mutex::new(history), stop: AtomicBool::new(false) })
    }

    /// Milliseconds since the begin.
    pub fn now_ms(&self) -> u32 {
        u32::try_from(self.began.elapsed().as_millis()).unwrap_or(u32::MAX)
    }

    /// What is recorded so far.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nobody sends anything new.
    pub fn stop_sending(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Starts everybody: `rate` messages a second over all devices.
pub fn start(
    people: &People,
    events: Vec<Events>,
    record: &Arc<Record>,
    rate: u32,
    seed: u64,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let every = Duration::from_secs(1).mul_f64(people.devices.len() as f64 / f64::from(rate.max(1)));
    for (person, events) in people.devices.iter().zip(events) {
        let random = |part| Random::part(seed, part + u64::from(person.device));
        let reader = Reader {
            device: person.device,
            slow: person.slow,
            leaves: person.leaves,
            record: Arc::clone(record),
        };
        let sender = Sender {
            device: person.device,
            talks: person.talks.clone(),
            every,
            next: Instant::now() + every,
            flight: FuturesUnordered::new(),
            pending: BTreeMap::new(),
            record: Arc::clone(record),
            random: random(1 << 21),
        };
        let (slot, options) = (Arc::clone(&person.client), person.options.clone());
        let leaves = person.leaves.then(|| random(1 << 22));
        tasks.spawn(live(slot, options, events, sender, reader, leaves, random(1 << 20)));
    }
    tasks
}

/// One device's life: one client, or, if it leaves, one after the other.
async fn live(
    slot: Arc<Mutex<Client>>,
    options: Options,
    mut events: Events,
    mut sender: Sender,
    reader: Reader,
    mut leaves: Option<Random>,
    mut reading: Random,
) {
    let record = Arc::clone(&sender.record);
    loop {
        let client = slot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stays = match &mut leaves {
            Some(random) => Duration::from_millis(random.between(STAYS_MS.0, STAYS_MS.1)),
            None => Duration::MAX,
        };
        let talk = async {
            let left = timeout(stays, sender.send(&client)).await.is_err();
            if left {
                // At once, whatever is in flight: it is sent again after the return.
                client.close().await;
                record.history().written += client.written();
            }
            left
        };
        let (left, ()) = tokio::join!(talk, reader.receive(&mut events, &mut reading));
        let Some(random) = leaves.as_mut().filter(|_| left) else { break };
        sleep(Duration::from_millis(random.between(AWAY_MS.0, AWAY_MS.1))).await;
        match Client::connect(options.clone()).await {
            Ok((client, anew)) => {
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = client;
                events = anew;
                record.history().returns += 1;
            }
            Err(error) => return ended(&record, reader.device, &format!("on its return: {error}")),
        }
    }
}

/// What sends for one device, over all its clients.
struct Sender {
    device: DeviceNo,
    talks: Vec<(TalkNo, Target)>,
    every: Duration,
    next: Instant,
    flight: FuturesUnordered<Flying>,
    /// What has no answer yet.
    pending: BTreeMap<AttemptNo, Target>,
    record: Arc<Record>,
    random: Random,
}

type Flying = BoxFuture<'static, (AttemptNo, Result<Stored, SendError>)>;

impl Sender {
    /// Sends until told to stop, then waits for what is in flight. May be dropped at any await.
    async fn send(&mut self, client: &Client) {
        // What was in flight at the client before, in its order.
        self.flight.clear();
        for (attempt, target) in self.pending.clone() {
            if !self.begin(client, attempt, target).await {
                return;
            }
        }
        loop {
            let stopped = self.record.stopped();
            if stopped && self.flight.is_empty() {
                return;
            }
            tokio::select! {
                biased;
                Some((attempt, answer)) = self.flight.next() => self.answered(attempt, &answer),
                () = sleep_until(self.next), if !stopped && self.flight.len() < WINDOW => {
                    // From half to one and a half of the mean; what an outage held back is not made up for.
                    self.next = Instant::now() + self.every.mul_f64(0.5 + self.random.below(1000) as f64 / 1000.0);
                    let Some(&(talk, target)) = self.random.pick(&self.talks) else { return };
                    let attempt = self.record.history().begin(self.device, talk, self.record.now_ms());
                    self.pending.insert(attempt, target);
                    if !self.begin(client, attempt, target).await {
                        return;
                    }
                    if self.random.below(DROPS_IN) == 0 {
                        // One that has ended says so among its events.
                        drop(client.reconnect().await);
                    }
                }
                () = sleep(Duration::from_millis(200)), if !stopped => {}
            }
        }
    }

    /// False: the client has ended; the reader of its events says why.
    async fn begin(&mut self, client: &Client, attempt: AttemptNo, to: Target) -> bool {
        let Ok(id) = MessageId::new(&format!("c-{attempt}")) else { return false };
        match client.begin_with(id, to, &text(attempt), WantedAck::Stored).await {
            Ok(answer) => {
                self.flight.push(async move { (attempt, answer.await) }.boxed());
                true
            }
            Err(_) => false,
        }
    }

    fn answered(&mut self, attempt: AttemptNo, answer: &Result<Stored, SendError>) {
        let answer = match answer {
            Ok(stored) => Answer::Stored {
                seq: u32::try_from(stored.seq.0).unwrap_or(u32::MAX),
                at_ms: self.record.now_ms(),
            },
            Err(SendError::Refused(_)) => Answer::Refused,
            Err(SendError::Full | SendError::Closed) => return,
        };
        self.pending.remove(&attempt);
        self.record.history().answered(attempt, answer);
    }
}

/// What takes one device's deliveries.
struct Reader {
    device: DeviceNo,
    slow: bool,
    leaves: bool,
    record: Arc<Record>,
}

impl Reader {
    /// Until the client has ended.
    async fn receive(&self, events: &mut Events, random: &mut Random) {
        let (record, device) = (&self.record, self.device);
        // A connection that this client gave up itself says nothing about the system.
        let mut own = false;
        while let Some(event) = events.next().await {
            match event {
                Event::Delivery(delivery) => {
                    self.shown(&delivery);
                    if self.slow && !record.stopped() {
                        sleep(if random.below(STALLS_IN) == 0 { STALL } else { SLOW }).await;
                    }
                }
                Event::Disconnected { reason } => {
                    own = reason.contains("the application asked");
                    record.history().disconnects += 1;
                }
                Event::Connected { away, .. } => {
                    let lasted_ms = u32::try_from(away.as_millis()).unwrap_or(u32::MAX);
                    let gap = Gap { device, at_ms: record.now_ms(), lasted_ms };
                    if !std::mem::take(&mut own) {
                        record.history().gaps.push(gap);
                    }
                }
                Event::Replaced => ended(record, device, "replaced"),
                Event::LoginRefused(refused) => ended(record, device, &format!("login: {refused}")),
                Event::Refusal(refused) => ended(record, device, &format!("an acknowledgement: {refused}")),
                Event::Unknown(frame) => ended(record, device, &format!("an unknown frame: {frame}")),
                Event::Receipt(_) | Event::Moved { .. } => {}
            }
        }
    }

    fn shown(&self, delivery: &Delivery) {
        let mut history = self.record.history();
        let talk = history.talk_of(&delivery.conversation);
        let what = match (&delivery.content, talk) {
            (Content::Text(text), Some(talk)) => history.what(talk, delivery.from, text),
            (Content::Request { .. }, Some(_)) => What::Request,
            (_, None) => What::Foreign,
        };
        let seq = u32::try_from(delivery.seq.0).unwrap_or(u32::MAX);
        let shown = Shown { talk: talk.unwrap_or(TalkNo::MAX), seq, what };
        if let What::Attempt(attempt) = what
            && !(self.slow || self.leaves)
        {
            history.shown_after(attempt, self.record.now_ms());
        }
        if self.leaves { history.show_once(self.device, shown) } else { history.show(self.device, shown) }
    }
}

fn ended(record: &Record, device: DeviceNo, why: &str) {
    let mut history = record.history();
    let name = history.devices.get(usize::from(device)).map(|it| it.name.clone()).unwrap_or_default();
    history.ended.push(format!("{name}: {why}"));
}
