//! The rows of PostgreSQL, as far as the judge needs them: one number an attempt.

use super::super::history::{AttemptNo, History, TalkNo, What};

/// One row of `messages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its conversation.
    pub talk: TalkNo,
    /// Its number.
    pub seq: u32,
    /// What it is.
    pub what: What,
}

/// Something wrong with the rows alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// An attempt with a second row: its conversation, both numbers.
    Twice(AttemptNo, TalkNo, u32, u32),
    /// A row that nobody sent.
    Foreign(TalkNo, u32),
    /// A number without a row: the conversation, the row before, the next.
    Gap(TalkNo, u32, u32),
}

/// All rows of the run's conversations, added in order of conversation and number.
#[derive(Debug, Default)]
pub struct Rows {
    /// By attempt; 0: no row.
    seqs: Vec<u32>,
    last: Option<(TalkNo, u32)>,
    problems: Vec<Problem>,
}

impl Rows {
    /// One more.
    pub fn add(&mut self, row: Row) {
        let before = self.last.filter(|(talk, _)| *talk == row.talk).map_or(0, |(_, seq)| seq);
        if row.seq != before + 1 {
            self.problems.push(Problem::Gap(row.talk, before, row.seq));
        }
        self.last = Some((row.talk, row.seq));
        match row.what {
            What::Request => {}
            What::Foreign => self.problems.push(Problem::Foreign(row.talk, row.seq)),
            What::Attempt(number) => {
                let at = number as usize;
                if self.seqs.len() <= at {
                    self.seqs.resize(at + 1, 0);
                }
                match self.seqs[at] {
                    0 => self.seqs[at] = row.seq,
                    first => self.problems.push(Problem::Twice(number, row.talk, first, row.seq)),
                }
            }
        }
    }

    /// The attempt's number in its conversation, where it has a row.
    pub fn seq_of(&self, attempt: AttemptNo) -> Option<u32> {
        self.seqs.get(attempt as usize).copied().filter(|seq| *seq > 0)
    }

    /// Attempts that have a row.
    pub fn stored(&self) -> u64 {
        self.seqs.iter().filter(|seq| **seq > 0).count() as u64
    }

    /// What is wrong with the rows alone.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl Problem {
    /// For people.
    pub fn describe(self, history: &History) -> String {
        let name = |talk: TalkNo| {
            history.conversations.get(usize::from(talk)).map(|talk| talk.key.to_string()).unwrap_or_default()
        };
        match self {
            Self::Twice(attempt, talk, one, other) => {
                format!("attempt {attempt} has two rows in {}: {one} and {other}", name(talk))
            }
            Self::Foreign(talk, seq) => {
                format!("{} {seq} in PostgreSQL is nothing that was sent", name(talk))
            }
            Self::Gap(talk, before, next) => {
                format!("{} has no row between {before} and {next}", name(talk))
            }
        }
    }
}
