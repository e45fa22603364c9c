//! Frames that crash their chunk, found and set aside.
//!
//! The first chunk after a lane was taken is counted in PostgreSQL before it is tried. When the same has been tried three
//! times, its frames are tried one by one, each counted again; the one that has failed three times alone goes to
//! `im.dead` with its reason, and the lane goes on.

use async_nats::jetstream::{Context, message::PublishMessage};
use shared::{command::Code, message::Refusal, subject::Subjects};

use crate::pipeline::{
    decode::Dead,
    effect::{Effect, Outcome},
};

/// How often a chunk, and then a frame, is tried.
pub const TRIALS: i32 = 3;

/// Sets a frame aside and waits until the broker has it. Set aside twice it is there once.
///
/// # Errors
/// When JetStream does not take it; the chunk then fails and is tried again.
pub async fn set_aside(
    js: &Context,
    subjects: &Subjects,
    stream: &str,
    dead: &Dead,
) -> Result<(), async_nats::jetstream::context::PublishError> {
    let place = dead.place;
    let from = dead.accepted.as_ref().map(|frame| &frame.from);
    tracing::error!(
        user = from.map(|from| from.user.0), device = from.map(|from| from.device.as_str()),
        session = from.map(|from| from.session.0), id = dead.accepted.as_ref().map(|frame| frame.id().as_str()),
        lane = place.lane.0, stream_seq = place.stream_seq, frame = place.frame, reason = %dead.reason,
        "a frame is set aside"
    );
    let message = PublishMessage::build()
        .message_id(format!("{stream}-{}-{}-{}", place.lane.0, place.stream_seq, place.frame))
        .header("im-reason", dead.reason.replace(['\r', '\n'], " ").as_str())
        .header("im-lane", place.lane.0.to_string().as_str())
        .header("im-stream-seq", place.stream_seq.to_string().as_str())
        .payload(dead.payload.clone());
    js.send_publish(subjects.dead(), message).await?.await.map(drop)
}

/// The sender's answer, where the sender is known.
pub fn answer(dead: &Dead) -> Option<Effect> {
    let refusal = Refusal::new(Code::Dead, format!("set aside, operators have it: {}", dead.reason));
    dead.accepted.as_ref().map(|frame| Effect::refused(frame, Outcome::Dead, &refusal))
}
