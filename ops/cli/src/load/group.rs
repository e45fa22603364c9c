//! `group`: one group whose members are all online, one of whom writes; beside it, where wanted, a pair of users.

use std::io;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio_postgres::Client;

use super::{
    Acks, Options,
    aside::Aside,
    bare::{
        Engine, Got, Play,
        write::{Letter, Place as Whose},
    },
    blocking, door, line,
    meter::Meter,
    party::{Counts, Lingering, Receiver, Sender},
    people::{self, Person},
    place::Place,
    plot::Plot,
    run::{self, Scene},
};

/// What `simple-im load group` takes beside what every load does.
#[derive(Clone, Debug, clap::Args)]
pub struct Group {
    /// Members, the one who writes among them.
    #[arg(long, default_value_t = 100)]
    pub members: usize,
    /// Messages without an ack.
    #[arg(long, default_value_t = 4)]
    pub window: usize,
    /// Messages a second of a pair beside the group; 0: no pair. Where not given, 100 from 1,000 members on.
    #[arg(long)]
    pub beside: Option<f64>,
}

/// The most messages whose time is remembered: members are never further behind the sender.
const REMEMBERED: usize = 1 << 16;

const GROUP: &str = "INSERT INTO groups (name, creator_id) VALUES ('load', $1) RETURNING id";
const MEMBERS: &str = "INSERT INTO participants (user_id, conv, from_seq, group_id)
SELECT id, $2, 1, $3 FROM unnest($1::bigint[]) id";
const ROWS: &str = "SELECT count(*) FROM messages WHERE conv = $1";

/// Runs it; its line.
pub async fn drive(options: &Options, group: &Group, place: &Place) -> Result<String> {
    ensure!(group.members > 1 && group.window > 0, "expected at least two members and a window of 1");
    let (edges, database) = (place.edges()?, place.database().await?);
    let rate = group.beside.unwrap_or(if group.members >= 1_000 { 100.0 } else { 0.0 });
    let pair = if rate > 0.0 { 2 } else { 0 };
    let mut people = people::make(&database, group.members + pair, &edges).await?;
    let id = make(&database, &people[..group.members]).await?;
    let mut line = line("group", options, place).await?;
    line.put("members", group.members);
    line.put("window", group.window);
    let (settings, stack, window) = (options.clone(), place.stack.clone(), group.window);
    let members = group.members;
    let (measured, room, pairs) = blocking(move || {
        let mut engine = Engine::new()?;
        let text = "x".repeat(settings.body);
        let of = Whose::Group(id);
        let mut room = Room {
            sender: Sender::new(Letter::new(of, &text)),
            members: (1..members).map(|_| Receiver::new(of)).collect(),
            window,
            acks: settings.acks,
            stopped: false,
            lingering: Lingering::new(&settings),
            meter: Meter::new(false),
            cut: 0,
        };
        let beside = people.split_off(members);
        door::enter(&mut engine, &people, &edges, door::Manner::Calm, &mut room)?;
        let aside = match beside.len() {
            0 => None,
            _ => Some(Aside::enter(beside, edges, rate, true, &settings)?),
        };
        let (measured, pairs) = run::measure_beside(&settings, &stack, &mut engine, &mut room, aside)?;
        Ok((measured, room, pairs))
    })
    .await?;
    let (meter, counts) = (&room.meter, room.counts());
    line.messages(&measured, meter, &counts);
    line.put("copies_per_s", (meter.deliveries as f64 / measured.seconds).round());
    line.cpu("cpu_us_per_copy", &measured.cpu, meter.deliveries);
    let rows: i64 = database.query_one(ROWS, &[&format!("g:{id}")]).await?.get(0);
    line.put("rows", rows);
    if let Some(pairs) = pairs {
        let (meter, counts) = (&pairs.meter, pairs.counts());
        line.figure("pair_rate", rate);
        line.latencies("pair_", &meter.shown);
        line.latencies("pair_acked_", &meter.acked);
        for (key, count) in
            [("lost", counts.lost), ("doubled", counts.doubled), ("reordered", counts.reordered)]
        {
            line.put(&format!("pair_{key}"), Value::from(count));
        }
    }
    Plot::of(&room.meter, "group").draw(options)?;
    Ok(line.finish())
}

/// Straight into PostgreSQL, the first one its creator.
async fn make(database: &Client, members: &[Person]) -> Result<u64> {
    let users: Vec<i64> = members.iter().map(|member| member.user.cast_signed()).collect();
    let row = database.query_one(GROUP, &[&users[0]]).await.context("making the group")?;
    let id: i64 = row.get(0);
    database.execute(MEMBERS, &[&users, &format!("g:{id}"), &id]).await.context("adding its members")?;
    database.batch_execute("ANALYZE participants").await?;
    Ok(id.cast_unsigned())
}

/// The group: the sender on line 0, the others on those that follow.
struct Room {
    sender: Sender,
    members: Vec<Receiver>,
    window: usize,
    acks: Acks,
    stopped: bool,
    lingering: Lingering,
    meter: Meter,
    cut: u64,
}

impl Play for Room {
    fn got(&mut self, line: usize, got: Got<'_>, at: u64, out: &mut Vec<u8>) {
        match got {
            Got::Stored { id, seq } => {
                if self.sender.stored(id, seq) {
                    if let Some(due) = self.sender.due(id) {
                        self.meter.ack(due, at);
                    }
                    if !self.stopped {
                        self.sender.write(at, out);
                        self.sender.forget_all_but(REMEMBERED);
                    }
                }
            }
            Got::Refused { id, .. } => {
                if id.is_some_and(|id| self.sender.refused(id)) && !self.stopped {
                    self.sender.write(at, out);
                }
            }
            Got::Delivery { id, seq, .. } if line > 0 => {
                let member = &mut self.members[line - 1];
                let shown = member.got(id, seq, at, self.acks, out);
                if shown.begins {
                    self.lingering.since(at, line - 1);
                }
                if shown.fresh {
                    self.meter.show(self.sender.due(id), at);
                }
            }
            Got::Delivery { .. } | Got::Done | Got::Other { .. } => {}
        }
    }

    fn ended(&mut self, _: usize, _: &io::Error) {
        self.cut += 1;
    }
}

impl Scene for Room {
    fn begin(&mut self, engine: &mut Engine, now: u64) {
        engine.send(0, |out| (0..self.window).for_each(|_| self.sender.write(now, out)));
    }

    fn due(&mut self, engine: &mut Engine, now: u64) -> u64 {
        let (members, acks) = (&mut self.members, self.acks);
        self.lingering.until(now, |nth, long_ago| {
            let member = &mut members[nth];
            if member.waits_since(long_ago) {
                engine.send(nth + 1, |out| member.acknowledge(acks, out));
            }
        })
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn meters(&mut self) -> Vec<&mut Meter> {
        vec![&mut self.meter]
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts { cut: self.cut, ..Counts::default() };
        counts.add(&self.sender, &self.members);
        counts
    }
}
