//! How long acks stayed away, for each fault and for each kind of fault.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::subject::Lane;

use super::history::{Answer, History};

/// Lanes of a stack under `simple-im up`.
const LANES: u16 = 8;

/// A fault as it was done.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its name.
    pub fault: String,
    /// What was done to whom.
    pub what: String,
    /// When, milliseconds since the run's begin.
    pub at_ms: u32,
    /// When it was undone.
    pub healed_ms: u32,
}

/// A fault as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timed {
    at_s: f64,
    fault: String,
    what: String,
    lasted_ms: u32,
    /// The longest time without any ack, from the fault to the next.
    silence_ms: u32,
    /// The longest time that one lane gave no ack, from the first message sent to it after the fault began.
    lane_silence_ms: u32,
    /// From the fault's end to the first ack of a message sent after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_ack_ms: Option<u32>,
    /// From the fault's end until everything sent before it was acked.
    caught_up_ms: u32,
}

/// All faults of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kind {
    fault: String,
    count: usize,
    silence_median_ms: u32,
    silence_worst_ms: u32,
    lane_silence_median_ms: u32,
    lane_silence_worst_ms: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_ack_median_ms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_ack_worst_ms: Option<u32>,
    caught_up_median_ms: u32,
    caught_up_worst_ms: u32,
}

/// A message that was acked: to which lane, when its sending began, when its sender had the ack.
#[derive(Clone, Copy, Debug)]
struct Acked {
    lane: Lane,
    begun: u32,
    ack: u32,
}

/// The faults with how long acks stayed away.
pub fn timed(history: &History, faults: &[Done]) -> Vec<Timed> {
    // What waits for its sender's return says nothing about the system.
    let stays = |device: u16| history.devices.get(usize::from(device)).is_some_and(|device| !device.leaves);
    let acked = history.attempts.iter().filter(|it| stays(it.device)).filter_map(|it| match it.answer {
        Answer::Stored { at_ms, .. } => {
            let talk = history.conversations.get(usize::from(it.talk))?;
            Some(Acked { lane: Lane::of(&talk.key, LANES), begun: it.at_ms, ack: at_ms })
        }
        Answer::None | Answer::Refused => None,
    });
    let acked: Vec<Acked> = acked.collect();
    let mut acks: Vec<u32> = acked.iter().map(|it| it.ack).collect();
    acks.sort_unstable();
    let last = acks.last().copied().unwrap_or(0);
    let nexts = faults.iter().skip(1).map(|next| next.at_ms).chain([last]);
    let timed = faults.iter().zip(nexts).map(|(it, next)| {
        let next = next.max(it.healed_ms);
        let from = acks.partition_point(|ack| *ack < it.at_ms);
        let until = acks.partition_point(|ack| *ack <= next);
        let within = acks.get(from..until).unwrap_or_default();
        let steps = std::iter::once(it.at_ms).chain(within.iter().copied()).zip(within.iter().copied());
        let again = acked.iter().filter(|one| one.begun >= it.healed_ms).map(|one| one.ack).min();
        let caught = acked.iter().filter(|one| one.begun < it.healed_ms).map(|one| one.ack).max();
        Timed {
            at_s: (f64::from(it.at_ms) / 100.0).round() / 10.0,
            fault: it.fault.clone(),
            what: it.what.clone(),
            lasted_ms: it.healed_ms - it.at_ms,
            silence_ms: steps.map(|(one, other)| other.saturating_sub(one)).max().unwrap_or(0),
            lane_silence_ms: lane_silence(&acked, it.at_ms, next),
            first_ack_ms: again.map(|ack| ack.saturating_sub(it.healed_ms)),
            caught_up_ms: caught.unwrap_or(0).saturating_sub(it.healed_ms),
        }
    });
    timed.collect()
}

/// A lane is back with the first ack of any message sent to it after `from`: a client that is slow to look at its own ack
/// does not count, unless nobody else wrote. It was silent from the first of these messages on.
fn lane_silence(acked: &[Acked], from: u32, until: u32) -> u32 {
    let mut lanes: BTreeMap<Lane, (u32, u32)> = BTreeMap::new();
    for it in acked.iter().filter(|it| (from..until).contains(&it.begun)) {
        let (begun, ack) = lanes.entry(it.lane).or_insert((it.begun, it.ack));
        (*begun, *ack) = (it.begun.min(*begun), it.ack.min(*ack));
    }
    lanes.values().map(|(begun, ack)| ack.saturating_sub(*begun)).max().unwrap_or(0)
}

/// Median and worst of each kind of fault, by name.
pub fn summary(faults: &[Timed]) -> Vec<Kind> {
    let mut kinds: BTreeMap<&str, Vec<&Timed>> = BTreeMap::new();
    for fault in faults {
        kinds.entry(&fault.fault).or_default().push(fault);
    }
    let kinds = kinds.into_iter().map(|(fault, all)| {
        let spread = |of: fn(&Timed) -> Option<u32>| spread(all.iter().filter_map(|it| of(it)).collect());
        let silence = spread(|it| Some(it.silence_ms)).unwrap_or_default();
        let lane = spread(|it| Some(it.lane_silence_ms)).unwrap_or_default();
        let caught = spread(|it| Some(it.caught_up_ms)).unwrap_or_default();
        let first = spread(|it| it.first_ack_ms);
        Kind {
            fault: fault.to_owned(),
            count: all.len(),
            silence_median_ms: silence.0,
            silence_worst_ms: silence.1,
            lane_silence_median_ms: lane.0,
            lane_silence_worst_ms: lane.1,
            first_ack_median_ms: first.map(|it| it.0),
            first_ack_worst_ms: first.map(|it| it.1),
            caught_up_median_ms: caught.0,
            caught_up_worst_ms: caught.1,
        }
    });
    kinds.collect()
}

/// Median (the middle of the two where there are two) and worst; `None` of none.
fn spread(mut of: Vec<u32>) -> Option<(u32, u32)> {
    of.sort_unstable();
    let (low, high) = (*of.get(of.len().saturating_sub(1) / 2)?, *of.get(of.len() / 2)?);
    Some((low.midpoint(high), *of.last()?))
}

#[cfg(test)]
mod tests {
    use shared::ids::{Conversation, UserId};

    use super::*;

    /// When begun, in which of the conversations, when acked.
    fn history(messages: &[(u32, u16, u32)]) -> History {
        let mut history = History::default();
        history.device(UserId(1), "1/d1".to_owned(), false);
        for other in 2..40 {
            history.talk(Conversation::direct(UserId(1), UserId(other)), &[UserId(1)]);
        }
        for (number, (begun, talk, ack)) in (0..).zip(messages) {
            history.begin(0, *talk, *begun);
            history.answered(number, Answer::Stored { seq: number + 1, at_ms: *ack });
        }
        history
    }

    fn done(at_ms: u32, healed_ms: u32) -> Done {
        Done { fault: "kill-nats".to_owned(), what: "SIGKILL nats".to_owned(), at_ms, healed_ms }
    }

    #[test]
    fn a_fault_is_timed_by_the_acks_around_it() {
        let history = history(&[
            (0, 0, 10),
            (100, 0, 110),
            (900, 0, 5_300),
            (4_900, 0, 5_200),
            (5_100, 0, 5_200),
            (6_000, 0, 6_010),
        ]);
        let it = &timed(&history, &[done(1_000, 5_000)])[0];
        assert_eq!(
            (it.lasted_ms, it.silence_ms, it.lane_silence_ms, it.first_ack_ms, it.caught_up_ms),
            (4_000, 4_200, 300, Some(200), 300)
        );
    }

    #[test]
    fn the_worst_lane_is_the_one_that_was_taken_over() {
        let all = history(&[]);
        let lane = |talk: u16| Lane::of(&all.conversations[usize::from(talk)].key, LANES);
        let other = (1..38).find(|talk| lane(*talk) != lane(0)).unwrap();
        // The dead worker's lane is back at 1,500, where a slow client takes its ack at 9,000; the other lane goes on.
        let history = history(&[
            (1_100, 0, 9_000),
            (1_200, 0, 1_500),
            (1_010, other, 1_020),
            (1_300, other, 1_310),
            (3_000, other, 3_900),
        ]);
        let it = &timed(&history, &[done(1_000, 1_050)])[0];
        assert_eq!(it.lane_silence_ms, 400);
    }

    #[test]
    fn a_kind_has_its_median_and_its_worst() {
        let one = |fault: &str, silence_ms, first_ack_ms| Timed {
            at_s: 0.0,
            fault: fault.to_owned(),
            what: String::new(),
            lasted_ms: 0,
            silence_ms,
            lane_silence_ms: silence_ms * 2,
            first_ack_ms,
            caught_up_ms: 7,
        };
        let faults = [
            one("kill-worker", 30, Some(3)),
            one("flush-redis", 1, None),
            one("kill-worker", 10, None),
            one("kill-worker", 20, Some(5)),
        ];
        let [flush, kill] = &summary(&faults)[..] else { panic!("expected two kinds") };
        assert_eq!((flush.fault.as_str(), flush.count, flush.first_ack_median_ms), ("flush-redis", 1, None));
        assert_eq!((kill.count, kill.silence_median_ms, kill.silence_worst_ms), (3, 20, 30));
        assert_eq!((kill.lane_silence_median_ms, kill.lane_silence_worst_ms), (40, 60));
        assert_eq!((kill.first_ack_median_ms, kill.first_ack_worst_ms), (Some(4), Some(5)));
        assert_eq!((kill.caught_up_median_ms, kill.caught_up_worst_ms), (7, 7));
    }
}
