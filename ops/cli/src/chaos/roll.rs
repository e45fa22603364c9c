//! What clients saw of a rolling restart: how long each had no connection, and how long messages took meanwhile.

use serde::Serialize;

use super::history::{Answer, History};
use super::timing::Done;

/// A roll as it stands in the ledger. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Roll {
    at_s: f64,
    lasted_ms: u32,
    /// Each client's own longest gap.
    gaps_ms: Vec<u32>,
    /// The longest time that a client had no connection, over all clients. A client that had logged in elsewhere before its
    /// old connection ended has 0.
    gap: Spread,
    /// From the sending of a message until its sender had `stored`, over the messages begun in the roll.
    stored: Spread,
    /// From the sending of a message until a recipient's device was shown it.
    shown: Spread,
}

/// Of how many, and how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    of: usize,
    p50_ms: u32,
    p99_ms: u32,
    max_ms: u32,
}

impl Spread {
    fn of(mut all: Vec<u32>) -> Self {
        all.sort_unstable();
        // The smallest that so many of a hundred are not above.
        let at = |percent: usize| {
            let rank = (all.len() * percent).div_ceil(100).max(1);
            all.get(rank - 1).copied().unwrap_or(0)
        };
        Self { of: all.len(), p50_ms: at(50), p99_ms: at(99), max_ms: all.last().copied().unwrap_or(0) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { of, p50_ms, p99_ms, max_ms } = self;
        write!(f, "p50 {p50_ms} ms, p99 {p99_ms} ms, max {max_ms} ms of {of}")
    }
}

impl std::fmt::Display for Roll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { at_s, lasted_ms, gap, stored, shown, .. } = self;
        write!(f, "roll at {at_s} s, {lasted_ms} ms: client gap {gap}; stored {stored}; shown {shown}")
    }
}

/// One for each roll among the faults.
pub fn rolls(history: &History, faults: &[Done]) -> Vec<Roll> {
    faults.iter().filter(|it| it.fault == "roll").map(|it| roll(history, it)).collect()
}

fn roll(history: &History, done: &Done) -> Roll {
    let within = |at: &u32| (done.at_ms..=done.healed_ms).contains(at);
    let stays = |device: u16| history.devices.get(usize::from(device)).is_some_and(|device| !device.leaves);
    let mut gaps: Vec<Option<u32>> = Vec::new();
    for device in (0..).take(history.devices.len()) {
        // A gap that ended in the roll, or began in it.
        let own = history.gaps.iter().filter(|gap| gap.device == device);
        let own = own.filter(|gap| within(&gap.at_ms) || within(&gap.at_ms.saturating_sub(gap.lasted_ms)));
        gaps.push(stays(device).then(|| own.map(|gap| gap.lasted_ms).max().unwrap_or(0)));
    }
    let gaps_ms: Vec<u32> = gaps.into_iter().flatten().collect();
    let sent = history.attempts.iter().filter(|it| within(&it.at_ms) && stays(it.device));
    let stored = sent.filter_map(|it| match it.answer {
        Answer::Stored { at_ms, .. } => Some(at_ms.saturating_sub(it.at_ms)),
        Answer::None | Answer::Refused => None,
    });
    let shown = history.delays.iter().filter(|(at, _)| within(at)).map(|(_, lasted)| *lasted);
    Roll {
        at_s: (f64::from(done.at_ms) / 100.0).round() / 10.0,
        lasted_ms: done.healed_ms - done.at_ms,
        gap: Spread::of(gaps_ms.clone()),
        stored: Spread::of(stored.collect()),
        shown: Spread::of(shown.collect()),
        gaps_ms,
    }
}

#[cfg(test)]
mod tests {
    use shared::ids::{Conversation, UserId};

    use super::super::history::Gap;
    use super::*;

    #[test]
    fn a_roll_is_told_by_what_happened_in_it() {
        let mut history = History::default();
        for (user, leaves) in [(1, false), (2, false), (3, true)] {
            history.device(UserId(user), format!("{user}/d1"), leaves);
        }
        history.talk(Conversation::direct(UserId(1), UserId(2)), &[UserId(1), UserId(2)]);
        for (number, (device, begun, ack)) in
            (0..).zip([(0, 900, 950), (0, 1_500, 1_540), (1, 1_600, 2_300), (2, 1_700, 9_000)])
        {
            history.begin(device, 0, begun);
            history.answered(number, Answer::Stored { seq: number + 1, at_ms: ack });
            history.shown_after(number, ack + 5);
        }
        let gap = |device, at_ms, lasted_ms| Gap { device, at_ms, lasted_ms };
        // The second began in the roll and ended after it; the last is of a device that goes away by itself.
        history.gaps = vec![gap(0, 500, 400), gap(0, 1_800, 30), gap(1, 3_100, 200), gap(2, 1_500, 999)];
        let done = Done { fault: "roll".to_owned(), what: String::new(), at_ms: 1_000, healed_ms: 3_000 };
        let other = Done { fault: "kill-edge".to_owned(), ..done.clone() };
        let [roll] = &rolls(&history, &[other, done])[..] else { panic!("expected one roll") };
        assert_eq!(roll.gaps_ms, [30, 200]);
        assert_eq!(roll.gap, Spread { of: 2, p50_ms: 30, p99_ms: 200, max_ms: 200 });
        assert_eq!(roll.stored, Spread { of: 2, p50_ms: 40, p99_ms: 700, max_ms: 700 });
        assert_eq!(roll.shown, Spread { of: 2, p50_ms: 45, p99_ms: 705, max_ms: 705 });
    }

    #[test]
    fn a_spread_of_none_is_nothing() {
        assert_eq!(Spread::of(Vec::new()), Spread::default());
        assert_eq!(
            Spread::of((1..=200).collect()),
            Spread { of: 200, p50_ms: 100, p99_ms: 198, max_ms: 200 }
        );
    }
}
