//! Who goes where and when: the sessions of a node over time and over the other nodes. No I/O.

use std::time::Duration;

use crate::node::peers::Peer;

/// Gives out turns, one session after the other.
#[derive(Debug)]
pub struct Pace {
    /// Sessions a second.
    rate: f64,
    /// Turns given out.
    given: u32,
    /// Sessions of each peer, with those sent there from here.
    loads: Vec<u64>,
}

impl Pace {
    /// `rate` sessions a second, or as many as it takes for `sessions` of them within `time`.
    pub fn new(rate: u32, sessions: usize, time: Duration) -> Self {
        let needed = sessions as f64 / time.as_secs_f64().max(0.001);
        Self { rate: f64::from(rate.max(1)).max(needed), given: 0, loads: Vec::new() }
    }

    /// Sessions a second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// When the next session's turn is, from the first one's on, and to which of the peers it goes: the one with the
    /// fewest sessions, those that were sent there included; `None` where there is none.
    pub fn turn(&mut self, peers: &[Peer]) -> (Duration, Option<usize>) {
        if self.loads.len() != peers.len() {
            self.loads = peers.iter().map(|peer| peer.sessions).collect();
        }
        let after = Duration::from_secs_f64(f64::from(self.given) / self.rate);
        self.given = self.given.saturating_add(1);
        let to = (0..self.loads.len()).min_by_key(|at| self.loads[*at]);
        if let Some(to) = to {
            self.loads[to] += 1;
        }
        (after, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(sessions: &[u64]) -> Vec<Peer> {
        let one = |sessions: &u64| Peer { server: "h".to_owned(), port: 1, sessions: *sessions };
        sessions.iter().map(one).collect()
    }

    #[test]
    fn sessions_go_one_after_the_other_at_the_rate() {
        let mut pace = Pace::new(100, 5, Duration::from_secs(10));
        let turns: Vec<u128> = (0..5).map(|_| pace.turn(&[]).0.as_millis()).collect();
        assert_eq!(turns, [0, 10, 20, 30, 40]);
        assert_eq!(pace.turn(&[]).1, None);
    }

    #[test]
    fn more_sessions_than_the_time_allows_go_faster() {
        let mut pace = Pace::new(100, 20_000, Duration::from_secs(10));
        let last = (0..20_000).map(|_| pace.turn(&[]).0).last().unwrap();
        assert!(last < Duration::from_secs(10) && last > Duration::from_secs(9), "{last:?}");
        assert_eq!(pace.rate().round(), 2000.0);
    }

    #[test]
    fn the_other_nodes_are_filled_up_evenly() {
        let (mut pace, peers) = (Pace::new(1, 100, Duration::from_secs(1)), peers(&[50, 0, 10]));
        let mut sent = [0; 3];
        for _ in 0..90 {
            sent[pace.turn(&peers).1.unwrap()] += 1;
        }
        assert_eq!(sent, [0, 50, 40]);
        for _ in 0..30 {
            sent[pace.turn(&peers).1.unwrap()] += 1;
        }
        assert_eq!(sent, [10, 60, 50]);
    }
}
