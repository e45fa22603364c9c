//! Ownership by real advisory locks: what is read, taken and let go is what a table of locks says, and a session that is
//! gone holds nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use shared::{seeded::seeds, subject::Lane};
use tests::harness::eventually;
use workers::{lane::ownership, store::Session};

use crate::database::Database;

const LANES: u16 = 8;

#[tokio::test]
async fn locks_are_what_a_table_of_them_says() {
    let database = Database::open().await;
    for seed in seeds(0..3) {
        let mut random = seed.random();
        let class = ownership::lock_class(&database.stores.name, &format!("of seed {}", seed.number()));
        let mut sessions: BTreeMap<usize, Session> = BTreeMap::new();
        let mut held: BTreeMap<Lane, usize> = BTreeMap::new();
        for step in 0..200 {
            if sessions.is_empty() || (sessions.len() < 6 && random.one_in(12)) {
                let session = database.session().await;
                ownership::announce(session.client(), class).await.unwrap();
                sessions.insert(step, session);
            }
            let ids: Vec<usize> = sessions.keys().copied().collect();
            let me = *random.pick(&ids).unwrap();
            if random.one_in(15) {
                sessions.remove(&me);
                held.retain(|_, holder| *holder != me);
                gone(&database, class, sessions.len()).await;
                continue;
            }
            let client = sessions[&me].client();
            let locks = ownership::read(client, class).await.unwrap();
            let of = |mine: bool| -> BTreeSet<Lane> {
                held.iter().filter(|(_, id)| (**id == me) == mine).map(|(lane, _)| *lane).collect()
            };
            let expected = ownership::Locks { live: sessions.len(), mine: of(true), others: of(false) };
            assert_eq!(locks, expected);
            let moves = locks.moves(LANES, random.below(40));
            for lane in moves.take {
                assert!(ownership::try_take(client, class, lane).await.unwrap(), "{lane:?} is free");
                held.insert(lane, me);
            }
            for lane in moves.release {
                ownership::release(client, class, lane).await.unwrap();
                held.remove(&lane);
            }
            let others: Vec<Lane> = held.iter().filter(|(_, id)| **id != me).map(|(lane, _)| *lane).collect();
            if let Some(lane) = random.pick(&others) {
                assert!(!ownership::try_take(client, class, *lane).await.unwrap(), "{lane:?} is another's");
            }
        }
    }
    database.close().await;
}

/// A closed connection's locks go when PostgreSQL has noticed.
async fn gone(database: &Database, class: i32, left: usize) {
    let watcher = database.session().await;
    eventually(Duration::from_secs(5), async || {
        let live = ownership::read(watcher.client(), class).await.unwrap().live;
        if live == left { Ok(()) } else { Err(format!("{live} sessions, not {left}")) }
    })
    .await;
}
