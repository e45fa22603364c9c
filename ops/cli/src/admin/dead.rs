//! `admin dead`: frames that were set aside, and what becomes of them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use async_nats::jetstream::{
    message::{PublishMessage, StreamMessage},
    stream::Stream,
};
use clap::Subcommand;
use shared::{
    frame::{self, Form},
    message::{Accepted, Body, accepted},
    subject::Lane,
};
use workers::{lane::source, pipeline::digest, store::admin::dead};

use super::{
    desk::Desk,
    table::{Table, harmless},
};

/// How long the lane may take to say what became of a frame that was put back.
const OUTCOME: Duration = Duration::from_secs(15);

#[derive(Debug, Subcommand)]
pub enum Command {
    /// What is set aside, the oldest first.
    List {
        /// Only those with a higher number.
        #[arg(long, default_value_t = 0, value_name = "SEQ")]
        after: u64,
        /// At most so many.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// One of them, as it came: texts of users are shown.
    Show {
        /// Its number in the list.
        seq: u64,
    },
    /// Put one back into its lane, as its sender's.
    Replay {
        /// Its number in the list.
        seq: u64,
    },
    /// Give one up. It stays counted as dead.
    Drop {
        /// Its number in the list.
        seq: u64,
    },
}

pub async fn run(desk: &Desk, command: Command) -> Result<()> {
    let target = |seq: u64| format!("frame {seq}");
    match command {
        Command::List { after, limit } => {
            desk.audited("dead list", &format!("after {after}"), list(desk, after, usize::from(limit))).await
        }
        Command::Show { seq } => desk.audited("dead show", &target(seq), show(desk, seq)).await,
        Command::Replay { seq } => desk.audited("dead replay", &target(seq), replay(desk, seq)).await,
        Command::Drop { seq } => desk.audited("dead drop", &target(seq), give_up(desk, seq)).await,
    }
}

async fn stream(desk: &Desk) -> Result<Stream> {
    let js = source::context(desk.nats().await?.clone());
    js.get_stream(desk.subjects.dead_stream()).await.context("the stream of dead frames")
}

async fn one(stream: &Stream, seq: u64) -> Result<StreamMessage> {
    stream.get_raw_message(seq).await.with_context(|| format!("expected a dead frame with number {seq}"))
}

async fn list(desk: &Desk, after: u64, limit: usize) -> Result<String> {
    let stream = stream(desk).await?;
    let subject = desk.subjects.dead();
    let mut table = Table::new(["seq", "set aside", "lane", "bytes", "from", "what", "reason"])
        .counting(&["seq", "lane", "bytes"]);
    let (mut next, mut shown) = (after + 1, 0);
    while shown < limit {
        // None behind it is an error, too.
        let Ok(found) = stream.get_first_raw_message_by_subject(subject.as_str(), next).await else { break };
        let (from, what) = match accepted::decode(&found.payload) {
            Ok(frame) => (format!("{}/{}", frame.from.user, frame.from.device), kind(&frame).to_owned()),
            Err(_) => (String::new(), "cannot be read".to_owned()),
        };
        table.row([
            found.sequence.to_string(),
            found.time.to_string(),
            header(&found, "im-lane"),
            found.payload.len().to_string(),
            from,
            what,
            header(&found, "im-reason"),
        ]);
        (next, shown) = (found.sequence + 1, shown + 1);
    }
    desk.show(&table)?;
    Ok(format!("{shown} frames"))
}

fn kind(frame: &Accepted) -> &'static str {
    match &frame.what {
        Body::Message(_) => frame.batch_kind().as_str(),
        Body::Request(request) => request.what.name().as_str(),
    }
}

fn header(message: &StreamMessage, name: &str) -> String {
    message.headers.get(name).map_or_else(String::new, |value| value.as_str().to_owned())
}

async fn show(desk: &Desk, seq: u64) -> Result<String> {
    let found = one(&stream(desk).await?, seq).await?;
    let frame = String::from_utf8_lossy(&found.payload);
    let about = ["im-reason", "im-lane", "im-stream-seq"].map(|name| (name, header(&found, name)));
    let text = || {
        let about = about.iter().map(|(name, value)| format!("# {name}: {}\n", harmless(value)));
        let lines = frame.lines().map(|line| harmless(line) + "\n");
        format!("# set aside {}\n", found.time) + &about.chain(lines).collect::<String>()
    };
    let values = || {
        let [reason, lane, sequence] = about.clone().map(|(_, value)| value);
        let at = found.time.to_string();
        let row = serde_json::json!({
            "set_aside": at, "reason": reason, "lane": lane, "stream_seq": sequence, "frame": frame,
        });
        vec![row]
    };
    desk.tell(text, values)?;
    Ok(format!("frame {seq}, {} bytes", found.payload.len()))
}

async fn give_up(desk: &Desk, seq: u64) -> Result<String> {
    let stream = stream(desk).await?;
    let found = one(&stream, seq).await?;
    ensure!(stream.delete_message(seq).await.context("removing it")?, "the broker kept it");
    Ok(format!("frame {seq} is given up: {} bytes, {}", found.payload.len(), header(&found, "im-reason")))
}

/// In an order in which it can be cut short anywhere and run again: the account first, once for each frame; then the
/// lane, where the broker knows the frame by its name for two minutes and the worker by its digest; then it goes.
async fn replay(desk: &Desk, seq: u64) -> Result<String> {
    let stream = stream(desk).await?;
    let found = one(&stream, seq).await?;
    let frame = match accepted::decode(&found.payload) {
        Ok(frame) => frame,
        Err(error) => bail!("what cannot be read cannot be put back, only dropped: {error}"),
    };
    let made = stream.cached_info().created.unix_timestamp_nanos().to_string();
    let was = header(&found, "im-lane").parse().map(Lane).context("expected a lane in the header im-lane")?;
    let lanes = desk.config.nats.lanes;
    let js = source::context(desk.nats().await?.clone());
    // Refuses where this configuration's number of lanes is not the stream's.
    source::streams(&js, &desk.subjects, &desk.config.nats).await?;
    let first = dead::note_replay(&desk.pool, &made, seq, was).await?;
    let lane = frame.lane(lanes);
    let mut batch = Vec::with_capacity(found.payload.len() + 16);
    frame::write(Form::Counted, &found.payload, &mut batch);
    let message = PublishMessage::build().message_id(format!("replay-{made}-{seq}")).payload(batch.into());
    let taken = js.send_publish(desk.subjects.inbound(lane, frame.batch_kind()), message).await;
    let taken = taken.context("putting it back")?.await.context("putting it back")?;
    stream
        .delete_message(seq)
        .await
        .context("it is put back, and still among the dead frames: run this again")?;
    let again = if first { "" } else { " (it was being put back before)" };
    let outcome = outcome(desk, lane, taken.sequence, &frame).await?;
    Ok(format!("frame {seq} of user {} is in lane {} again{again}: {outcome}", frame.from.user, lane.0))
}

/// What the lane made of it.
async fn outcome(desk: &Desk, lane: Lane, sequence: u64, frame: &Accepted) -> Result<String> {
    let began = Instant::now();
    while dead::committed(&desk.pool, lane).await? < sequence {
        if began.elapsed() > OUTCOME {
            return Ok(format!("no worker has finished it within {} s", OUTCOME.as_secs()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let digest = digest::of(frame);
    let stored = match &frame.what {
        Body::Message(message) => {
            let conversation = message.to.conversation(frame.from.user);
            let seq = dead::message(&desk.pool, conversation, &digest).await?;
            seq.map(|seq| format!("stored in {conversation} as {seq}"))
        }
        Body::Request(_) => dead::request(&desk.pool, &digest).await?.then(|| "granted".to_owned()),
    };
    Ok(stored.unwrap_or_else(|| "refused, or set aside once more".to_owned()))
}
