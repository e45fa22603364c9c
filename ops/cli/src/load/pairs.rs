//! Pairs of users, one of each writes to the other.

use std::io;

use shared::seeded::Random;

use super::{
    Acks, Options,
    bare::{
        Engine, Got, Play,
        write::{Letter, Place},
    },
    meter::Meter,
    party::{Counts, Lingering, Receiver, Sender},
    people::Person,
    run::Scene,
};

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
    drive: Drive,
    acks: Acks,
    pairs: Vec<(Sender, Receiver)>,
    /// In which order an open loop lets them write.
    order: Vec<usize>,
    /// When the run began; before that nobody writes.
    began: Option<u64>,
    sent: u64,
    stopped: bool,
    lingering: Lingering,
    /// What is measured.
    pub meter: Meter,
    cut: u64,
}

impl Pairs {
    /// Two by two of `people`, whose lines are the engine's first.
    pub fn new(people: &[Person], drive: Drive, options: &Options) -> Self {
        let text = "x".repeat(options.body);
        let pairs: Vec<_> = people
            .chunks_exact(2)
            .map(|pair| {
                let sender = Sender::new(Letter::new(Place::User(pair[1].user), &text));
                (sender, Receiver::new(Place::User(pair[0].user)))
            })
            .collect();
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        Random::new(options.seed).shuffle(&mut order);
        Self {
            drive,
            acks: options.acks,
            pairs,
            order,
            began: None,
            sent: 0,
            stopped: false,
            lingering: Lingering::new(options),
            meter: Meter::new(matches!(drive, Drive::Open { .. })),
            cut: 0,
        }
    }

    /// When the open loop's next message is due.
    fn scheduled(&self, began: u64, rate: f64) -> u64 {
        began + (self.sent as f64 * 1e6 / rate) as u64
    }

    fn write_what_is_due(&mut self, engine: &mut Engine, now: u64) -> u64 {
        let (Drive::Open { rate }, Some(began)) = (self.drive, self.began) else { return u64::MAX };
        if self.stopped || self.pairs.is_empty() {
            return u64::MAX;
        }
        loop {
            let due = self.scheduled(began, rate);
            if due > now {
                return due;
            }
            let nth = self.order[(self.sent % self.order.len() as u64) as usize];
            let sender = &mut self.pairs[nth].0;
            engine.send(2 * nth, |out| sender.write(due, out));
            self.sent += 1;
        }
    }

    fn answered(&mut self, nth: usize, id: u64, at: u64, out: &mut Vec<u8>) {
        let (sender, receiver) = &mut self.pairs[nth];
        if let Some(due) = sender.due(id) {
            self.meter.ack(due, at);
        }
        sender.forget(receiver.delivered.min(id));
        if let (Drive::Closed { .. }, false) = (self.drive, self.stopped) {
            sender.write(at, out);
        }
    }
}

impl Play for Pairs {
    fn got(&mut self, line: usize, got: Got<'_>, at: u64, out: &mut Vec<u8>) {
        let nth = line / 2;
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
                    self.lingering.since(at, nth);
                }
                if shown.fresh {
                    self.meter.show(sender.due(id), at);
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
        self.began = Some(now);
        let Drive::Closed { window } = self.drive else { return };
        for (nth, (sender, _)) in self.pairs.iter_mut().enumerate() {
            engine.send(2 * nth, |out| (0..window).for_each(|_| sender.write(now, out)));
        }
    }

    fn due(&mut self, engine: &mut Engine, now: u64) -> u64 {
        let next = self.write_what_is_due(engine, now);
        let (pairs, acks) = (&mut self.pairs, self.acks);
        next.min(self.lingering.until(now, |nth, long_ago| {
            let receiver = &mut pairs[nth].1;
            if receiver.waits_since(long_ago) {
                engine.send(2 * nth + 1, |out| receiver.acknowledge(acks, out));
            }
        }))
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn meters(&mut self) -> Vec<&mut Meter> {
        vec![&mut self.meter]
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts { cut: self.cut, ..Counts::default() };
        for (sender, receiver) in &self.pairs {
            counts.add(sender, [receiver]);
        }
        counts
    }
}
