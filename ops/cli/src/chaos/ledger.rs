//! The ledger: one TOML document that says what was done, what came of it, and whether anything is wrong.

use serde::Serialize;

use super::history::{Answer, History};
use super::judge::{Lost, Verdict};
use super::rest::{Counts, Rest};

/// A fault as it was done.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its name.
    pub fault: String,
    /// What was done to whom.
    pub what: String,
    /// When, milliseconds since the run's begin.
    pub at_ms: u32,
    /// When it was undone.
    pub healed_ms: u32,
}

/// The whole document, in its order.
#[derive(Debug, Serialize)]
pub struct Ledger {
    /// Nothing is wrong.
    pub clean: bool,
    seed: u64,
    seconds: f64,
    clients: usize,
    conversations: usize,
    disconnects: u64,
    /// Times that a device went away and came back, and what it was given again then.
    returns: u64,
    repeats: u64,
    rest_ms: u64,
    /// What went wrong beside what the judge sees.
    pub broken: Vec<String>,
    examples: Vec<String>,
    versions: Versions,
    messages: Messages,
    violations: Violations,
    lost_rows: Thirds,
    lost_deliveries: Thirds,
    conservation: Conservation,
    fault: Vec<Fault>,
}

/// What ran.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Versions {
    /// simple-im's version.
    pub simple_im: String,
    /// The commit of the checkout, where there is one.
    pub commit: String,
    /// NATS.
    pub nats: String,
    /// PostgreSQL.
    pub postgres: String,
    /// Redis.
    pub redis: String,
}

#[derive(Debug, Serialize)]
struct Messages {
    attempted: u64,
    acked: u64,
    stored: u64,
    delivered: u64,
}

#[derive(Debug, Serialize)]
struct Violations {
    #[serde(flatten)]
    judged: toml::Table,
    left_in_stream: u64,
    foreign_rows: i64,
    not_conserved: i64,
}

#[derive(Debug, Serialize)]
struct Thirds {
    early: u64,
    middle: u64,
    late: u64,
}

#[derive(Debug, Serialize)]
struct Conservation {
    stored: i64,
    duplicate: i64,
    refused: i64,
    dead: i64,
    rows: i64,
    dead_letters: u64,
    /// What the edges' brokers confirmed, where every edge has lived through the run and the stream was not wiped.
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<i64>,
}

#[derive(Debug, Serialize)]
struct Fault {
    at_s: f64,
    fault: String,
    what: String,
    lasted_ms: u32,
    /// The longest time without any ack, from the fault to the next.
    silence_ms: u32,
    /// From the fault's end to the first ack of a message sent after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_ack_ms: Option<u32>,
    /// From the fault's end until everything sent before it was acked.
    caught_up_ms: u32,
}

/// What the ledger is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The seed.
    pub seed: u64,
    /// How long was sent, seconds.
    pub seconds: f64,
    /// What was recorded.
    pub history: &'a History,
    /// What the judge says.
    pub verdict: Verdict,
    /// How it came to rest.
    pub rest: Rest,
    /// What PostgreSQL has counted.
    pub counts: Counts,
    /// What the edges have counted, where that can be compared.
    pub published: Option<i64>,
    /// The faults.
    pub faults: &'a [Done],
    /// What went wrong in doing them.
    pub broken: Vec<String>,
    /// What ran.
    pub versions: Versions,
}

impl Ledger {
    /// Makes it up.
    pub fn new(parts: Parts<'_>) -> Self {
        let Parts { history, verdict, rest, counts, published, .. } = parts;
        let judged = verdict.violations();
        // Every row was counted as stored in the transaction that wrote it; every frame that a broker confirmed was
        // finished by a lane.
        let not_conserved = (counts.rows - counts.stored).abs()
            + published.map_or(0, |published| (published - counts.finished()).abs());
        let clean = verdict.is_clean()
            && parts.broken.is_empty()
            && rest.in_stream == 0
            && counts.foreign == 0
            && not_conserved == 0;
        let judged = judged.into_iter().map(|(name, count)| (name.to_owned(), number(count))).collect();
        Self {
            clean,
            seed: parts.seed,
            seconds: parts.seconds,
            clients: history.devices.len(),
            conversations: history.conversations.len(),
            disconnects: history.disconnects,
            returns: history.returns,
            repeats: history.repeats,
            rest_ms: u64::try_from(rest.took.as_millis()).unwrap_or(u64::MAX),
            broken: parts.broken,
            versions: parts.versions,
            messages: Messages {
                attempted: verdict.attempted,
                acked: verdict.acked,
                stored: verdict.stored,
                delivered: verdict.delivered,
            },
            violations: Violations {
                judged,
                left_in_stream: rest.in_stream,
                foreign_rows: counts.foreign,
                not_conserved,
            },
            lost_rows: verdict.lost_rows.into(),
            lost_deliveries: verdict.lost_deliveries.into(),
            conservation: Conservation {
                stored: counts.stored,
                duplicate: counts.duplicate,
                refused: counts.refused,
                dead: counts.dead,
                rows: counts.rows,
                dead_letters: rest.dead,
                published,
            },
            fault: timed(history, parts.faults),
            examples: verdict.examples,
        }
    }
}

impl From<Lost> for Thirds {
    fn from(Lost { early, middle, late }: Lost) -> Self {
        Self { early, middle, late }
    }
}

fn number(count: u64) -> toml::Value {
    toml::Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

/// The faults with how long acks stayed away.
fn timed(history: &History, faults: &[Done]) -> Vec<Fault> {
    // What waits for its sender's return says nothing about the system.
    let stays = |device: u16| history.devices.get(usize::from(device)).is_some_and(|device| !device.leaves);
    let acked = history.attempts.iter().filter(|it| stays(it.device)).filter_map(|it| match it.answer {
        Answer::Stored { at_ms, .. } => Some((it.at_ms, at_ms)),
        Answer::None | Answer::Refused => None,
    });
    // When begun, when acked.
    let acked: Vec<(u32, u32)> = acked.collect();
    let mut acks: Vec<u32> = acked.iter().map(|(_, ack)| *ack).collect();
    acks.sort_unstable();
    let last = acks.last().copied().unwrap_or(0);
    let nexts = faults.iter().skip(1).map(|next| next.at_ms).chain([last]);
    let timed = faults.iter().zip(nexts).map(|(it, next)| {
        let from = acks.partition_point(|ack| *ack < it.at_ms);
        let until = acks.partition_point(|ack| *ack <= next.max(it.healed_ms));
        let within = acks.get(from..until).unwrap_or_default();
        let steps = std::iter::once(it.at_ms).chain(within.iter().copied()).zip(within.iter().copied());
        let again = acked.iter().filter(|(begun, _)| *begun >= it.healed_ms).map(|(_, ack)| *ack).min();
        let caught = acked.iter().filter(|(begun, _)| *begun < it.healed_ms).map(|(_, ack)| *ack).max();
        Fault {
            at_s: (f64::from(it.at_ms) / 100.0).round() / 10.0,
            fault: it.fault.clone(),
            what: it.what.clone(),
            lasted_ms: it.healed_ms - it.at_ms,
            silence_ms: steps.map(|(one, other)| other.saturating_sub(one)).max().unwrap_or(0),
            first_ack_ms: again.map(|ack| ack.saturating_sub(it.healed_ms)),
            caught_up_ms: caught.unwrap_or(0).saturating_sub(it.healed_ms),
        }
    });
    timed.collect()
}

#[cfg(test)]
mod tests {
    use shared::ids::{Conversation, UserId};

    use super::*;

    #[test]
    fn a_fault_is_timed_by_the_acks_around_it() {
        let mut history = History::default();
        history.device(UserId(1), "1/d1".to_owned(), false);
        history.talk(Conversation::direct(UserId(1), UserId(2)), &[UserId(1)]);
        for (number, (begun, ack)) in
            (0..).zip([(0, 10), (100, 110), (900, 5_300), (5_100, 5_200), (6_000, 6_010)])
        {
            history.begin(0, 0, begun);
            history.answered(number, Answer::Stored { seq: number + 1, at_ms: ack });
        }
        let done = Done {
            fault: "kill-nats".to_owned(),
            what: "SIGKILL nats".to_owned(),
            at_ms: 1_000,
            healed_ms: 5_000,
        };
        let timed = timed(&history, &[done]);
        let it = &timed[0];
        assert_eq!(
            (it.lasted_ms, it.silence_ms, it.first_ack_ms, it.caught_up_ms),
            (4_000, 4_200, Some(200), 300)
        );
    }
}
