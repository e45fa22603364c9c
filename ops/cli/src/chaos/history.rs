//! What happened at the clients, kept small: a run of half an hour is millions of deliveries.

use std::collections::HashMap;

use shared::ids::{Conversation, UserId};

/// A device's place in [`History::devices`].
pub type DeviceNo = u16;
/// A conversation's place in [`History::conversations`].
pub type TalkNo = u16;
/// An attempt's place in [`History::attempts`].
pub type AttemptNo = u32;

/// Everything recorded.
#[derive(Debug, Default)]
pub struct History {
    /// Who takes part.
    pub devices: Vec<Device>,
    /// Where they talk.
    pub conversations: Vec<Talk>,
    /// Every message that a client began to send, in that order.
    pub attempts: Vec<Attempt>,
    /// What each device was shown, in that order; one row a device.
    pub shown: Vec<Vec<Shown>>,
    /// Clients that ended by themselves, which none may: why.
    pub ended: Vec<String>,
    /// Connections lost, over all clients.
    pub disconnects: u64,
    /// Frames that clients which have ended since wrote, each time anew.
    pub written: u64,
    /// Requests that succeeded.
    pub requests: u64,
    /// Deliveries that a device which had been away was given again, and dropped.
    pub repeats: u64,
    /// How often a device went away and came back.
    pub returns: u64,
    /// Times that a device which stays had no connection.
    pub gaps: Vec<Gap>,
    /// When a message was begun and how long after that a device was shown it, milliseconds; without devices that are slow
    /// or go away.
    pub delays: Vec<(u32, u32)>,
    /// What devices that go away have saved, one bit a number.
    has: HashMap<(DeviceNo, TalkNo), Vec<u64>>,
    /// Attempts' deliveries shown, a device.
    pub shown_attempts: Vec<u64>,
    numbers: HashMap<Conversation, TalkNo>,
}

/// One device.
#[derive(Clone, Debug)]
pub struct Device {
    /// Whose.
    pub user: UserId,
    /// Its name for people: `12/d1`.
    pub name: String,
    /// It goes away now and then: its messages may wait for its return.
    pub leaves: bool,
}

/// A time without a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Whose.
    pub device: DeviceNo,
    /// When it ended, milliseconds since the run's begin.
    pub at_ms: u32,
    /// How long it was, milliseconds.
    pub lasted_ms: u32,
}

/// One conversation.
#[derive(Clone, Debug)]
pub struct Talk {
    /// Its key.
    pub key: Conversation,
    /// The devices of all who take part.
    pub devices: Vec<DeviceNo>,
}

/// One message that was to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// By whom.
    pub device: DeviceNo,
    /// Where.
    pub talk: TalkNo,
    /// When, milliseconds since the run's begin.
    pub at_ms: u32,
    /// What came of it.
    pub answer: Answer,
}

/// What a sender was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing yet.
    None,
    /// It is stored.
    Stored {
        /// Under this number.
        seq: u32,
        /// When the sender learned of it, milliseconds since the run's begin.
        at_ms: u32,
    },
    /// It is refused.
    Refused,
}

/// One delivery as a device shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Where.
    pub talk: TalkNo,
    /// Its number there.
    pub seq: u32,
    /// What it was.
    pub what: What,
}

/// What a delivery or a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The message of this attempt.
    Attempt(AttemptNo),
    /// A request, which the run makes only to set up groups.
    Request,
    /// Nothing that anybody ever sent.
    Foreign,
}

impl History {
    /// A further device.
    pub fn device(&mut self, user: UserId, name: String, leaves: bool) -> DeviceNo {
        self.devices.push(Device { user, name, leaves });
        self.shown.push(Vec::new());
        self.shown_attempts.push(0);
        DeviceNo::try_from(self.devices.len() - 1).unwrap_or(DeviceNo::MAX)
    }

    /// A further conversation of these users, with all devices they have.
    pub fn talk(&mut self, key: Conversation, users: &[UserId]) -> TalkNo {
        let devices = (0..).zip(&self.devices).filter(|(_, it)| users.contains(&it.user));
        let talk = Talk { key, devices: devices.map(|(number, _)| number).collect() };
        self.conversations.push(talk);
        let number = TalkNo::try_from(self.conversations.len() - 1).unwrap_or(TalkNo::MAX);
        self.numbers.insert(key, number);
        number
    }

    /// The conversation of this key, if it is one of the run's.
    pub fn talk_of(&self, key: &Conversation) -> Option<TalkNo> {
        self.numbers.get(key).copied()
    }

    /// A message is about to be sent: its number, which its text carries.
    pub fn begin(&mut self, device: DeviceNo, talk: TalkNo, at_ms: u32) -> AttemptNo {
        self.attempts.push(Attempt { device, talk, at_ms, answer: Answer::None });
        AttemptNo::try_from(self.attempts.len() - 1).unwrap_or(AttemptNo::MAX)
    }

    /// What the sender was told.
    pub fn answered(&mut self, attempt: AttemptNo, answer: Answer) {
        if let Some(known) = self.attempts.get_mut(attempt as usize) {
            known.answer = answer;
        }
    }

    /// A device was shown a delivery.
    pub fn show(&mut self, device: DeviceNo, shown: Shown) {
        let at = usize::from(device);
        if let (Some(row), Some(count)) = (self.shown.get_mut(at), self.shown_attempts.get_mut(at)) {
            *count += u64::from(matches!(shown.what, What::Attempt(_)));
            row.push(shown);
        }
    }

    /// A device was shown this attempt's message `now`: how long that took counts, unless its sender goes away.
    pub fn shown_after(&mut self, attempt: AttemptNo, now_ms: u32) {
        let Some(it) = self.attempts.get(attempt as usize) else { return };
        if self.devices.get(usize::from(it.device)).is_some_and(|device| !device.leaves) {
            self.delays.push((it.at_ms, now_ms.saturating_sub(it.at_ms)));
        }
    }

    /// A device that goes away and forgets is given a delivery: it drops what it has saved, by the protocol's rule.
    pub fn show_once(&mut self, device: DeviceNo, shown: Shown) {
        let bits = self.has.entry((device, shown.talk)).or_default();
        // A number beyond any that this run can give is nothing to make room for: the judge is to see it.
        let (at, bit) = ((shown.seq / 64) as usize, 1_u64 << (shown.seq % 64));
        if at <= self.attempts.len() {
            if bits.len() <= at {
                bits.resize(at + 1, 0);
            }
            if bits[at] & bit != 0 {
                self.repeats += 1;
                return;
            }
            bits[at] |= bit;
        }
        self.show(device, shown);
    }

    /// How many attempts' deliveries each device is to be shown, by what is acked.
    pub fn owed(&self) -> Vec<u64> {
        let mut acked = vec![0_u64; self.conversations.len()];
        let mut owed = vec![0_u64; self.devices.len()];
        let mut own = vec![0_u64; self.devices.len()];
        for attempt in &self.attempts {
            if matches!(attempt.answer, Answer::Stored { .. }) {
                acked[usize::from(attempt.talk)] += 1;
                own[usize::from(attempt.device)] += 1;
            }
        }
        for (talk, acked) in self.conversations.iter().zip(acked) {
            talk.devices.iter().for_each(|device| owed[usize::from(*device)] += acked);
        }
        owed.iter().zip(own).map(|(owed, own)| owed - own).collect()
    }

    /// What a text is, if `from` sent it to this conversation.
    pub fn what(&self, talk: TalkNo, from: UserId, text: &str) -> What {
        let number = text.split(' ').nth(1).and_then(|number| number.parse::<AttemptNo>().ok());
        let attempt = number.and_then(|number| Some((number, self.attempts.get(number as usize)?)));
        match attempt {
            Some((number, it))
                if it.talk == talk
                    && self.devices.get(usize::from(it.device)).is_some_and(|device| device.user == from)
                    && text == self::text(number) =>
            {
                What::Attempt(number)
            }
            _ => What::Foreign,
        }
    }

    /// How many were answered.
    pub fn unanswered(&self) -> usize {
        self.attempts.iter().filter(|it| it.answer == Answer::None).count()
    }
}

/// The text of an attempt: its number, and a length and content of its own, so that one cut or mixed up is seen.
pub fn text(attempt: AttemptNo) -> String {
    let mut text = format!("chaos {attempt} ");
    let length = 8 + (attempt as usize).wrapping_mul(2_654_435_761) % 160;
    while text.len() < length + 8 {
        text.push_str(&format!("{:x}\"\\é ", attempt.wrapping_mul(0x9e37_79b9)));
    }
    text.push('.');
    text
}
