//! Logging many users in.

use std::io;

use anyhow::{Result, bail};

use super::{
    bare::{Engine, Got, Play, write},
    histogram::Histogram,
    meter::{Meter, say},
    party::Counts,
    people::Person,
    place::Edge,
    run::{self, Scene},
};

/// Logins under way at a time where nothing else is wanted: fewer than an edge lets wait to be accepted.
const CALM: usize = 200;
/// Connections begun before what came meanwhile is looked at: a few milliseconds' worth, for the others' sake.
const AT_A_TIME: usize = 32;
/// Without any login for so long, none will come, microseconds.
const PATIENCE: u64 = 60_000_000;
/// How long one that was refused waits before it tries again, microseconds.
const PAUSE: u64 = 500_000;
const LOOK: u64 = 20_000;
const SECOND: u64 = 1_000_000;

/// How they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// A few at a time, and none may fail.
    Calm,
    /// So many at a time; whoever is refused for now, or cut off, tries again.
    Storm(usize),
}

/// How the logins went.
#[derive(Debug, Default)]
pub struct Entered {
    /// Each one's line.
    pub lines: Vec<usize>,
    /// From the beginning of each connection to its login's answer.
    pub took: Histogram,
    /// From the first beginning to the last answer, microseconds.
    pub micros: u64,
    /// How often one had to try again.
    pub retries: u64,
}

impl Entered {
    /// How many a second.
    pub fn per_second(&self) -> f64 {
        self.lines.len() as f64 * 1e6 / self.micros.max(1) as f64
    }
}

/// Connects and logs everyone in, each on a line of its own; calmly, the lines have the order of the people. The lines of
/// before go on meanwhile, and what comes on the new ones behind the answer is handed on too.
///
/// # Errors
/// When one is refused, or none gets through any more.
pub fn enter(
    engine: &mut Engine,
    people: &[Person],
    edges: &[Edge],
    manner: Manner,
    others: &mut impl Scene,
) -> Result<Entered> {
    let (began, first) = (engine.now(), engine.lines());
    let mut door = Door {
        people,
        first,
        attempts: Vec::new(),
        again: Vec::new(),
        in_already: 0,
        entered: Entered { lines: vec![0; people.len()], ..Entered::default() },
        failed: None,
        manner,
        others,
    };
    let (mut moved, mut second, mut next) = (began, 1, 0);
    while door.in_already < people.len() {
        let in_already = door.in_already;
        let at_once = match manner {
            Manner::Calm => CALM,
            Manner::Storm(at_once) => at_once,
        };
        for _ in 0..AT_A_TIME {
            if next == people.len() || next - in_already >= at_once {
                break;
            }
            door.knock(engine, edges, next)?;
            next += 1;
        }
        let now = engine.now();
        while door.again.first().is_some_and(|(due, _)| *due <= now) {
            let (_, who) = door.again.remove(0);
            door.entered.retries += 1;
            door.knock(engine, edges, who)?;
        }
        let more = next < people.len() && next - in_already < at_once;
        run::seconds(door.others, now);
        let due = door.others.due(engine, now).min(if more { now } else { now + LOOK });
        engine.turn(&mut door, due)?;
        if let Some(why) = door.failed {
            bail!("a login: {why}");
        }
        let now = engine.now();
        if door.in_already > in_already {
            moved = now;
        } else if now > moved + PATIENCE {
            bail!("expected {} logins, found only {} of them answered", people.len(), door.in_already);
        }
        if now >= began + second * SECOND {
            say(&format!("{:5.1} s  {} of {} logged in", second as f64, door.in_already, people.len()));
            second = (now - began) / SECOND + 1;
        }
    }
    door.entered.micros = engine.now() - began;
    Ok(door.entered)
}

struct Door<'a, S> {
    people: &'a [Person],
    /// The first line of an attempt.
    first: usize,
    /// Who tries on each line, and since when; `None` when it is over.
    attempts: Vec<Option<(usize, u64)>>,
    /// Who tries again, and when, in order.
    again: Vec<(u64, usize)>,
    in_already: usize,
    entered: Entered,
    failed: Option<String>,
    manner: Manner,
    others: &'a mut S,
}

impl<S: Scene> Door<'_, S> {
    fn knock(&mut self, engine: &mut Engine, edges: &[Edge], who: usize) -> Result<()> {
        let person = &self.people[who];
        let now = engine.now();
        let login = write::login(person.user, &person.token);
        let line = engine.open(edges[person.edge].tcp, person.from, login)?;
        self.attempts.push(Some((who, now)));
        self.others.opened(line, who);
        Ok(())
    }

    fn attempt(&mut self, line: usize) -> Option<(usize, u64)> {
        self.attempts.get_mut(line.checked_sub(self.first)?)?.take()
    }

    fn turned_away(&mut self, who: usize, since: u64, why: &str) {
        match self.manner {
            Manner::Calm => self.failed = Some(why.to_owned()),
            Manner::Storm(_) => self.again.push((since + PAUSE, who)),
        }
    }
}

impl<S: Scene> Play for Door<'_, S> {
    fn got(&mut self, line: usize, got: Got<'_>, at: u64, out: &mut Vec<u8>) {
        let Some((who, since)) = self.attempt(line) else { return self.others.got(line, got, at, out) };
        match got {
            Got::Done => {
                self.in_already += 1;
                self.entered.lines[who] = line;
                self.entered.took.add(at.saturating_sub(since));
            }
            Got::Refused { entry, .. } => {
                let text = String::from_utf8_lossy(entry);
                if text.contains("code = \"unavailable\"") {
                    self.turned_away(who, at, &text);
                } else {
                    self.failed = Some(text.into_owned());
                }
            }
            other => self.failed = Some(format!("expected the answer first, found {other:?}")),
        }
    }

    fn ended(&mut self, line: usize, why: &io::Error) {
        match self.attempt(line) {
            Some((who, since)) => self.turned_away(who, since, &why.to_string()),
            // One that was told to try again is ended by the server, too.
            None if line >= self.first && !self.entered.lines.contains(&line) => {}
            None => self.others.ended(line, why),
        }
    }
}

/// Nobody else is there.
#[derive(Debug)]
pub struct Nobody;

impl Play for Nobody {
    fn got(&mut self, _: usize, _: Got<'_>, _: u64, _: &mut Vec<u8>) {}

    fn ended(&mut self, _: usize, _: &io::Error) {}
}

impl Scene for Nobody {
    fn begin(&mut self, _: &mut Engine, _: u64) {}

    fn due(&mut self, _: &mut Engine, _: u64) -> u64 {
        u64::MAX
    }

    fn stop(&mut self) {}

    fn meters(&mut self) -> Vec<&mut Meter> {
        Vec::new()
    }

    fn counts(&self) -> Counts {
        Counts::default()
    }
}
