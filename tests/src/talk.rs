//! Alice and bob, who talk while other things happen.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::{
    harness::{SOON, System, eventually},
    people::{User, delivered, stored},
    wire::{Got, Wire, kind, must_be},
};

/// How long a client waits before it sends again what was not answered.
const PATIENCE: Duration = Duration::from_secs(3);

/// Alice on the first node, bob on the second, and one message over.
pub struct Talk {
    /// On the first node.
    pub alice: User,
    /// On the second.
    pub bob: User,
    /// Hers.
    pub a: Wire,
    /// His.
    pub b: Wire,
    /// How many have been sent.
    pub seq: i64,
    /// The longest round.
    pub slowest: Duration,
}

impl Talk {
    /// Both log in, and the first message goes over.
    pub async fn begin(system: &System) -> Self {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let a = system.online(&alice, "phone", 0).await;
        let b = system.online(&bob, "phone", 1).await;
        let mut talk = Self { alice, bob, a, b, seq: 0, slowest: Duration::ZERO };
        talk.round().await;
        // The last read of their backlogs is over: what a test cuts is not a call that is under way.
        eventually(SOON, async || {
            let mut reading = 0.0;
            for edge in &system.edges {
                reading += edge.metric("im_edge_backlog_sessions").await;
            }
            if reading == 0.0 { Ok(()) } else { Err(format!("{reading} sessions read their backlog")) }
        })
        .await;
        // The first round waited until the lanes had owners.
        talk.slowest = Duration::ZERO;
        talk
    }

    /// One message over, acked and delivered as the very next things.
    pub async fn round(&mut self) {
        let (begun, first) = (Instant::now(), self.seq + 1);
        self.send(1, "stored").await;
        self.stored_from(first).await;
        self.delivered_from(first).await;
        self.slowest = self.slowest.max(begun.elapsed());
    }

    /// Alice sends so many, and waits for nothing.
    pub async fn send(&mut self, count: i64, ack: &str) {
        for _ in 0..count {
            self.seq += 1;
            self.say(self.seq, ack).await;
        }
    }

    /// Message number `seq` from alice to bob.
    pub async fn say(&mut self, seq: i64, ack: &str) {
        let to = self.bob.id;
        let frame = format!("[[m]]\nid = \"m{seq}\"\nc = \"number {seq}\"\nack = \"{ack}\"\nto = {to}");
        self.a.send(&frame).await;
    }

    /// Alice's acks from this one on come, each with the place in which it was sent. A node that was taken for dead is
    /// not told what became of its frames; so, as the protocol has it, alice sends again what is not answered for a while.
    pub async fn stored_from(&mut self, first: i64) {
        let mut open: BTreeSet<i64> = (first..=self.seq).collect();
        while !open.is_empty() {
            let Some(got) = self.a.got_within(PATIENCE).await else {
                for seq in &open {
                    self.say(*seq, "stored").await;
                }
                continue;
            };
            let Got::Entry(entry) = got else { panic!("expected an ack, found {got:?}") };
            let Some(seq) = entry["a"]["seq"].as_integer() else { panic!("no place in {entry:?}") };
            must_be(&stored(&format!("m{seq}"), seq), &entry);
            assert!((1..=self.seq).contains(&seq), "an ack of {seq}, which was never sent");
            // One that is not open any more is of a chunk that another worker replayed.
            open.remove(&seq);
        }
    }

    /// Bob's deliveries from this one on come in order, one each.
    pub async fn delivered_from(&mut self, first: i64) {
        for seq in first..=self.seq {
            let (id, text) = (format!("m{seq}"), format!("number {seq}"));
            self.b.expect(&delivered(&id, &text, seq, &self.bob, &self.alice, "phone")).await;
        }
    }

    /// Both connections stand, nothing is left to be said on them, and every message has one row.
    pub async fn nothing_more(&mut self, system: &System) {
        self.a.send_heartbeat().await;
        loop {
            match self.a.got().await {
                Got::Heartbeat => break,
                Got::Entry(entry) if kind(&entry) == "a" => {}
                other => panic!("expected the answer to a heartbeat, or an ack again, found {other:?}"),
            }
        }
        self.b.nothing_but_heartbeat().await;
        let rows = system.stores.number("SELECT count(*) FROM messages WHERE conv = 'dm:1:2'", &[]).await;
        assert_eq!(rows, self.seq, "every message is stored once");
    }
}
