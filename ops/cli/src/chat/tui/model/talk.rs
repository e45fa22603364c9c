//! One conversation: what was said, what is on its way, how far it was read.

use std::collections::{BTreeMap, BTreeSet};

use shared::{
    client::{Delivery, Level, Receipt},
    command::RequestName,
    ids::{MessageId, Seq, UserId},
};
use toml::{Table, Value};

use crate::chat::tui::input::Input;

/// Entries kept of a conversation that is not on the screen; what is older is loaded again when it is looked at.
const KEPT: usize = 200;
/// Entries kept in any case.
const MOST: usize = 5_000;

/// One conversation.
#[derive(Debug, Default)]
pub struct Talk {
    /// By place, so that nothing stands twice.
    pub items: BTreeMap<Seq, Item>,
    /// Written here and not stored yet, in order.
    pub pending: Vec<Pending>,
    /// Up to here it was read; 0: nothing.
    pub read: i64,
    /// Others' messages beyond.
    pub unread: u64,
    /// What of `unread` the server has counted.
    pub counted: i64,
    /// Whether this user is no longer in it.
    pub left: bool,
    /// How the history before the first entry stands.
    pub history: History,
    /// Lines between the lowest one shown and the end.
    pub scroll: usize,
    /// What is being written.
    pub draft: Input,
    /// When the last entry was, Unix seconds.
    pub last_ts: i64,
}

/// What is known of a conversation's past.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum History {
    /// Never asked for.
    #[default]
    Unknown,
    /// Asked for.
    Loading,
    /// There is more.
    More,
    /// This is the beginning.
    Whole,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Whose.
    pub from: UserId,
    /// When, Unix seconds.
    pub ts: i64,
    /// What.
    pub what: What,
    /// Who has it, of an own one.
    pub delivered: BTreeSet<UserId>,
    /// Who has read it.
    pub read: BTreeSet<UserId>,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A message.
    Text(String),
    /// A step with contacts or members.
    Step {
        /// Which.
        name: RequestName,
        /// Its `message`, or a group's name.
        text: String,
        /// Whom it is about.
        about: Vec<UserId>,
    },
}

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its id.
    pub id: MessageId,
    /// What it says.
    pub text: String,
    /// Why it will not be stored.
    pub refused: Option<String>,
}

impl Talk {
    /// Takes what came or was loaded; false: it was there.
    pub fn take(&mut self, delivery: &Delivery) -> bool {
        let item = Item::of(delivery);
        self.put(delivery.seq, item)
    }

    /// Takes an entry at its place; false: it was there.
    pub fn put(&mut self, seq: Seq, item: Item) -> bool {
        if self.items.contains_key(&seq) {
            return false;
        }
        self.last_ts = self.last_ts.max(item.ts);
        self.items.insert(seq, item);
        if self.items.len() > MOST {
            self.items.pop_first();
            self.history = History::More;
        }
        true
    }

    /// A message of this user is stored.
    pub fn stored(&mut self, id: &MessageId, me: UserId, seq: Seq, ts: i64) {
        if let Some(at) = self.pending.iter().position(|pending| pending.id == *id) {
            let text = self.pending.remove(at).text;
            self.put(seq, Item::new(me, ts, What::Text(text)));
        }
    }

    /// Somebody has it, or has read it: then also what stands before it.
    pub fn receipt(&mut self, receipt: &Receipt, me: UserId) {
        let (Some(seq), Some(by)) = (receipt.seq, receipt.by) else { return };
        match receipt.level {
            Level::Queued => {}
            Level::Delivered => {
                if let Some(item) = self.items.get_mut(&seq) {
                    item.delivered.insert(by);
                }
            }
            Level::Read => {
                for (_, item) in self.items.range_mut(..=seq).filter(|(_, item)| item.from == me) {
                    item.read.insert(by);
                }
            }
        }
    }

    /// Counts what came: unless the server has counted it, or it was read.
    pub fn count(&mut self, seq: Seq) {
        if seq.0 > self.read.max(self.counted) {
            self.unread += 1;
            self.counted = seq.0;
        }
    }

    /// Everything is read; the place to tell the server, where that is news.
    pub fn read_all(&mut self, me: UserId) -> Option<Seq> {
        self.unread = 0;
        let (&seq, _) = self.items.iter().rev().find(|(_, item)| item.from != me)?;
        self.counted = self.counted.max(seq.0);
        (seq.0 > self.read).then(|| {
            self.read = seq.0;
            seq
        })
    }

    /// Frees what is not looked at.
    pub fn forget(&mut self) {
        self.scroll = 0;
        while self.items.len() > KEPT {
            self.items.pop_first();
            self.history = History::More;
        }
    }
}

impl Item {
    /// An entry that nobody else has yet.
    pub fn new(from: UserId, ts: i64, what: What) -> Self {
        Self { from, ts, what, delivered: BTreeSet::new(), read: BTreeSet::new() }
    }

    fn of(delivery: &Delivery) -> Self {
        let what = match (delivery.text(), delivery.request()) {
            (None, Some((name, table))) => step(name, table),
            (text, _) => What::Text(text.unwrap_or_default().to_owned()),
        };
        Self::new(delivery.from, delivery.ts, what)
    }
}

fn step(name: RequestName, table: &Table) -> What {
    let text = table.get("message").or_else(|| table.get("name")).and_then(Value::as_str).unwrap_or_default();
    let user = |value: &Value| value.as_integer().map(UserId);
    let about = match (table.get("member_id"), table.get("members")) {
        (Some(member), _) => user(member).into_iter().collect(),
        (None, Some(Value::Array(members))) => members.iter().filter_map(user).collect(),
        _ => Vec::new(),
    };
    What::Step { name, text: text.to_owned(), about }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    fn said(from: UserId, ts: i64) -> Item {
        Item::new(from, ts, What::Text("x".into()))
    }

    #[test]
    fn nothing_stands_twice_and_places_give_the_order() {
        let mut talk = Talk::default();
        assert!(talk.put(Seq(2), said(BOB, 5)) && talk.put(Seq(1), said(ME, 4)));
        assert!(!talk.put(Seq(2), said(BOB, 9)));
        assert_eq!((talk.items.keys().copied().collect::<Vec<_>>(), talk.last_ts), (vec![Seq(1), Seq(2)], 5));
    }

    #[test]
    fn what_is_read_covers_what_came_before() {
        let mut talk = Talk::default();
        for seq in 1..=3 {
            talk.put(Seq(seq), said(if seq == 2 { BOB } else { ME }, seq));
        }
        let mut receipt = Receipt {
            id: MessageId::new("a").unwrap(),
            level: Level::Delivered,
            seq: Some(Seq(3)),
            group: None,
            by: Some(BOB),
            device: None,
        };
        talk.receipt(&receipt, ME);
        assert_eq!((talk.items[&Seq(1)].delivered.len(), talk.items[&Seq(3)].delivered.len()), (0, 1));
        receipt.level = Level::Read;
        talk.receipt(&receipt, ME);
        assert_eq!([1, 2, 3].map(|seq| talk.items[&Seq(seq)].read.len()), [1, 0, 1]);
    }

    #[test]
    fn unread_is_counted_once() {
        let mut talk = Talk { read: 3, unread: 2, counted: 5, ..Talk::default() };
        for seq in [3, 5, 6, 6, 7] {
            talk.count(Seq(seq));
        }
        assert_eq!(talk.unread, 4);
        talk.put(Seq(7), said(BOB, 1));
        talk.put(Seq(8), said(ME, 1));
        assert_eq!((talk.read_all(ME), talk.unread), (Some(Seq(7)), 0));
        assert_eq!(talk.read_all(ME), None, "once is enough");
        talk.count(Seq(7));
        assert_eq!(talk.unread, 0);
    }

    #[test]
    fn what_is_not_looked_at_is_bounded() {
        let mut talk = Talk { history: History::Whole, ..Talk::default() };
        (1..=300).for_each(|seq| assert!(talk.put(Seq(seq), said(BOB, seq))));
        talk.forget();
        assert_eq!((talk.items.len(), talk.history), (KEPT, History::More));
        assert!(talk.items.contains_key(&Seq(300)));
    }
}
