//! The account of frames: what the clients wrote, the edges accepted and the lanes finished, and what cannot be.
//!
//! At rest, accepted = stored + duplicate + refused + dead + vanished. The lanes' counts are exact whatever dies, for they
//! are written with what they count. The edges' are in their memory: exact while no edge ends; of one that has ended the
//! last figure read before is known, which makes the sum a lower bound. The upper bound comes from the clients: a frame is
//! accepted at most once each time that it is written. So where an edge ended, vanished frames lie between two bounds, and
//! what must hold is that neither the edges nor the lanes have more than was written, and the lanes no less than was acked.
//!
//! One thing makes the lanes count a frame twice that was accepted once: an edge whose confirmation was lost publishes its
//! batch again, and a broker that was restarted or wiped meanwhile has forgotten the id if the first copy is finished. It
//! is found stored, and counts as a duplicate. Where no edge ended and no stream was wiped it is known exactly how many
//! batches that were: those in the stream beyond those that edges had confirmed.

use serde::Serialize;

use super::rest::Counts;

/// What the edges have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edges {
    /// Frames accepted.
    pub accepted: i64,
    /// Of them, given up before the broker took them.
    pub vanished: i64,
    /// Batches that the broker confirmed.
    pub batches: i64,
}

/// What is known at the end of a run, at rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Frames that the clients wrote, each time anew.
    pub written: i64,
    /// Messages acked, and requests that succeeded.
    pub acked: i64,
    /// What the edges have counted.
    pub edges: Edges,
    /// None of them ended during the run.
    pub edges_lived: bool,
    /// The broker's files were removed.
    pub wiped: bool,
    /// Batches that the broker ever put into the stream that is there now.
    pub batches: i64,
    /// What the lanes have counted.
    pub lanes: Counts,
}

/// The account, as it stands in the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    written: i64,
    accepted: i64,
    /// Whether `accepted` is exact: no edge ended. Otherwise it is what is known, and there were at least so many.
    accepted_is_exact: bool,
    stored: i64,
    duplicate: i64,
    refused: i64,
    dead: i64,
    /// Of the stored ones, what is there.
    kept: i64,
    vanished_at_least: i64,
    vanished_at_most: i64,
    /// Batches that stand in the stream twice, where that can be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    published_again: Option<i64>,
}

impl Account {
    /// Draws it up, with every equation that does not hold: what it says, and by how many frames it is off.
    pub fn of(known: &Known) -> (Self, Vec<(String, i64)>) {
        let (lanes, edges, taken) = (&known.lanes, &known.edges, known.lanes.taken());
        let again = (known.edges_lived && !known.wiped).then_some(known.batches - edges.batches);
        let missing = edges.accepted - taken;
        let most = if known.edges_lived { missing } else { known.written - taken };
        let account = Self {
            written: known.written,
            accepted: edges.accepted,
            accepted_is_exact: known.edges_lived,
            stored: lanes.stored,
            duplicate: lanes.duplicate,
            refused: lanes.refused,
            dead: lanes.dead,
            kept: lanes.kept,
            vanished_at_least: missing.max(0),
            vanished_at_most: most.max(0),
            published_again: again,
        };
        let mut wrong = Vec::new();
        let mut holds = |holds: bool, off: i64, what: String| {
            if !holds {
                wrong.push((what, off.abs().max(1)));
            }
        };
        let (stored, kept) = (lanes.stored, lanes.kept);
        holds(stored == kept, stored - kept, format!("{stored} frames counted as stored, {kept} are there"));
        let acked = known.acked;
        holds(acked <= stored, acked - stored, format!("{acked} frames acked, {stored} stored"));
        let (written, accepted) = (known.written, edges.accepted);
        holds(
            accepted <= written,
            accepted - written,
            format!("edges accepted {accepted} frames, clients wrote {written}"),
        );
        holds(
            taken <= written,
            taken - written,
            format!("lanes took {taken} frames, clients wrote {written}"),
        );
        if known.edges_lived {
            // Positive: gone on the way. Negative: taken twice.
            let off = missing - edges.vanished;
            let twice_at_most = if off < 0 { lanes.duplicate } else { 0 };
            let accounted = match again {
                Some(0) => off == 0,
                Some(again) => again > 0 && (again..=twice_at_most).contains(&-off),
                None => -off <= twice_at_most,
            };
            holds(
                accounted,
                off,
                format!(
                    "edges accepted {accepted} frames and gave up {}, lanes took {taken}, batches published twice: \
                     {again:?}",
                    edges.vanished
                ),
            );
        }
        (account, wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No edge ended, nothing was wiped: 110 written, of which 104 arrived.
    fn exact() -> Known {
        Known {
            written: 110,
            acked: 100,
            edges: Edges { accepted: 104, vanished: 1, batches: 60 },
            edges_lived: true,
            wiped: false,
            batches: 60,
            lanes: Counts { stored: 100, duplicate: 3, kept: 100, ..Counts::default() },
        }
    }

    fn off(known: Known) -> Vec<i64> {
        Account::of(&known).1.into_iter().map(|(_, off)| off).collect()
    }

    #[test]
    fn while_every_edge_lives_each_accepted_frame_is_accounted_for() {
        let (account, wrong) = Account::of(&exact());
        assert_eq!((wrong, account.vanished_at_least, account.vanished_at_most), (Vec::new(), 1, 1));
        let mut known = exact();
        known.edges.accepted += 2;
        assert_eq!(off(known), [2], "two are gone, and no edge gave them up");
        let mut known = exact();
        known.lanes.duplicate += 1;
        assert_eq!(off(known), [1], "one was taken that nobody accepted");
    }

    #[test]
    fn a_batch_published_twice_explains_as_many_duplicates_and_nothing_else() {
        let mut known = exact();
        known.batches += 1;
        assert_eq!(off(known), [1], "it has at least a frame, which somebody must have taken");
        known.lanes.duplicate += 2;
        assert_eq!(off(known), Vec::<i64>::new());
        known.lanes.duplicate = 0;
        known.lanes.stored += 5;
        known.lanes.kept += 5;
        assert_eq!(off(known), [2], "what is published again is not stored again");
        let known = Known { batches: 59, ..exact() };
        assert_eq!(off(known), [1], "the broker has forgotten a batch that it confirmed");
    }

    #[test]
    fn a_wiped_stream_may_have_swallowed_frames_and_not_made_any() {
        let wiped = Known { wiped: true, batches: 7, ..exact() };
        let mut known = wiped;
        known.edges.accepted = 109;
        let (account, wrong) = Account::of(&known);
        assert_eq!((wrong, account.vanished_at_least, account.vanished_at_most), (Vec::new(), 6, 6));
        assert_eq!(account.published_again, None);
        known.edges.accepted = 99;
        assert_eq!(off(known), [5], "more than the duplicates are beyond what was accepted");
    }

    #[test]
    fn an_edge_that_ended_leaves_bounds() {
        let mut known = Known { edges_lived: false, ..exact() };
        known.edges.accepted = 80;
        let (account, wrong) = Account::of(&known);
        assert_eq!((wrong, account.vanished_at_least, account.vanished_at_most), (Vec::new(), 0, 7));
        known.edges.accepted = 106;
        assert_eq!(Account::of(&known).0.vanished_at_least, 3);
        known.edges.accepted = 111;
        assert_eq!(off(known), [1], "an edge accepted what no client wrote");
        known.edges.accepted = 80;
        known.written = 102;
        assert_eq!(off(known), [1], "a lane took what no client wrote");
    }

    #[test]
    fn what_is_acked_is_stored_and_what_is_stored_is_kept() {
        let mut known = exact();
        known.acked = 101;
        assert_eq!(off(known), [1]);
        let mut known = exact();
        known.lanes.kept = 98;
        assert_eq!(off(known), [2]);
    }
}
