//! Pairs beside another load, on a thread of their own: what they wait for is the system, and not the thread that plays
//! thousands of clients.

use std::{
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, anyhow};

use super::{
    Options,
    bare::Engine,
    door::{self, Manner},
    pairs::{Drive, Pairs},
    people::Person,
    place::Edge,
    run::{self, Scene},
};

/// How often the thread looks whether it was told something, microseconds.
const LOOK: u64 = 2_000;

/// Pairs that talk on schedule until they are told to end.
#[derive(Debug)]
pub struct Aside {
    tell: Sender<Word>,
    thread: JoinHandle<Result<Pairs>>,
}

#[derive(Clone, Copy, Debug)]
enum Word {
    Begin,
    Measure,
    Measured,
    End,
}

impl Aside {
    /// Logs them in. `quiet`: their seconds are no progress to show.
    ///
    /// # Errors
    /// When one of them is refused.
    pub fn enter(
        people: Vec<Person>,
        edges: Vec<Edge>,
        rate: f64,
        quiet: bool,
        options: &Options,
    ) -> Result<Self> {
        let (tell, told) = channel();
        let (ready, entered) = channel();
        let options = options.clone();
        let thread = thread::Builder::new().name("aside".to_owned()).spawn(move || {
            let mut engine = Engine::new()?;
            let mut pairs = Pairs::new(&people, Drive::Open { rate }, &options);
            pairs.meter.quiet = quiet;
            door::enter(&mut engine, &people, &edges, Manner::Calm, &mut pairs)?;
            // Who does not listen any more does not tell either.
            ready.send(()).ok();
            talk(&mut engine, &mut pairs, &told)?;
            Ok(pairs)
        })?;
        if entered.recv().is_err() {
            return Err(ended(thread)
                .err()
                .unwrap_or_else(|| anyhow!("the pairs have ended at their login")));
        }
        Ok(Self { tell, thread })
    }

    /// They begin to talk.
    pub fn begin(&self) {
        self.say(Word::Begin);
    }

    /// What is measured begins now.
    pub fn measure(&self) {
        self.say(Word::Measure);
    }

    /// It ends now.
    pub fn measured(&self) {
        self.say(Word::Measured);
    }

    /// Lets them end, when all that they sent is answered, and hands them over.
    ///
    /// # Errors
    /// What their thread met.
    pub fn end(self) -> Result<Pairs> {
        self.say(Word::End);
        ended(self.thread)
    }

    /// One that has ended says why at the end.
    fn say(&self, word: Word) {
        self.tell.send(word).ok();
    }
}

fn ended(thread: JoinHandle<Result<Pairs>>) -> Result<Pairs> {
    thread.join().map_err(|_| anyhow!("the pairs' thread has crashed"))?.context("the pairs beside")
}

fn talk(engine: &mut Engine, pairs: &mut Pairs, told: &Receiver<Word>) -> Result<()> {
    loop {
        let now = engine.now();
        match told.try_recv() {
            Ok(Word::Begin) => drop(run::begin(engine, pairs)),
            Ok(Word::Measure) => pairs.meter.measure_from(now),
            Ok(Word::Measured) => pairs.meter.measure_to(now),
            Ok(Word::End) | Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => run::go_on(engine, pairs, now + LOOK)?,
        }
    }
    pairs.stop();
    run::settle(engine, pairs)
}
