//! `offline`: messages to users who are away, who then all come back.

use std::{io, time::Duration};

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use super::{
    Acks, Options,
    bare::{
        Engine, Got, Play,
        write::{DEVICE, Letter, Place as Whose},
    },
    blocking,
    door::{self, Entered, Manner},
    line,
    meter::{Meter, say},
    party::{Counts, Ids, Lingering, Receiver, Sender},
    people::{self, Person},
    place::Place,
    plot::Plot,
    run::{self, Measured, Scene, Started},
};

/// What `simple-im load offline` takes beside what every load does. Its senders are as many as `--pairs`, and there are
/// no seconds to warm up or to be measured: it ends when the work is done.
#[derive(Clone, Debug, clap::Args)]
pub struct Offline {
    /// Messages in all.
    #[arg(long, default_value_t = 100_000)]
    pub messages: usize,
    /// Users who are away.
    #[arg(long, default_value_t = 10_000)]
    pub users: usize,
    /// Messages without an ack, a sender. With 16 of each of 100 senders much of the time goes to waiting for the disk.
    #[arg(long, default_value_t = 64)]
    pub window: usize,
    /// How many come back at a time.
    #[arg(long, default_value_t = 1_000)]
    pub at_once: usize,
}

/// How long the cursors may take to be where everything is acknowledged.
const CURSORS: Duration = Duration::from_secs(10);
const BEHIND: &str = "SELECT count(*) FROM unnest($1::bigint[]) u WHERE NOT EXISTS
    (SELECT FROM cursors c WHERE c.user_id = u AND c.device = $2 AND c.seq = $3)";

/// Runs it; its line.
pub async fn drive(options: &Options, offline: &Offline, place: &Place) -> Result<String> {
    let (users, each) = (offline.users, offline.messages / offline.users.max(1));
    ensure!(users > 0 && each > 0, "expected users, and a message for each of them at least");
    ensure!(
        offline.window > 0 && offline.at_once > 0,
        "expected a window, and users that come, of at least 1"
    );
    let (edges, database) = (place.edges()?, place.database().await?);
    let senders = options.pairs.min(users);
    let mut people = people::make(&database, senders + users, &edges).await?;
    let away = people.split_off(senders);
    let ids: Vec<i64> = away.iter().map(|person| person.user.cast_signed()).collect();
    let mut line = line("offline", options, place).await?;
    let (settings, wanted, stack) = (options.clone(), offline.clone(), place.stack.clone());
    let (storing, stored, fetching, fetched, entered) = blocking(move || {
        let mut engine = Engine::new()?;
        let mut storing = Storing::new(&people, &away, each, &wanted, &settings);
        door::enter(&mut engine, &people, &edges, Manner::Calm, &mut storing)?;
        run::begin(&mut engine, &mut storing);
        let from = Started::now(&engine, &mut storing, &stack);
        storing.begin_to_write(&mut engine);
        run::settle(&mut engine, &mut storing)?;
        let mut stored = from.until_now(&engine, &mut storing, &stack);
        stored.seconds = seconds(storing.began, storing.last);

        say("all come back");
        let mut fetching = Fetching::new(engine.lines(), &people, &away, storing.acked(), &settings);
        let began = run::begin(&mut engine, &mut fetching);
        let from = Started::now(&engine, &mut fetching, &stack);
        let entered = door::enter(&mut engine, &away, &edges, Manner::Storm(wanted.at_once), &mut fetching)?;
        run::settle(&mut engine, &mut fetching)?;
        let mut fetched = from.until_now(&engine, &mut fetching, &stack);
        fetched.seconds = seconds(began, fetching.last);
        // What lingers is acknowledged.
        let later = engine.now() + settings.ack_ms * 1_000 + 100_000;
        run::go_on(&mut engine, &mut fetching, later)?;
        Ok((storing, stored, fetching, fetched, entered))
    })
    .await?;
    let began = Instant::now();
    let behind = loop {
        let row = database.query_one(BEHIND, &[&ids, &DEVICE, &(each as i64)]).await?;
        let behind: i64 = row.get(0);
        if behind == 0 || began.elapsed() > CURSORS {
            break behind;
        }
        sleep(Duration::from_millis(200)).await;
    };
    report(&mut line, offline, &storing, &stored, &fetching, &fetched, &entered);
    line.put("cursors_behind", behind);
    Plot::of(&storing.meter, "offline").draw(options)?;
    Ok(line.finish())
}

fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from).max(1) as f64 / 1e6
}

fn report(
    line: &mut super::report::Line,
    offline: &Offline,
    storing: &Storing,
    stored: &Measured,
    fetching: &Fetching,
    fetched: &Measured,
    entered: &Entered,
) {
    let mut counts = storing.counts();
    counts.include(&fetching.counts());
    line.put("users", offline.users);
    line.put("window", offline.window);
    line.put("at_once", offline.at_once);
    line.put("messages", storing.total);
    line.figure("stored_s", stored.seconds);
    line.put("stored_per_s", (storing.acked() as f64 / stored.seconds).round());
    line.figure("retrieved_s", fetched.seconds);
    line.put("retrieved_per_s", (counts.delivered as f64 / fetched.seconds).round());
    line.put("logins_per_s", entered.per_second().round());
    line.put("login_retries", entered.retries);
    line.latencies("", &storing.meter.acked);
    line.latencies("login_", &entered.took);
    line.cpu("cpu_us_per_msg", &stored.cpu, storing.acked());
    line.cpu("cpu_us_per_retrieved", &fetched.cpu, counts.delivered);
    line.counts(&counts);
}

/// Those who write, each on the line of its number.
struct Storing {
    senders: Vec<(Sender, u64)>,
    window: usize,
    total: u64,
    meter: Meter,
    began: u64,
    last: u64,
    cut: u64,
}

/// Sender `n` of `s` writes to the users `n`, `n + s`, … in turn.
fn ids_of(user: usize, senders: usize, users: usize) -> Ids {
    let sender = user % senders;
    let of_sender = (users - sender).div_ceil(senders);
    Ids { first: (user / senders + 1) as u64, step: of_sender as u64 }
}

impl Storing {
    fn new(people: &[Person], away: &[Person], each: usize, wanted: &Offline, options: &Options) -> Self {
        let text = "x".repeat(options.body);
        let sender = |nth: usize| {
            let to = away.iter().skip(nth).step_by(people.len());
            let letters: Vec<Letter> =
                to.map(|person| Letter::new(Whose::User(person.user), &text)).collect();
            let messages = (letters.len() * each) as u64;
            (Sender::with(letters), messages)
        };
        let senders = (0..people.len()).map(sender).collect();
        let (total, window) = ((away.len() * each) as u64, wanted.window);
        Self { senders, window, total, meter: Meter::new(false), began: 0, last: 0, cut: 0 }
    }

    fn begin_to_write(&mut self, engine: &mut Engine) {
        self.began = engine.now();
        for (line, (sender, messages)) in self.senders.iter_mut().enumerate() {
            let first = (*messages).min(self.window as u64);
            let now = self.began;
            engine.send(line, |out| (0..first).for_each(|_| sender.write(now, out)));
        }
    }

    fn acked(&self) -> u64 {
        self.senders.iter().map(|(sender, _)| sender.acked).sum()
    }
}

impl Play for Storing {
    fn got(&mut self, line: usize, got: Got<'_>, at: u64, out: &mut Vec<u8>) {
        let Some((sender, messages)) = self.senders.get_mut(line) else { return };
        let fresh = match got {
            Got::Stored { id, seq } => {
                let fresh = sender.stored(id, seq);
                if let (true, Some(due)) = (fresh, sender.due(id)) {
                    self.meter.ack(due, at);
                    sender.forget(id);
                }
                fresh
            }
            Got::Refused { id, .. } => id.is_some_and(|id| sender.refused(id)),
            _ => false,
        };
        if fresh {
            self.last = at;
            if sender.written() < *messages {
                sender.write(at, out);
            }
        }
    }

    fn ended(&mut self, _: usize, _: &io::Error) {
        self.cut += 1;
    }
}

impl Scene for Storing {
    fn begin(&mut self, _: &mut Engine, _: u64) {}

    fn due(&mut self, _: &mut Engine, _: u64) -> u64 {
        u64::MAX
    }

    fn stop(&mut self) {}

    fn meters(&mut self) -> Vec<&mut Meter> {
        vec![&mut self.meter]
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts { cut: self.cut, ..Counts::default() };
        self.senders.iter().for_each(|(sender, _)| counts.add(sender, []));
        counts
    }

    fn is_settled(&self) -> bool {
        let counts = self.counts();
        counts.written == self.total && counts.unanswered == 0
    }
}

/// Those who come back.
struct Fetching {
    first: usize,
    receivers: Vec<Receiver>,
    /// Whose each line is, from the first one on.
    whose: Vec<usize>,
    expected: u64,
    acks: Acks,
    lingering: Lingering,
    /// Each one's newest line.
    lines: Vec<usize>,
    meter: Meter,
    last: u64,
    cut: u64,
}

impl Fetching {
    fn new(first: usize, people: &[Person], away: &[Person], expected: u64, options: &Options) -> Self {
        let receiver = |user: usize| {
            let from = Whose::User(people[user % people.len()].user);
            Receiver::with(from, ids_of(user, people.len(), away.len()))
        };
        Self {
            first,
            receivers: (0..away.len()).map(receiver).collect(),
            whose: Vec::new(),
            expected,
            acks: options.acks,
            lingering: Lingering::new(options),
            lines: vec![0; away.len()],
            meter: Meter::new(false),
            last: 0,
            cut: 0,
        }
    }
}

impl Play for Fetching {
    fn got(&mut self, line: usize, got: Got<'_>, at: u64, out: &mut Vec<u8>) {
        let Some(who) = line.checked_sub(self.first).and_then(|nth| self.whose.get(nth)) else { return };
        let (Got::Delivery { id, seq, .. }, Some(receiver)) = (got, self.receivers.get_mut(*who)) else {
            return;
        };
        let shown = receiver.got(id, seq, at, self.acks, out);
        if shown.begins {
            self.lingering.since(at, *who);
        }
        if shown.fresh {
            self.last = at;
            self.meter.show(None, at);
        }
    }

    fn ended(&mut self, _: usize, _: &io::Error) {
        self.cut += 1;
    }
}

impl Scene for Fetching {
    fn begin(&mut self, _: &mut Engine, _: u64) {}

    fn opened(&mut self, line: usize, who: usize) {
        self.whose.push(who);
        self.lines[who] = line;
    }

    fn due(&mut self, engine: &mut Engine, now: u64) -> u64 {
        let (receivers, lines, acks) = (&mut self.receivers, &self.lines, self.acks);
        self.lingering.until(now, |who, long_ago| {
            let receiver = &mut receivers[who];
            if receiver.waits_since(long_ago) {
                engine.send(lines[who], |out| receiver.acknowledge(acks, out));
            }
        })
    }

    fn stop(&mut self) {}

    fn meters(&mut self) -> Vec<&mut Meter> {
        vec![&mut self.meter]
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts { cut: self.cut, ..Counts::default() };
        for receiver in &self.receivers {
            counts.delivered += receiver.delivered;
            counts.doubled += receiver.doubled;
            counts.reordered += receiver.reordered;
            counts.repeated += receiver.repeated;
        }
        counts.lost = self.expected.saturating_sub(counts.delivered);
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_counts_over_its_users_in_turn() {
        // Two senders, five users: the first writes to 0, 2, 4, 0, 2, 4, the other to 1, 3, 1, 3.
        let ids: Vec<(u64, u64)> =
            (0..5).map(|user| ids_of(user, 2, 5)).map(|ids| (ids.first, ids.step)).collect();
        assert_eq!(ids, [(1, 3), (1, 2), (2, 3), (2, 2), (3, 3)]);
    }
}
