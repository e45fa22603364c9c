//! More than the stack can take, for as long as is wanted, and what memory its processes use meanwhile.
//!
//! First the capacity is measured in a closed loop. Then every sender writes on schedule, so many times as much as that
//! in all, whenever its socket takes it; what the schedule owes for more than a second is shed. Afterwards, as the
//! protocol has it, what is not answered for a while is sent again: a node in trouble is not told everything. Nothing is
//! kept here but counts, so that this process stays small however far the stack lags behind.
//!
//! | module | holds |
//! |---|---|
//! | [`line`] | a bare connection: bytes out, what matters of the frames in |
//! | [`talk`] | a sender on schedule, and a receiver that acknowledges and may be slow |
//! | [`tally`] | a pair's counts |

mod line;
mod talk;
mod tally;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use self::tally::{Sum, Tally};
use super::{
    Options, line as new_line, memory,
    pairs::Drive,
    people::{self, Person},
    place::Place,
    talk as talking,
};

/// What `simple-im load overload` takes beside what every load does.
#[derive(Clone, Debug, clap::Args)]
pub struct Overload {
    /// Seconds of overload.
    #[arg(long, default_value_t = 600)]
    pub seconds: u64,
    /// So many times as much as the stack takes in a closed loop.
    #[arg(long, default_value_t = 2.0)]
    pub factor: f64,
    /// Messages a second that count as its capacity; measured for ten seconds where not given.
    #[arg(long)]
    pub capacity: Option<f64>,
    /// One receiver in so many is slow: it takes a hundredth of what is meant for it. 0: none.
    #[arg(long, default_value_t = 10)]
    pub slow: usize,
    /// Seconds that the stack has afterwards to deliver what it holds.
    #[arg(long, default_value_t = 900)]
    pub drain: u64,
    /// A CSV file for the memory of every process, MiB, once a second.
    #[arg(long, value_name = "FILE")]
    pub samples: Option<PathBuf>,
}

/// Messages in flight, over all senders, where the capacity is measured: enough that the stack never waits for them.
const IN_FLIGHT: usize = 8192;
/// How long it is measured, seconds.
const MEASURED: u64 = 10;
/// Without any progress for so long, what is missing afterwards will not come.
const QUIET: Duration = Duration::from_secs(30);

/// How far the run is, for all its tasks.
#[derive(Debug, Default)]
struct Phase {
    /// Senders write nothing new, and slow receivers read as fast as they can.
    over: AtomicBool,
}

/// Runs it; its line.
pub async fn drive(options: &Options, overload: &Overload, place: &Place) -> Result<String> {
    ensure!(overload.seconds > 0 && overload.factor > 0.0, "expected a time and a factor above 0");
    let capacity = match overload.capacity {
        Some(capacity) => capacity,
        None => capacity(options, place).await?,
    };
    ensure!(capacity > 0.0, "the stack takes nothing: no message was acked in {MEASURED} s");
    let rate = capacity * overload.factor;
    let each = rate / options.pairs as f64;

    let (edges, database) = (place.edges()?, place.database().await?);
    let people = people::make(&database, 2 * options.pairs, &edges).await?;
    let (phase, mut talks) = (Arc::new(Phase::default()), JoinSet::new());
    let (mut lines, mut tallies) = (Vec::new(), Vec::new());
    for (number, pair) in people.chunks_exact(2).enumerate() {
        let [sender, receiver] =
            [0, 1].map(|at| Seat { edge: edges[pair[at].edge].tcp, person: pair[at].clone() });
        let tally = Arc::new(Tally::default());
        let slow = overload.slow > 0 && number % overload.slow == overload.slow - 1;
        let to = receiver.person.user;
        // Receivers first: what comes before a login only waits in the backlog.
        let slow = slow.then_some(each / 100.0);
        let from = sender.person.user;
        talks.spawn(talk::receive(receiver, from, slow, phase.clone(), tally.clone()));
        let (input, output) = line::open(&sender, false).await.context("connecting a sender")?;
        talks.spawn(talk::acks(input, tally.clone()));
        lines.push((output, to));
        tallies.push(tally);
    }

    let (watched, tallies) = (CancellationToken::new(), Arc::new(tallies));
    let counted = tallies.clone();
    let more = move || {
        let sum = Sum::of(&counted);
        vec![("written", sum.written), ("acked", sum.acked), ("delivered", sum.delivered), ("shed", sum.shed)]
    };
    let watch = memory::watch(place.dir.clone(), overload.samples.clone(), more, watched.clone());
    let watch = tokio::spawn(watch);
    let (mut senders, began) = (JoinSet::new(), Instant::now());
    for ((output, to), tally) in lines.into_iter().zip(tallies.iter()) {
        senders.spawn(talk::send(output, to, options.body, each, phase.clone(), tally.clone()));
    }
    sleep(Duration::from_secs(overload.seconds)).await;
    let (seconds, during) = (began.elapsed().as_secs_f64(), Sum::of(&tallies));
    phase.over.store(true, Ordering::Relaxed);
    let drained = drain(&tallies, &mut senders, Duration::from_secs(overload.drain)).await;
    watched.cancel();
    let curves = watch.await??;
    talks.shutdown().await;

    let sum = Sum::of(&tallies);
    let a_second = |count: u64| (count as f64 / seconds).round();
    let figures = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pairs": options.pairs,
        "body": options.body,
        "seconds": seconds.round(),
        "factor": overload.factor,
        "capacity_msgs_per_s": capacity.round(),
        "offered_per_s": rate.round(),
        "written_per_s": a_second(during.written),
        "msgs_per_s": a_second(during.acked),
        "delivered_per_s": a_second(during.delivered),
        "drain_s": drained.as_secs_f64().round(),
        "shed": sum.shed,
        "written": sum.written,
        "acked": sum.acked,
        "unanswered": sum.written.saturating_sub(sum.acked + sum.refused),
        "sent_again": sum.again,
        "delivered": sum.delivered,
        "lost": sum.lost,
        "doubled": sum.doubled,
        "reordered": sum.reordered,
        "repeated": sum.repeated,
        "refused": sum.refused,
        "cut": sum.cut,
        "rss_mib": curves.figures(seconds),
    });
    let mut line = new_line("overload", options, place).await?;
    line.put_all(figures);
    Ok(line.finish())
}

/// Messages a second in a closed loop.
async fn capacity(options: &Options, place: &Place) -> Result<f64> {
    let options = Options { secs: MEASURED, ..options.clone() };
    let window = IN_FLIGHT.div_ceil(options.pairs);
    let (measured, pairs) = talking::measure(&options, place, Drive::Closed { window }).await?;
    Ok(pairs.meter.acks as f64 / measured.seconds)
}

/// Who connects, and where.
#[derive(Clone, Debug)]
struct Seat {
    edge: SocketAddr,
    person: Person,
}

/// Until everything written is answered, and everything answered delivered; or nothing moves any more. How long it took.
async fn drain(tallies: &[Arc<Tally>], senders: &mut JoinSet<()>, limit: Duration) -> Duration {
    let began = Instant::now();
    let (mut last, mut moved) = (Sum::default(), Instant::now());
    while began.elapsed() < limit && moved.elapsed() < QUIET {
        // A sender ends when everything it has written is answered.
        while senders.try_join_next().is_some() {}
        let sum = Sum::of(tallies);
        if senders.is_empty() && sum.lost == 0 {
            break;
        }
        if sum != last {
            (last, moved) = (sum, Instant::now());
        }
        sleep(Duration::from_millis(100)).await;
    }
    senders.abort_all();
    began.elapsed()
}
