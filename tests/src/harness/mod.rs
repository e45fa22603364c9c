//! Runs the real system: real NATS, PostgreSQL and Redis once a run, real edges and workers a test.
//!
//! | module | holds |
//! |---|---|
//! | [`servers`] | the three servers, shared by every test of a run, and how they end with it |
//! | [`broker`] | a broker that knows each part by its user |
//! | [`process`] | one edge or worker as a child process, its log and its addresses |
//! | [`proxy`] | ways from a process to a store that a test can cut |
//! | [`system`] | some edges and workers with a schema, a key prefix and a subject prefix of their own |
//! | [`stores`] | looking into PostgreSQL, Redis and NATS from a test |
//! | [`checks`] | what must hold when a test ends |
//!
//! **How the servers end.** nextest runs every test in a process of its own, and its set-up scripts cannot tear
//! down. So the first test that needs the servers takes a file lock, starts `test-servers` (a binary of this
//! crate) and leaves; that process starts the three as `simple-im up` does, writes their addresses, and watches the
//! runner (the `cargo` or `cargo-nextest` process that is the tests' parent). When the runner is gone, however it
//! went, it ends them and every edge and worker that the run left behind. Were it killed itself, the next run
//! sweeps up after it.

pub mod broker;
pub mod checks;
pub mod process;
pub mod proxy;
pub mod servers;
pub mod stores;
pub mod system;

use std::time::Duration;

pub use proxy::{Store, Way};
pub use system::{Options, System};

/// How long a test waits for something that must happen.
pub const SOON: Duration = Duration::from_secs(15);

/// Tries a flow on two edges and two workers, then again with new users after every process was restarted.
pub async fn before_and_after_restart(flow: impl AsyncFn(&System)) {
    let mut system = System::start(2, 2).await;
    flow(&system).await;
    system.restart_all().await;
    flow(&system).await;
    system.finish().await;
}

/// Asks again and again until `ask` says `Ok`; its `Err` says what is still missing.
///
/// # Panics
/// With the last `Err`, when `deadline` has passed.
pub async fn eventually<T>(deadline: Duration, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let end = tokio::time::Instant::now() + deadline;
    let mut pause = Duration::from_millis(5);
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(missing) if tokio::time::Instant::now() >= end => {
                panic!("not within {deadline:?}: {missing}")
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
