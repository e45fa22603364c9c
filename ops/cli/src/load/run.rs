//! The measured part of a run.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use futures::{StreamExt, stream::FuturesUnordered};
use shared::{
    client::{Client, Event, Events},
    message::{Target, WantedAck},
};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{Options, cpu, people::Pair};
use crate::record::Stack;

/// How long is waited, after the last message was sent, for acks and deliveries.
const QUIET: Duration = Duration::from_secs(15);

/// What was seen.
#[derive(Debug, Default)]
pub struct Measured {
    /// Acked within the measured time.
    pub acked: u64,
    /// The measured time.
    pub seconds: f64,
    /// From when a message should have left to its ack, microseconds, in the measured time.
    pub latencies: Vec<u32>,
    /// Messages acked in all, warming included.
    pub acked_in_all: u64,
    /// Deliveries in all.
    pub delivered: u64,
    /// Deliveries whose `seq` did not follow the last one.
    pub reordered: u64,
    /// CPU microseconds in the measured time, by kind of process.
    pub cpu: BTreeMap<&'static str, u64>,
}

/// How senders go about it.
#[derive(Clone, Copy, Debug)]
pub enum Drive {
    /// Each keeps so many messages in flight.
    Closed {
        /// How many.
        window: usize,
    },
    /// On schedule, whatever comes back.
    Open {
        /// Messages a second, over all senders.
        rate: u64,
    },
}

#[derive(Default)]
struct Clock {
    measuring: AtomicBool,
    stop: AtomicBool,
}

/// Runs all pairs at once.
pub async fn measure(options: &Options, drive: Drive, pairs: Vec<Pair>, stack: &Stack) -> Result<Measured> {
    let clock = Arc::new(Clock::default());
    let (delivered, reordered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (mut senders, mut readers) = (JoinSet::new(), JoinSet::new());
    let text: Arc<str> = "x".repeat(options.body).into();
    let count = pairs.len();
    for (number, pair) in pairs.into_iter().enumerate() {
        let (delivered, reordered) = (delivered.clone(), reordered.clone());
        let to = Target::User(pair.receiver.user());
        readers.spawn(read(pair.receiver, pair.receiver_events, delivered, reordered));
        readers.spawn(drain(pair.sender_events));
        let (clock, text) = (clock.clone(), text.clone());
        match drive {
            Drive::Closed { window } => senders.spawn(closed(pair.sender, to, text, window, clock)),
            Drive::Open { rate } => {
                let every = Duration::from_secs(1).mul_f64(count as f64 / rate as f64);
                let first = every.mul_f64(number as f64 / count as f64);
                senders.spawn(open(pair.sender, to, text, first, every, clock))
            }
        };
    }
    sleep(Duration::from_secs(options.warm)).await;
    let (before, begun) = (cpu::spent(stack), Instant::now());
    clock.measuring.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(options.secs)).await;
    clock.measuring.store(false, Ordering::Relaxed);
    let (after, seconds) = (cpu::spent(stack), begun.elapsed().as_secs_f64());
    clock.stop.store(true, Ordering::Relaxed);

    let mut measured = Measured { seconds, ..Measured::default() };
    for (kind, spent) in after {
        measured.cpu.insert(kind, spent.saturating_sub(before.get(kind).copied().unwrap_or(0)));
    }
    let mut kept = Vec::new();
    while let Ok(Some(sender)) = timeout(QUIET, senders.join_next()).await {
        let (client, acked, latencies) = sender?;
        measured.acked += latencies.len() as u64;
        measured.acked_in_all += acked;
        measured.latencies.extend(latencies);
        kept.push(client);
    }
    let waited = Instant::now();
    while delivered.load(Ordering::Relaxed) < measured.acked_in_all && waited.elapsed() < QUIET {
        sleep(Duration::from_millis(20)).await;
    }
    measured.delivered = delivered.load(Ordering::Relaxed);
    measured.reordered = reordered.load(Ordering::Relaxed);
    measured.latencies.sort_unstable();
    readers.shutdown().await;
    Ok(measured)
}

type Sent = (Client, u64, Vec<u32>);

/// Keeps `window` messages in flight until told to stop.
async fn closed(client: Client, to: Target, text: Arc<str>, window: usize, clock: Arc<Clock>) -> Sent {
    let (mut acked, mut latencies) = (0, Vec::new());
    let mut flight = FuturesUnordered::new();
    loop {
        while flight.len() < window && !clock.stop.load(Ordering::Relaxed) {
            let left = Instant::now();
            let Ok(message) = client.begin(to, &text, WantedAck::Stored).await else { break };
            flight.push(async move { (message.await.is_ok(), left) });
        }
        let Some((stored, left)) = flight.next().await else { break };
        acked += u64::from(stored);
        if stored && clock.measuring.load(Ordering::Relaxed) {
            latencies.push(micros(left));
        }
    }
    (client, acked, latencies)
}

/// Sends on schedule, whatever comes back.
async fn open(
    client: Client,
    to: Target,
    text: Arc<str>,
    first: Duration,
    every: Duration,
    clock: Arc<Clock>,
) -> Sent {
    let (mut acked, mut latencies) = (0, Vec::new());
    let mut flight = FuturesUnordered::new();
    sleep(first).await;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !clock.stop.load(Ordering::Relaxed) || !flight.is_empty() {
        tokio::select! {
            biased;
            Some((stored, due)) = flight.next() => {
                acked += u64::from(stored);
                if stored && clock.measuring.load(Ordering::Relaxed) {
                    latencies.push(micros(due));
                }
            }
            due = ticks.tick(), if !clock.stop.load(Ordering::Relaxed) => {
                let Ok(message) = client.begin(to, &text, WantedAck::Stored).await else { break };
                flight.push(async move { (message.await.is_ok(), due) });
            }
        }
    }
    (client, acked, latencies)
}

async fn read(client: Client, mut events: Events, delivered: Arc<AtomicU64>, reordered: Arc<AtomicU64>) {
    let mut last = 0;
    while let Some(event) = events.next().await {
        if let Event::Delivery(delivery) = event {
            reordered.fetch_add(u64::from(delivery.seq.0 != last + 1), Ordering::Relaxed);
            last = delivery.seq.0;
            delivered.fetch_add(1, Ordering::Relaxed);
        }
    }
    drop(client);
}

async fn drain(mut events: Events) {
    while events.next().await.is_some() {}
}

fn micros(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX)
}
