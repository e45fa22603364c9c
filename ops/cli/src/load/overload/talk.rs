//! A sender on schedule, and a receiver that acknowledges what it is sent.

use std::{
    fmt::Write,
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use shared::frame::{self, Form};
use tokio::{
    io::AsyncWriteExt,
    net::tcp::OwnedWriteHalf,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    Phase, Seat,
    line::{self, Got, Input},
    tally::{Shown, Tally, add},
};

/// How often a sender looks at its schedule.
const TICK: Duration = Duration::from_millis(10);
/// The most messages of one write.
const AT_ONCE: u64 = 64;
/// The most messages sent again at once.
const AGAIN_AT_ONCE: usize = 10_000;
/// The most acknowledgements of one frame.
const ACKS: usize = 200;
/// How long a sender waits for an answer, any answer, before it sends again what has none.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a receiver waits before it connects again.
const AGAIN: Duration = Duration::from_secs(2);

/// Writes messages of `body` bytes, `rate` a second, whenever the socket takes them, until the overload is over; then
/// again what is not answered, until everything is.
pub async fn send(
    mut output: OwnedWriteHalf,
    to: u64,
    body: usize,
    rate: f64,
    phase: Arc<Phase>,
    tally: Arc<Tally>,
) {
    let text = "x".repeat(body);
    let mut out = Vec::new();
    let (mut written, mut shed) = (0, 0);
    let (began, mut ticks) = (Instant::now(), interval(TICK));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !phase.over.load(Ordering::Relaxed) {
        let due = (began.elapsed().as_secs_f64() * rate) as u64;
        let owed = due.saturating_sub(written + shed);
        let late = owed.saturating_sub(rate.ceil() as u64);
        shed += late;
        add(&tally.shed, late);
        let now = (owed - late).min(AT_ONCE);
        if now == 0 {
            ticks.tick().await;
            continue;
        }
        out.clear();
        messages(written + 1..=written + now, &text, to, &mut out);
        // Before its answers can come.
        tally.open().wrote(now);
        // To its end, also when the overload is over meanwhile: half a frame would say nothing.
        if output.write_all(&out).await.is_err() {
            return;
        }
        written += now;
        add(&tally.written, now);
    }
    let (mut acked, mut since) = (0, Instant::now());
    loop {
        let open = tally.open().oldest(AGAIN_AT_ONCE);
        if open.is_empty() {
            // Its own end would end the other half too early: acks may come twice.
            return output.forget();
        }
        let now = tally.acked.load(Ordering::Relaxed);
        if now != acked {
            (acked, since) = (now, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            out.clear();
            add(&tally.again, open.len() as u64);
            messages(open, &text, to, &mut out);
            if output.write_all(&out).await.is_err() {
                return;
            }
            since = Instant::now();
        }
        sleep(TICK * 10).await;
    }
}

fn messages(ids: impl IntoIterator<Item = u64>, text: &str, to: u64, out: &mut Vec<u8>) {
    for id in ids {
        let entry = format!("[[m]]\nid = \"{id}\"\nc = \"{text}\"\nto = {to}\n");
        frame::write(Form::Counted, entry.as_bytes(), out);
    }
}

/// Counts a sender's acks, as fast as they come.
pub async fn acks(mut input: Input, tally: Arc<Tally>) {
    let mut came = Vec::new();
    while input.some(&mut came).await.is_ok() {
        for got in came.drain(..) {
            match got {
                Got::Stored { id, seq } => {
                    tally.highest.fetch_max(seq, Ordering::Relaxed);
                    // One that comes again is of a chunk that another worker replayed.
                    let fresh = tally.open().answered(id);
                    add(&tally.acked, u64::from(fresh));
                }
                Got::Refused { id, frame } => {
                    let fresh = id.is_none_or(|id| tally.open().answered(id));
                    add(&tally.refused, u64::from(fresh));
                    tracing::debug!(frame, "a message was refused");
                }
                Got::Delivery { .. } | Got::Done | Got::Other => {}
            }
        }
    }
    add(&tally.cut, 1);
}

/// Acknowledges what comes; at most `slow` deliveries a second, where given, until the overload is over. Connects again
/// when it is cut off.
pub async fn receive(seat: Seat, from: u64, slow: Option<f64>, phase: Arc<Phase>, tally: Arc<Tally>) {
    let mut shown = Shown::default();
    loop {
        if let Ok((input, output)) = line::open(&seat, slow.is_some()).await {
            let connection = Connection { input, output, from, slow, phase: &phase, tally: &tally };
            if let Err(error) = connection.serve(&mut shown).await {
                tracing::debug!(%error, "a receiver connects again");
            }
        }
        add(&tally.cut, 1);
        sleep(AGAIN).await;
    }
}

struct Connection<'a> {
    input: Input,
    output: OwnedWriteHalf,
    from: u64,
    slow: Option<f64>,
    phase: &'a Phase,
    tally: &'a Tally,
}

impl Connection<'_> {
    async fn serve(mut self, shown: &mut Shown) -> io::Result<()> {
        let mut came = Vec::new();
        // Acknowledgements not yet written: no more than the server sends without them.
        let (mut out, mut at) = (Vec::new(), 0);
        loop {
            tokio::select! {
                read = self.input.some(&mut came) => read?,
                count = self.output.write(&out[at..]), if at < out.len() => {
                    at += count?;
                    if at == out.len() {
                        out.clear();
                        at = 0;
                    }
                    continue;
                }
            }
            let deliveries: Vec<(u64, u64)> = came
                .drain(..)
                .filter_map(|got| match got {
                    Got::Delivery { id, seq } => Some((id, seq)),
                    _ => None,
                })
                .collect();
            for (id, seq) in &deliveries {
                shown.delivery(*id, *seq, self.tally);
            }
            self.acknowledge(&deliveries, &mut out);
            self.linger(deliveries.len()).await;
        }
    }

    fn acknowledge(&self, deliveries: &[(u64, u64)], out: &mut Vec<u8>) {
        for some in deliveries.chunks(ACKS) {
            let entries =
                some.iter().fold(String::with_capacity(some.len() * 56), |mut entries, (id, seq)| {
                    // Into a string nothing can fail.
                    write!(entries, "[[a]]\nid = \"{id}\"\nseq = {seq}\n[a.from]\nid = {}\n", self.from).ok();
                    entries
                });
            frame::write(Form::Counted, entries.as_bytes(), out);
        }
    }

    /// A slow one does nothing for as long as it should have taken.
    async fn linger(&self, deliveries: usize) {
        let Some(rate) = self.slow else { return };
        let until = Instant::now() + Duration::from_secs_f64(deliveries as f64 / rate.max(1.0));
        while Instant::now() < until && !self.phase.over.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(50)).await;
        }
    }
}
