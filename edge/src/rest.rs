//! Rests by how long something took: who has work for thousands leaves the others as much time again, or more.
//!
//! How long turns take is what a busy machine changes, whoever keeps it busy; so an idle node hardly rests.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The longest rest at a time.
const LONGEST: Duration = Duration::from_millis(20);
/// Shorter ones are saved up: the timer knows milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);

/// Rest that is owed to everybody else.
#[derive(Debug)]
pub struct Rest {
    times: u32,
    owed: Duration,
}

impl Rest {
    /// So many times as long as what it follows.
    pub fn of_times(times: u32) -> Self {
        Self { times, owed: Duration::ZERO }
    }

    /// Something took this long: rests, if that is worth a timer by now.
    pub async fn after(&mut self, took: Duration) {
        if let Some(rest) = self.due_after(took) {
            let began = Instant::now();
            sleep(rest).await;
            self.lasted(began.elapsed());
        }
    }

    fn due_after(&mut self, took: Duration) -> Option<Duration> {
        self.owed = (self.owed + took.saturating_mul(self.times)).min(LONGEST);
        (self.owed >= SHORTEST).then_some(self.owed)
    }

    /// What a rest was longer than wanted is not owed to whoever rested.
    fn lasted(&mut self, lasted: Duration) {
        self.owed = self.owed.saturating_sub(lasted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_as_long_as_what_it_follows_took_so_many_times() {
        let (micros, mut rest) = (Duration::from_micros, Rest::of_times(2));
        assert_eq!(rest.due_after(micros(400)), None, "too short for a timer");
        assert_eq!(rest.due_after(micros(200)), Some(micros(1_200)));
        rest.lasted(micros(1_000));
        assert_eq!(rest.due_after(micros(400)), Some(micros(1_000)), "what was not rested is still owed");
        rest.lasted(micros(2_000));
        assert_eq!(rest.due_after(micros(400)), None, "a timer that is late gives nothing back");
        rest.lasted(micros(1_000));
        assert_eq!(rest.due_after(Duration::from_secs(3)), Some(LONGEST));
    }
}
