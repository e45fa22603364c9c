//! The judgement: what the clients saw against each other and against the rows in PostgreSQL.

mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use super::history::{Answer, AttemptNo, DeviceNo, History, TalkNo, What};

pub use rows::{Row, Rows};

/// How many examples of one kind of violation are written down.
const EXAMPLES: usize = 5;

/// Something that was lost, by when its sending began: in which third of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// In the first third.
    pub early: u64,
    /// In the second.
    pub middle: u64,
    /// In the last.
    pub late: u64,
}

impl Lost {
    /// All.
    pub fn sum(self) -> u64 {
        self.early + self.middle + self.late
    }
}

/// What came of it. Counts of violations are 0 in a clean run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Messages that a client began to send.
    pub attempted: u64,
    /// Of them, acked `stored`.
    pub acked: u64,
    /// Attempts that have a row.
    pub stored: u64,
    /// Deliveries shown, over all devices.
    pub delivered: u64,
    /// Violation: refused, though each of them was a proper message.
    pub refused: u64,
    /// Violation: never answered.
    pub unanswered: u64,
    /// Violation: acked and not in PostgreSQL.
    pub lost_rows: Lost,
    /// Violation: acked, and a device that should have been shown it was not; counted a device.
    pub lost_deliveries: Lost,
    /// Violation: one conversation and `seq` shown twice to a device.
    pub doubled: u64,
    /// Violation: one attempt in two rows, or shown to a device under two numbers.
    pub stored_twice: u64,
    /// Violation: a `seq` that did not grow at a device.
    pub reordered: u64,
    /// Violation: two messages of one device in a conversation, numbered in another order than they were sent in.
    pub reordered_sender: u64,
    /// Violation: delivered or stored, never attempted.
    pub phantom: u64,
    /// Violation: acked or shown with another `seq` than its row has, or a number missing in a conversation.
    pub misnumbered: u64,
    /// Violation: clients that ended by themselves.
    pub ended: u64,
    /// The first violations, for people.
    pub examples: Vec<String>,
    /// How many examples there are of each kind.
    named: BTreeMap<&'static str, usize>,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.violations().iter().all(|(_, count)| *count == 0)
    }

    /// Every kind of violation with its count.
    pub fn violations(&self) -> [(&'static str, u64); 11] {
        [
            ("lost_rows", self.lost_rows.sum()),
            ("lost_deliveries", self.lost_deliveries.sum()),
            ("doubled", self.doubled),
            ("stored_twice", self.stored_twice),
            ("reordered", self.reordered),
            ("reordered_sender", self.reordered_sender),
            ("phantom", self.phantom),
            ("misnumbered", self.misnumbered),
            ("refused", self.refused),
            ("unanswered", self.unanswered),
            ("clients_ended", self.ended),
        ]
    }

    fn example(&mut self, kind: &'static str, text: impl FnOnce() -> String) {
        if self.named.get(kind).is_none_or(|count| *count < EXAMPLES) {
            *self.named.entry(kind).or_default() += 1;
            self.examples.push(format!("{kind}: {}", text()));
        }
    }
}

/// Judges a run that has come to rest.
pub fn judge(history: &History, rows: &Rows) -> Verdict {
    let mut judge = Judge { history, rows, verdict: Verdict::default() };
    judge.rows();
    judge.attempts();
    judge.devices();
    judge.senders();
    judge.verdict.ended = history.ended.len() as u64;
    for ended in &history.ended {
        judge.verdict.example("clients_ended", || ended.clone());
    }
    judge.verdict
}

struct Judge<'a> {
    history: &'a History,
    rows: &'a Rows,
    verdict: Verdict,
}

impl Judge<'_> {
    fn rows(&mut self) {
        self.verdict.stored = self.rows.stored();
        for problem in self.rows.problems() {
            let (count, kind) = match problem {
                rows::Problem::Twice(..) => (&mut self.verdict.stored_twice, "stored_twice"),
                rows::Problem::Foreign(..) => (&mut self.verdict.phantom, "phantom"),
                rows::Problem::Gap(..) => (&mut self.verdict.misnumbered, "misnumbered"),
            };
            *count += 1;
            self.verdict.example(kind, || problem.describe(self.history));
        }
    }

    fn attempts(&mut self) {
        self.verdict.attempted = self.history.attempts.len() as u64;
        for (number, attempt) in (0..).zip(&self.history.attempts) {
            let row = self.rows.seq_of(number);
            match attempt.answer {
                Answer::None => {
                    self.verdict.unanswered += 1;
                    let history = self.history;
                    self.verdict.example("unanswered", || {
                        format!("{} (its row: {row:?})", describe(history, number))
                    });
                }
                Answer::Refused => {
                    self.verdict.refused += 1;
                    let history = self.history;
                    self.verdict
                        .example("refused", || format!("{} (its row: {row:?})", describe(history, number)));
                }
                Answer::Stored { seq, .. } => {
                    self.verdict.acked += 1;
                    let history = self.history;
                    match row {
                        None => {
                            *third(&mut self.verdict.lost_rows, number, self.history.attempts.len()) += 1;
                            self.verdict.example("lost_rows", || {
                                format!("acked as {seq}, and has no row: {}", describe(history, number))
                            });
                        }
                        Some(row) if row != seq => {
                            self.verdict.misnumbered += 1;
                            self.verdict.example("misnumbered", || {
                                format!("acked as {seq}, its row is {row}: {}", describe(history, number))
                            });
                        }
                        Some(_) => {}
                    }
                }
            }
        }
    }

    fn devices(&mut self) {
        for device in 0..self.history.devices.len() {
            self.device(DeviceNo::try_from(device).unwrap_or(DeviceNo::MAX));
        }
    }

    fn device(&mut self, device: DeviceNo) {
        let (history, rows) = (self.history, self.rows);
        let name = &history.devices[usize::from(device)].name;
        let shown = &history.shown[usize::from(device)];
        self.verdict.delivered += shown.len() as u64;
        // Numbers shown, by conversation; highest so far; and under which number each attempt was shown.
        let mut numbers: HashMap<(TalkNo, u32), ()> = HashMap::with_capacity(shown.len());
        let mut highest: HashMap<TalkNo, u32> = HashMap::new();
        let mut attempts: HashMap<AttemptNo, u32> = HashMap::with_capacity(shown.len());
        for it in shown {
            let place = || history.conversations.get(usize::from(it.talk)).map(|talk| talk.key.to_string());
            let (at, seq) = (place().unwrap_or_else(|| "a conversation of nobody".into()), it.seq);
            let takes_part = history
                .conversations
                .get(usize::from(it.talk))
                .is_some_and(|talk| talk.devices.contains(&device));
            if it.what == What::Foreign || !takes_part {
                self.verdict.phantom += 1;
                self.verdict.example("phantom", || {
                    format!("{name} was shown {at} {seq}, which nobody sent there: {:?}", it.what)
                });
                continue;
            }
            if numbers.insert((it.talk, it.seq), ()).is_some() {
                self.verdict.doubled += 1;
                self.verdict.example("doubled", || format!("{name} was shown {at} {seq} twice"));
                continue;
            }
            let high = highest.entry(it.talk).or_default();
            if it.seq < *high {
                self.verdict.reordered += 1;
                self.verdict.example("reordered", || format!("{name} was shown {at} {seq} after {high}"));
            }
            *high = (*high).max(it.seq);
            if let What::Attempt(number) = it.what {
                if let Some(other) = attempts.insert(number, it.seq) {
                    self.verdict.stored_twice += 1;
                    self.verdict.example("stored_twice", || {
                        format!("{name} was shown attempt {number} as {at} {other} and as {seq}")
                    });
                } else if rows.seq_of(number).is_some_and(|row| row != it.seq) {
                    self.verdict.misnumbered += 1;
                    let row = rows.seq_of(number);
                    self.verdict.example("misnumbered", || {
                        format!("{name} was shown {at} {seq}, whose row has the number {row:?}")
                    });
                }
            }
        }
        self.missing(device, &attempts);
    }

    /// Everything acked in the device's conversations, by others or by the user's other devices, was shown.
    fn missing(&mut self, device: DeviceNo, shown: &HashMap<AttemptNo, u32>) {
        let history = self.history;
        let mut mine = vec![false; history.conversations.len()];
        for (talk, mine) in history.conversations.iter().zip(&mut mine) {
            *mine = talk.devices.contains(&device);
        }
        for (number, attempt) in (0..).zip(&history.attempts) {
            let Answer::Stored { seq, .. } = attempt.answer else { continue };
            let to_be_shown = attempt.device != device && mine[usize::from(attempt.talk)];
            if to_be_shown && !shown.contains_key(&number) {
                *third(&mut self.verdict.lost_deliveries, number, history.attempts.len()) += 1;
                let name = &history.devices[usize::from(device)].name;
                self.verdict.example("lost_deliveries", || {
                    format!("{name} was never shown number {seq}: {}", describe(history, number))
                });
            }
        }
    }

    /// A device's messages to one conversation are numbered as they were sent.
    fn senders(&mut self) {
        let mut last: HashMap<(DeviceNo, TalkNo), (AttemptNo, u32)> = HashMap::new();
        for (number, attempt) in (0..).zip(&self.history.attempts) {
            let Some(seq) = self.rows.seq_of(number) else { continue };
            let last = last.entry((attempt.device, attempt.talk)).or_insert((number, seq));
            if seq < last.1 {
                let history = self.history;
                self.verdict.reordered_sender += 1;
                self.verdict.example("reordered_sender", || {
                    let (before, after) = (describe(history, last.0), describe(history, number));
                    format!("number {seq} was sent after number {}: {after}; before: {before}", last.1)
                });
            } else {
                *last = (number, seq);
            }
        }
    }
}

fn describe(history: &History, number: AttemptNo) -> String {
    let Some(attempt) = history.attempts.get(number as usize) else { return format!("attempt {number}") };
    let device = history.devices.get(usize::from(attempt.device)).map_or("?", |it| &it.name);
    let talk = history.conversations.get(usize::from(attempt.talk)).map(|talk| talk.key.to_string());
    let answered = match attempt.answer {
        Answer::Stored { at_ms, .. } => format!(", acked at {:.1} s", f64::from(at_ms) / 1e3),
        Answer::None | Answer::Refused => String::new(),
    };
    format!(
        "attempt {number} of {device} to {} at {:.1} s{answered}",
        talk.unwrap_or_default(),
        f64::from(attempt.at_ms) / 1e3
    )
}

fn third(lost: &mut Lost, number: AttemptNo, of: usize) -> &mut u64 {
    match number as usize * 3 / of.max(1) {
        0 => &mut lost.early,
        1 => &mut lost.middle,
        _ => &mut lost.late,
    }
}
