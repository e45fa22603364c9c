//! Logging many users in.

use std::io;

use anyhow::{Result, bail};

use super::{
    bare::{Engine, Got, Play, write},
    histogram::Histogram,
    people::Person,
    place::Edge,
};

/// Logins under way at a time where nothing else is wanted: fewer than an edge lets wait to be accepted.
pub const AT_ONCE: usize = 200;
/// Without any login for so long, none will come, microseconds.
const PATIENCE: u64 = 60_000_000;
const LOOK: u64 = 50_000;

/// How the logins went.
#[derive(Debug)]
pub struct Entered {
    /// The first one's line; the others follow in order.
    pub first: usize,
    /// From the beginning of each connection to its login's answer.
    pub took: Histogram,
    /// From the first beginning to the last answer, microseconds.
    pub micros: u64,
}

/// Connects and logs everyone in, so many at a time; the lines of before go on meanwhile.
///
/// # Errors
/// When one is refused, or cannot connect, or none gets through any more.
pub fn enter(
    engine: &mut Engine,
    people: &[Person],
    edges: &[Edge],
    at_once: usize,
    others: &mut impl Play,
) -> Result<Entered> {
    let (first, began) = (engine.lines(), engine.now());
    let mut door =
        Door { first, began: Vec::new(), in_already: 0, took: Histogram::default(), failed: None, others };
    let mut moved = began;
    while door.in_already < people.len() {
        let in_already = door.in_already;
        while door.began.len() < people.len() && door.began.len() < in_already + at_once {
            let person = &people[door.began.len()];
            door.began.push(Some(engine.now()));
            let login = write::login(person.user, &person.token);
            engine.open(edges[person.edge].tcp, person.from, login)?;
        }
        let now = engine.now();
        engine.turn(&mut door, now + LOOK)?;
        if let Some(why) = door.failed {
            bail!("a login: {why}");
        }
        if door.in_already > in_already {
            moved = engine.now();
        } else if engine.now() > moved + PATIENCE {
            bail!("expected {} logins, found only {} of them answered", people.len(), door.in_already);
        }
    }
    let took = door.took;
    Ok(Entered { first, took, micros: engine.now() - began })
}

struct Door<'a, P> {
    first: usize,
    /// When each began, until it is in.
    began: Vec<Option<u64>>,
    in_already: usize,
    took: Histogram,
    failed: Option<String>,
    others: &'a mut P,
}

impl<P: Play> Play for Door<'_, P> {
    fn got(&mut self, line: usize, got: Got<'_>, at: u64, out: &mut Vec<u8>) {
        let waiting = line.checked_sub(self.first).and_then(|nth| self.began.get_mut(nth));
        match (waiting.and_then(Option::take), got) {
            (None, _) => self.others.got(line, got, at, out),
            (Some(began), Got::Done) => {
                self.in_already += 1;
                self.took.add(at.saturating_sub(began));
            }
            (Some(_), Got::Refused { entry, .. } | Got::Other { entry }) => {
                self.failed = Some(String::from_utf8_lossy(entry).into_owned());
            }
            (Some(_), _) => self.failed = Some("expected its answer first".to_owned()),
        }
    }

    fn ended(&mut self, line: usize, why: &io::Error) {
        if line < self.first {
            return self.others.ended(line, why);
        }
        self.failed = Some(why.to_string());
    }
}

/// Nobody else is there.
#[derive(Debug)]
pub struct Nobody;

impl Play for Nobody {
    fn got(&mut self, _: usize, _: Got<'_>, _: u64, _: &mut Vec<u8>) {}

    fn ended(&mut self, _: usize, _: &io::Error) {}
}
