//! Talking: every device sends at its own pace and takes what it is shown; all of it is recorded.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use shared::client::{Client, Content, Delivery, Event, Events, InFlight, SendError, Stored};
use shared::ids::MessageId;
use shared::message::{Target, WantedAck};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::history::{Answer, AttemptNo, DeviceNo, History, Shown, TalkNo, What, text};
use super::people::{People, WINDOW};
use super::random::Random;

/// How a slow device is slow: so long a delivery, and one in so many hundredths of them makes it stop for longer.
const SLOW: Duration = Duration::from_millis(4);
const STALL: Duration = Duration::from_secs(3);
const STALLS_IN: usize = 400;

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
        tasks.spawn(receive(events, person.device, person.slow, Arc::clone(record), random(1 << 20)));
        let (client, talks) = (person.client.clone(), person.talks.clone());
        tasks.spawn(send(client, person.device, talks, every, Arc::clone(record), random(1 << 21)));
    }
    tasks
}

/// Sends until told to stop, then waits for what is in flight.
async fn send(
    client: Client,
    device: DeviceNo,
    talks: Vec<(TalkNo, Target)>,
    every: Duration,
    record: Arc<Record>,
    mut random: Random,
) {
    let mut flight = FuturesUnordered::new();
    let mut next = Instant::now() + every.mul_f64(random.below(1000) as f64 / 1000.0);
    loop {
        let stopped = record.stopped();
        if stopped && flight.is_empty() {
            return;
        }
        tokio::select! {
            biased;
            Some((attempt, answer)) = flight.next() => answered(&record, attempt, &answer),
            () = sleep_until(next), if !stopped && flight.len() < WINDOW => {
                // From half to one and a half of the mean; what an outage held back is not made up for.
                next = Instant::now() + every.mul_f64(0.5 + random.below(1000) as f64 / 1000.0);
                let Some((talk, target)) = random.pick(&talks) else { return };
                let attempt = record.history().begin(device, *talk, record.now_ms());
                match begin(&client, attempt, *target).await {
                    Ok(answer) => flight.push(async move { (attempt, answer.await) }),
                    // The client has ended; the reader of its events says why.
                    Err(_) => return,
                }
            }
            () = sleep(Duration::from_millis(200)), if !stopped => {}
        }
    }
}

async fn begin(client: &Client, attempt: AttemptNo, to: Target) -> Result<InFlight<Stored>, SendError> {
    let id = MessageId::new(&format!("c-{attempt}")).map_err(|_| SendError::Closed)?;
    client.begin_with(id, to, &text(attempt), WantedAck::Stored).await
}

fn answered(record: &Record, attempt: AttemptNo, answer: &Result<Stored, SendError>) {
    let answer = match answer {
        Ok(stored) => {
            Answer::Stored { seq: u32::try_from(stored.seq.0).unwrap_or(u32::MAX), at_ms: record.now_ms() }
        }
        Err(SendError::Refused(_)) => Answer::Refused,
        Err(SendError::Full | SendError::Closed) => return,
    };
    record.history().answered(attempt, answer);
}

async fn receive(mut events: Events, device: DeviceNo, slow: bool, record: Arc<Record>, mut random: Random) {
    while let Some(event) = events.next().await {
        match event {
            Event::Delivery(delivery) => {
                shown(&record, device, &delivery);
                if slow && !record.stopped() {
                    sleep(if random.below(STALLS_IN) == 0 { STALL } else { SLOW }).await;
                }
            }
            Event::Disconnected { .. } => record.history().disconnects += 1,
            Event::Replaced => ended(&record, device, "replaced"),
            Event::LoginRefused(refused) => ended(&record, device, &format!("login: {refused}")),
            Event::Refusal(refused) => ended(&record, device, &format!("an acknowledgement: {refused}")),
            Event::Unknown(frame) => ended(&record, device, &format!("an unknown frame: {frame}")),
            Event::Receipt(_) | Event::Connected { .. } | Event::Moved { .. } => {}
        }
    }
}

fn shown(record: &Record, device: DeviceNo, delivery: &Delivery) {
    let mut history = record.history();
    let talk = history.talk_of(&delivery.conversation);
    let what = match (&delivery.content, talk) {
        (Content::Text(text), Some(talk)) => history.what(talk, delivery.from, text),
        (Content::Request { .. }, Some(_)) => What::Request,
        (_, None) => What::Foreign,
    };
    let seq = u32::try_from(delivery.seq.0).unwrap_or(u32::MAX);
    history.show(device, Shown { talk: talk.unwrap_or(TalkNo::MAX), seq, what });
}

fn ended(record: &Record, device: DeviceNo, why: &str) {
    let mut history = record.history();
    let name = history.devices.get(usize::from(device)).map(|it| it.name.clone()).unwrap_or_default();
    history.ended.push(format!("{name}: {why}"));
}
