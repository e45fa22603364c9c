//! What must hold when a test ends.

use super::{SOON, System, eventually};

/// The edges' counter of frames that the broker has taken.
pub const ACCEPTED: &str = "im_edge_frames_accepted_total";

/// The edges' counter of frames that they have given up.
const VANISHED: &str = "im_edge_frames_vanished_total";

/// The stream is empty and every consumer has acknowledged.
pub async fn at_rest(system: &System) {
    eventually(SOON, || async {
        match system.stores.pending().await? {
            (0, 0) => Ok(()),
            (held, unacked) => Err(format!("the stream holds {held}, {unacked} of them unacknowledged")),
        }
    })
    .await;
}

/// accepted = stored + duplicate + refused + dead + vanished.
///
/// With an edge killed its count of accepted frames is gone, and nothing can be compared.
pub async fn conserved(system: &System) {
    if system.edge_killed {
        return;
    }
    let query = "SELECT sum(stored)::bigint, sum(duplicate)::bigint, sum(refused)::bigint, sum(dead)::bigint FROM lanes";
    // What an edge has counted may still be on its way to the broker, where nothing shows it.
    eventually(SOON, async || {
        let mut accepted = system.accepted_before;
        for edge in system.edges.iter().filter(|edge| edge.runs()) {
            accepted += edge.metric(ACCEPTED).await - edge.metric(VANISHED).await;
        }
        let row = &system.stores.rows(query, &[]).await[0];
        let count = |column: usize| row.get::<_, Option<i64>>(column).unwrap_or(0);
        let (stored, duplicate, refused, dead) = (count(0), count(1), count(2), count(3));
        match stored + duplicate + refused + dead {
            ended if ended == accepted as i64 => Ok(()),
            _ => Err(format!(
                "accepted {accepted}: stored {stored} + duplicate {duplicate} + refused {refused} + dead {dead}"
            )),
        }
    })
    .await;
}

/// No process has panicked, been refused something by the broker, or logged an error that the test did not allow.
pub fn logs_clean(system: &System) {
    for process in system.edges.iter().chain(&system.workers) {
        let log = process.logged();
        let wrong: Vec<&str> = log
            .lines()
            .filter(|line| {
                let refused = line.to_ascii_lowercase().contains("permissions violation");
                refused || line.contains("panicked at") || line.contains("ERROR")
            })
            .filter(|line| !system.allowed.iter().any(|allowed| line.contains(allowed)))
            .collect();
        assert!(wrong.is_empty(), "{} has logged what it should not:\n{}", process.name, wrong.join("\n"));
    }
}
