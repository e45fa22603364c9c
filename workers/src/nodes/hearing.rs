//! How long this worker has heard the broker: the clock by which nodes die. No I/O.
//!
//! A heartbeat that does not arrive says that its node is dead only if it could have arrived. So the worker sends itself
//! ticks by the broker, and silence counts by the ticks that came back: while the broker is away or swallows everything,
//! and while this process stands still, nobody grows older.

use std::time::{Duration, Instant};

/// A moment, in time that the broker was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heard(Duration);

/// The clock. It is advanced by ticks alone.
#[derive(Debug)]
pub struct Hearing {
    every: Duration,
    last: Option<Instant>,
    heard: Duration,
}

impl Hearing {
    /// With a tick sent `every` so often.
    pub fn new(every: Duration) -> Self {
        Self { every, last: None, heard: Duration::ZERO }
    }

    /// A tick came back. The time since the one before counts, or one interval if it was so long that ticks were missed:
    /// never nothing, or a broker that is heard with pauses would keep the dead alive.
    pub fn tick(&mut self, now: Instant) {
        let gap = self.gap(now);
        self.heard += if gap <= self.every * 2 { gap } else { self.every };
        self.last = Some(now);
    }

    /// Now, for what is heard now. Within one interval after the last tick it is exact, so that nobody dies early for
    /// having been heard just before a tick.
    pub fn now(&self, now: Instant) -> Heard {
        Heard(self.heard + self.gap(now).min(self.every))
    }

    /// How long before the last tick that was; nothing if it was after it.
    pub fn since(&self, moment: Heard) -> Duration {
        self.heard.saturating_sub(moment.0)
    }

    /// How long nothing has been heard; nothing before the first tick.
    pub fn silence(&self, now: Instant) -> Duration {
        self.gap(now)
    }

    /// From the first tick to the last one.
    pub fn total(&self) -> Duration {
        self.heard
    }

    fn gap(&self, now: Instant) -> Duration {
        self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last))
    }
}

#[cfg(test)]
mod tests {
    use shared::seeded::{Random, seeds};

    use super::*;

    const DEAD: Duration = Duration::from_millis(3000);
    const EVERY: Duration = Duration::from_millis(500);
    const BEAT: Duration = Duration::from_millis(500);

    /// A stretch of time.
    #[derive(Debug, Clone, Copy)]
    enum Stretch {
        /// Everything arrives, up to 50 ms late.
        Heard(Duration),
        /// Nothing arrives, neither ticks nor beats, and never will.
        Lost(Duration),
        /// Nothing arrives, and all of it does at the end: this process stood still, or the way held it.
        Late(Duration),
    }

    /// One history: a node that beats throughout, and one that stops at `stops`.
    fn history(mut random: Random) {
        let mut millis = |limit: usize| Duration::from_millis(random.below(limit) as u64);
        let begun = Instant::now();
        let mut hearing = Hearing::new(EVERY);
        hearing.tick(begun);
        let (mut lives, mut stopped) = (hearing.now(begun), hearing.now(begun));
        let (mut now, mut tick, mut beat) = (begun, begun + EVERY, begun + millis(500));
        let stops = begun + millis(60_000);
        // The model: time in which the broker was heard since the stopped node was, and how often that broke off.
        let (mut model, mut breaks) = (Duration::ZERO, 0_u32);
        for _ in 0..40 {
            let stretch = match millis(4).as_millis() {
                0 => Stretch::Lost(millis(20_000)),
                1 => Stretch::Late(millis(20_000)),
                _ => Stretch::Heard(millis(10_000)),
            };
            let (Stretch::Heard(length) | Stretch::Lost(length) | Stretch::Late(length)) = stretch;
            let end = now + length;
            let broken = u32::from(!matches!(stretch, Stretch::Heard(_)));
            breaks += broken;
            while tick.min(beat) < end {
                let sent = tick.min(beat);
                let is_tick = sent == tick;
                *(if is_tick { &mut tick } else { &mut beat }) += if is_tick { EVERY } else { BEAT };
                let arrives = match stretch {
                    Stretch::Heard(_) => (sent + millis(50)).max(now),
                    Stretch::Lost(_) => continue,
                    Stretch::Late(_) => end,
                };
                if broken == 0 {
                    model += arrives - now;
                }
                now = now.max(arrives);
                if is_tick {
                    hearing.tick(now);
                    let silent = hearing.since(lives);
                    assert!(silent < DEAD, "a living node was silent for {silent:?}");
                    // What was heard between the last tick before a break and the first one after it counts as one
                    // interval, and can be two.
                    if model > DEAD + EVERY * (2 + breaks) {
                        let silent = hearing.since(stopped);
                        assert!(
                            silent >= DEAD,
                            "stopped for {model:?} of heard time, and {silent:?} is known"
                        );
                    }
                    // And not early: what was heard, and at most two intervals for every time that it broke off.
                    let most = model + EVERY * (2 * breaks + 1);
                    assert!(hearing.since(stopped) <= most, "{model:?} heard, {breaks} breaks");
                } else {
                    lives = hearing.now(now);
                    if sent < stops {
                        stopped = hearing.now(now);
                        (model, breaks) = (Duration::ZERO, broken);
                    }
                }
            }
            if broken == 0 {
                model += end.saturating_duration_since(now);
            }
            now = now.max(end);
        }
    }

    #[test]
    fn whoever_is_heard_when_the_broker_is_never_dies_and_whoever_stopped_does_in_time() {
        for seed in seeds(0..10_000) {
            history(seed.random());
        }
    }

    #[test]
    fn a_silence_of_any_length_leaves_a_node_most_of_its_dead_time() {
        for silence in [1_100, 15_000, 3_600_000].map(Duration::from_millis) {
            let begun = Instant::now();
            let mut hearing = Hearing::new(EVERY);
            hearing.tick(begun);
            let beat = hearing.now(begun + EVERY / 2);
            let back = begun + silence;
            hearing.tick(back);
            assert!(hearing.since(beat) <= EVERY, "after {silence:?}");
            for tick in 1..=4 {
                hearing.tick(back + EVERY * tick);
            }
            assert!(hearing.since(beat) < DEAD);
            for tick in 5..=6 {
                hearing.tick(back + EVERY * tick);
            }
            assert!(hearing.since(beat) >= DEAD, "it is dead when it is not heard after all");
        }
    }

    #[test]
    fn a_broker_heard_with_long_pauses_does_not_keep_the_dead_alive() {
        let begun = Instant::now();
        let mut hearing = Hearing::new(EVERY);
        hearing.tick(begun);
        let beat = hearing.now(begun);
        for pause in 1..=6 {
            hearing.tick(begun + EVERY * 10 * pause);
        }
        assert!(hearing.since(beat) >= DEAD);
    }
}
