//! From batches to frames. What cannot be read, or stands in a lane that is not its own, is set aside.

use bytes::Bytes;
use shared::{
    frame,
    message::{Accepted, accepted},
    subject::Lane,
};

use super::Item;
use crate::store::lanes::Place;

/// A frame to be set aside.
#[derive(Debug, Clone)]
pub struct Dead {
    /// Where it stood.
    pub place: Place,
    /// Not committed before: it is counted.
    pub fresh: bool,
    /// Why.
    pub reason: String,
    /// As it came.
    pub payload: Bytes,
    /// What it is, where it could be read: its sender is answered.
    pub accepted: Option<Accepted>,
}

/// A batch taken apart.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Frames to be worked on, each with its place and bytes.
    pub items: Vec<(Item, Place, Bytes)>,
    /// Frames to be set aside.
    pub dead: Vec<Dead>,
}

/// Takes a batch apart into `into`.
pub fn batch(lane: Lane, stream_seq: u64, fresh: bool, payload: &Bytes, lanes: u16, into: &mut Decoded) {
    let frames = match frame::split_counted(payload) {
        Ok(frames) => frames,
        Err(error) => {
            let place = Place { lane, stream_seq, frame: 0 };
            let reason = format!("a batch that cannot be taken apart: {error}");
            into.dead.push(Dead { place, fresh, reason, payload: payload.clone(), accepted: None });
            return;
        }
    };
    for (number, frame) in (0..).zip(frames) {
        let place = Place { lane, stream_seq, frame: number };
        match accepted::decode(&frame) {
            Ok(accepted) if accepted.lane(lanes) == lane => {
                into.items.push((Item { lane, fresh, accepted }, place, frame));
            }
            Ok(accepted) => {
                let reason = format!("expected in lane {}, found in lane {}", accepted.lane(lanes).0, lane.0);
                into.dead.push(Dead { place, fresh, reason, payload: frame, accepted: Some(accepted) });
            }
            Err(error) => {
                into.dead.push(Dead {
                    place,
                    fresh,
                    reason: error.to_string(),
                    payload: frame,
                    accepted: None,
                });
            }
        }
    }
}
