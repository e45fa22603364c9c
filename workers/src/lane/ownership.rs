//! Which lanes a committer should hold: PostgreSQL advisory locks, spread evenly over the committers alive.
//!
//! Two-key advisory locks: the first key is the system's own (from prefix and schema, so that two systems in one
//! database do not meet), the second the lane. Every committer also holds [`PRESENCE`] shared, which counts the living.

use std::collections::BTreeSet;

use shared::subject::Lane;
use tokio_postgres::{Client, Error};

/// The second key that every committer holds shared.
const PRESENCE: i32 = 1_000_000;

/// The first key for a system.
pub fn lock_class(prefix: &str, schema: &str) -> i32 {
    let hash = blake3::hash(format!("{prefix}\n{schema}").as_bytes());
    let mut four = [0; 4];
    four.copy_from_slice(&hash.as_bytes()[..4]);
    i32::from_le_bytes(four)
}

/// The locks as they stand.
#[derive(Debug, Default, PartialEq)]
pub struct Locks {
    /// Committers alive, this one included.
    pub live: usize,
    /// Lanes this session holds.
    pub mine: BTreeSet<Lane>,
    /// Lanes that others hold.
    pub others: BTreeSet<Lane>,
}

/// What to do to come to a fair share.
#[derive(Debug, Default, PartialEq)]
pub struct Moves {
    /// Try to take these.
    pub take: Vec<Lane>,
    /// Let these go, once their running chunk is done.
    pub release: Vec<Lane>,
}

impl Locks {
    /// `ceil(lanes / live)`: nobody holds more, and whoever holds less takes what is free. `offset` makes committers
    /// that start together try different lanes first.
    pub fn moves(&self, lanes: u16, offset: usize) -> Moves {
        let fair = usize::from(lanes).div_ceil(self.live.max(1));
        let free: Vec<Lane> = (0..lanes)
            .map(Lane)
            .filter(|lane| !self.mine.contains(lane) && !self.others.contains(lane))
            .collect();
        let wanted = fair.saturating_sub(self.mine.len()).min(free.len());
        let take = (0..wanted).map(|n| free[(offset + n) % free.len()]).collect();
        let release = self.mine.iter().rev().take(self.mine.len().saturating_sub(fair)).copied().collect();
        Moves { take, release }
    }
}

/// Says that this session is a committer.
///
/// # Errors
/// The session's.
pub async fn announce(client: &Client, class: i32) -> Result<(), Error> {
    client.execute("SELECT pg_advisory_lock_shared($1, $2)", &[&class, &PRESENCE]).await.map(drop)
}

/// Says that this session is none any more: the others share its lanes as soon as it lets them go.
///
/// # Errors
/// The session's.
pub async fn renounce(client: &Client, class: i32) -> Result<(), Error> {
    client.execute("SELECT pg_advisory_unlock_shared($1, $2)", &[&class, &PRESENCE]).await.map(drop)
}

/// Reads the locks; also this session's sign of life towards `idle_session_timeout`.
///
/// # Errors
/// The session's; it has then lost its lanes.
pub async fn read(client: &Client, class: i32) -> Result<Locks, Error> {
    let rows = client
        .query(
            "SELECT objid::int8, pid = pg_backend_pid() FROM pg_locks
             WHERE locktype = 'advisory' AND objsubid = 2 AND granted AND classid::int8 = $1
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            &[&i64::from(class as u32)],
        )
        .await?;
    let mut locks = Locks::default();
    for row in rows {
        let (key, mine): (i64, bool) = (row.get(0), row.get(1));
        match u16::try_from(key) {
            Ok(lane) if mine => locks.mine.insert(Lane(lane)),
            Ok(lane) => locks.others.insert(Lane(lane)),
            Err(_) => {
                locks.live += usize::from(key == i64::from(PRESENCE));
                continue;
            }
        };
    }
    Ok(locks)
}

/// Tries to take a lane.
///
/// # Errors
/// The session's.
pub async fn try_take(client: &Client, class: i32, lane: Lane) -> Result<bool, Error> {
    Ok(client.query_one("SELECT pg_try_advisory_lock($1, $2)", &[&class, &i32::from(lane.0)]).await?.get(0))
}

/// Lets a lane go.
///
/// # Errors
/// The session's.
pub async fn release(client: &Client, class: i32, lane: Lane) -> Result<(), Error> {
    client.execute("SELECT pg_advisory_unlock($1, $2)", &[&class, &i32::from(lane.0)]).await.map(drop)
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(numbers: impl IntoIterator<Item = u16>) -> BTreeSet<Lane> {
        numbers.into_iter().map(Lane).collect()
    }

    #[test]
    fn a_lone_committer_takes_everything() {
        let locks = Locks { live: 1, ..Locks::default() };
        let mut take = locks.moves(8, 5).take;
        take.sort_unstable();
        assert_eq!(take, (0..8).map(Lane).collect::<Vec<_>>());
    }

    #[test]
    fn a_second_one_makes_the_first_let_half_go() {
        let first = Locks { live: 2, mine: lanes(0..8), others: lanes([]) };
        assert_eq!(first.moves(8, 0), Moves { take: vec![], release: [7, 6, 5, 4].map(Lane).to_vec() });
        let second = Locks { live: 2, mine: lanes([]), others: lanes(0..4) };
        assert_eq!(second.moves(8, 0).take, (4..8).map(Lane).collect::<Vec<_>>());
    }

    #[test]
    fn any_number_of_committers_comes_to_rest_with_every_lane_owned() {
        for live in 1..=10 {
            let mut held: Vec<BTreeSet<Lane>> = vec![BTreeSet::new(); live];
            held[0] = lanes(0..8);
            for round in 0..4 * live {
                let me = round % live;
                let others =
                    held.iter().enumerate().filter(|(n, _)| *n != me).flat_map(|(_, l)| l.clone()).collect();
                let moves = Locks { live, mine: held[me].clone(), others }.moves(8, me * 7);
                for lane in moves.release {
                    held[me].remove(&lane);
                }
                held[me].extend(moves.take);
            }
            let mut all: Vec<Lane> = held.iter().flatten().copied().collect();
            all.sort_unstable();
            assert_eq!(all, (0..8).map(Lane).collect::<Vec<_>>(), "{live} committers: {held:?}");
            assert!(held.iter().all(|lanes| lanes.len() <= 8_usize.div_ceil(live)));
        }
    }
}
