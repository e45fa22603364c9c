//! The ledger: one TOML document that says what was done, what came of it, and whether anything is wrong.

use std::collections::BTreeMap;

use serde::Serialize;

use super::conservation::{Account, Known};
use super::history::History;
use super::judge::{Lost, Verdict};
use super::memory::Used;
use super::rest::Rest;
use super::roll::{self, Roll};
use super::timing::{self, Done, Kind, Timed};

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
    conservation: Account,
    /// Times that a session fell behind and read from PostgreSQL, by reason, as far as the edges could be asked.
    backlogs: BTreeMap<String, i64>,
    memory: Vec<Used>,
    summary: Vec<Kind>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roll: Vec<Roll>,
    fault: Vec<Timed>,
}

/// What ran.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Versions {
    /// simple-im's version.
    pub simple_im: String,
    /// The commit of the checkout, where there is one; `+` where it has changes.
    pub commit: String,
    /// How this command was compiled: `release` or `debug`.
    pub profile: String,
    /// The folder of the binaries that ran; the edge's and worker's are those beside this command's.
    pub binaries: String,
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
    dead_letters: u64,
    foreign_rows: i64,
    not_conserved: i64,
}

#[derive(Debug, Serialize)]
struct Thirds {
    early: u64,
    middle: u64,
    late: u64,
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
    /// What everybody has counted.
    pub known: Known,
    /// Times that a session fell behind, by reason.
    pub backlogs: BTreeMap<String, i64>,
    /// What the processes used.
    pub memory: Vec<Used>,
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
        let Parts { history, verdict, rest, known, .. } = parts;
        let judged = verdict.violations();
        let (conservation, wrong) = Account::of(&known);
        let not_conserved = wrong.iter().map(|(_, off)| off).sum();
        // Every message here is a proper one: none may be set aside.
        let clean = verdict.is_clean()
            && parts.broken.is_empty()
            && rest.in_stream == 0
            && rest.dead == 0
            && known.lanes.foreign == 0
            && wrong.is_empty();
        let mut examples = verdict.examples;
        examples.extend(wrong.into_iter().map(|(what, _)| format!("not_conserved: {what}")));
        let fault = timing::timed(history, parts.faults);
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
                dead_letters: rest.dead,
                foreign_rows: known.lanes.foreign,
                not_conserved,
            },
            lost_rows: verdict.lost_rows.into(),
            lost_deliveries: verdict.lost_deliveries.into(),
            conservation,
            backlogs: parts.backlogs,
            memory: parts.memory,
            summary: timing::summary(&fault),
            roll: roll::rolls(history, parts.faults),
            fault,
            examples,
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
