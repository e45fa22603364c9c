//! Pairs of users, one of each writes to the other.

use std::{collections::VecDeque, io};

use shared::seeded::Random;

use super::{
    Acks,
    bare::{
        Engine, Got, Play,
        write::{Letter, Place},
    },
    meter::Meter,
    party::{Counts, Receiver, Sender},
    people::Person,
    run::Scene,
};

/// How long an acknowledgement waits for others, microseconds.
pub const LINGER: u64 = 50_000;

/// How senders go about it.
#[derive(Clone, Copy, Debug)]
pub enum Drive {
    /// Each keeps so many messages in flight.
    Closed {
        /// How many.
        window: usize,
    },
    /// On schedule, whatever comes back: what is late counts from when it was due.
    Open {
        /// Messages a second, over all senders.
        rate: f64,
    },
}

/// The pairs. Their lines are in order: a sender's, its receiver's, the next sender's.
#[derive(Debug)]
pub struct Pairs {
    first: usize,
    drive: Drive,
    acks: Acks,
    pairs: Vec<(Sender, Receiver)>,
    /// In which order an open loop lets them write.
    order: Vec<usize>,
    began: u64,
    sent: u64,
    stopped: bool,
    lingering: VecDeque<(u64, usize)>,
    meter: Meter,
    cut: u64,
}

impl Pairs {
    /// Those whose lines begin at `first`, two by two of `people`.
    pub fn new(first: usize, people: &[Person], text: &str, drive: Drive, acks: Acks, seed: u64) -> Self {
        let pairs: Vec<_> = people
            .chunks_exact(2)
            .map(|pair| {
                let sender = Sender::new(Letter::new(Place::User(pair[1].user), text));
                (sender, Receiver::new(Place::User(pair[0].user)))
            })
            .collect();
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        Random::new(seed).shuffle(&mut order);
        Self {
            first,
            drive,
            acks,
            pairs,
            order,
            began: 0,
            sent: 0,
            stopped: false,
            lingering: VecDeque::new(),
            meter: Meter::default(),
            cut: 0,
        }
    }

    /// When the open loop's next message is due.
    fn scheduled(&self, rate: f64) -> u64 {
        self.began + (self.sent as f64 * 1e6 / rate) as u64
    }

    fn write_what_is_due(&mut self, engine: &mut Engine, now: u64) -> u64 {
        let Drive::Open { rate } = self.drive else { return u64::MAX };
        if self.stopped || self.pairs.is_empty() {
            return u64::MAX;
        }
        loop {
            let due = self.scheduled(rate);
            if due > now {
                return due;
            }
            let nth = self.order[(self.sent % self.order.len() as u64) as usize];
            let sender = &mut self.pairs[nth].0;
            engine.send(self.first + 2 * nth, |out| sender.write(due, out));
            self.sent += 1;
        }
    }

    fn acknowledge_what_lingered(&mut self, engine: &mut Engine, now: u64) -> u64 {
        while let Some((due, nth)) = self.lingering.front().copied() {
            if due > now {
                return due;
            }
            self.lingering.pop_front();
            let (receiver, acks) = (&mut self.pairs[nth].1, self.acks);
            // Written already, and maybe others wait since later.
            if receiver.waiting().is_some() && receiver.since + LINGER <= now {
                engine.send(self.first + 2 * nth + 1, |out| receiver.acknowledge(acks, out));
            }
        }
        u64::MAX
    }

    fn answered(&mut self, nth: usize, id: u64, at: u64, out: &mut Vec<u8>) {
        let (sender, receiver) = &mut self.pairs[nth];
        if let Some(due) = sender.due(id) {
            self.meter.ack(at.saturating_sub(due));
        }
        sender.forget(receiver.delivered.min(id));
        if let (Drive::Closed { .. }, false) = (self.drive, self.stopped) {
            sender.write(at, out);
        }
    }
}

impl Play for Pairs {
    fn got(&mut self, line: usize, got: Got<'_>, at: u64, out: &mut Vec<u8>) {
        let nth = (line - self.first) / 2;
        let (sender, receiver) = &mut self.pairs[nth];
        match got {
            Got::Stored { id, seq } => {
                if sender.stored(id, seq) {
                    self.answered(nth, id, at, out);
                }
            }
            Got::Refused { id, .. } => {
                if id.is_some_and(|id| sender.refused(id))
                    && let (Drive::Closed { .. }, false) = (self.drive, self.stopped)
                {
                    sender.write(at, out);
                }
            }
            Got::Delivery { id, seq, .. } => {
                let shown = receiver.got(id, seq, at, self.acks, out);
                if shown.begins {
                    self.lingering.push_back((at + LINGER, nth));
                }
                if shown.fresh {
                    self.meter.show(sender.due(id).map(|due| at.saturating_sub(due)));
                }
            }
            Got::Done | Got::Other { .. } => {}
        }
    }

    fn ended(&mut self, _: usize, _: &io::Error) {
        self.cut += 1;
    }
}

impl Scene for Pairs {
    fn begin(&mut self, engine: &mut Engine, now: u64) {
        self.began = now;
        let Drive::Closed { window } = self.drive else { return };
        for (nth, (sender, _)) in self.pairs.iter_mut().enumerate() {
            engine.send(self.first + 2 * nth, |out| (0..window).for_each(|_| sender.write(now, out)));
        }
    }

    fn due(&mut self, engine: &mut Engine, now: u64) -> u64 {
        self.write_what_is_due(engine, now).min(self.acknowledge_what_lingered(engine, now))
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts { cut: self.cut, ..Counts::default() };
        for (sender, receiver) in &self.pairs {
            counts.add(sender, [receiver]);
        }
        counts
    }
}
