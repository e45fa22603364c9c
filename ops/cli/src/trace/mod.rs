//! `simple-im trace`: one message's road, from the edge that accepted it to each device that it was for.
//!
//! What every process remembers ([`shared::trace`]) is gathered over the broker and merged with what PostgreSQL knows.
//! Where something is missing it says why that may be.
//!
//! | module | holds |
//! |---|---|
//! | [`ask`] | the question to every process, and their answers |
//! | [`facts`] | what PostgreSQL knows |
//! | [`road`] | the two merged, without I/O |
//! | [`gaps`] | why something may be missing |
//! | [`say`] | for people |

mod ask;
mod facts;
mod gaps;
mod road;
mod say;

use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;
use shared::{
    config::Start,
    ids::{Conversation, UserId},
    rpc::Place,
    trace::{Answer, Key, Question},
};
use workers::config::{DEFAULT, RULES, WorkerConfig};

use self::{
    ask::Processes,
    facts::{Facts, Message},
    road::Road,
};
use crate::record::Stack;

/// What `simple-im trace` takes.
#[derive(Debug, Args)]
pub struct Options {
    /// The sender's user id and its own id of the message, as 42/a_02; with --last the user id alone, or nothing.
    #[arg(value_name = "USER/ID")]
    what: Option<String>,
    /// The last N messages: of this user, or of all that the workers still remember.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    last: Option<u32>,
    /// Only in this conversation, dm:1:2 or g:9. Found faster so, when the trace has forgotten it.
    #[arg(long, value_name = "CONVERSATION")]
    conv: Option<Conversation>,
    /// As one JSON document.
    #[arg(long)]
    json: bool,
    /// How long processes may take to answer, milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    wait: u64,
    /// So many processes run: nobody is waited for once all of them have answered.
    #[arg(long, value_name = "N")]
    processes: Option<usize>,
    /// The data folder of a stack that `simple-im up` runs, whose stores are asked.
    #[arg(long, value_name = "DIR")]
    stack: Option<PathBuf>,
    #[command(flatten)]
    config: shared::config::Args,
}

/// Which messages are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    One(UserId, String),
    LastOf(UserId, u32),
    Last(u32),
}

/// Finds and tells. Exit code 1 where nothing is known of it.
///
/// # Errors
/// When the stores cannot be reached, or what is wanted cannot be read.
pub async fn run(options: Options) -> Result<ExitCode> {
    let wanted = wanted(options.what.as_deref(), options.last)?;
    let config: WorkerConfig =
        match Stack::over(options.config, options.stack.as_deref())?.start(DEFAULT, RULES) {
            Start::Run(config) => config,
            Start::Exit(code) => return Ok(code),
        };
    let facts = Facts::open(&config).await?;
    let mut processes =
        Processes::open(&config, Duration::from_millis(options.wait), options.processes).await?;
    let roads = roads(&wanted, options.conv, &facts, &mut processes, &config).await?;
    let mut out = std::io::stdout();
    if options.json {
        let processes: Vec<_> = processes.known().collect();
        let all = serde_json::json!({ "message": roads, "process": processes });
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
    } else {
        out.write_all(say::all(&roads, &processes).as_bytes())?;
    }
    let known = roads.iter().any(Road::is_known);
    Ok(if known { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn roads(
    wanted: &Wanted,
    conv: Option<Conversation>,
    facts: &Facts,
    processes: &mut Processes,
    config: &WorkerConfig,
) -> Result<Vec<Road>> {
    // First whom and what it is about, ...
    let (mut answers, mut remarks) = (Vec::new(), Vec::new());
    let stored = match wanted {
        Wanted::One(user, id) => {
            let keys = vec![Key::of(*user, id)];
            answers = processes.ask(&Question { keys, ..Question::default() }).await?;
            let places: Vec<Place> =
                places(&answers).filter(|place| conv.is_none_or(|conv| place.conv == conv)).collect();
            let mut stored = facts.at(&places).await?;
            stored.retain(|message| message.user == *user && message.id == *id);
            if stored.is_empty() {
                match facts.find(*user, id, conv).await {
                    Ok(found) => stored = found,
                    Err(error) => remarks.push(format!(
                        "PostgreSQL did not find it ({error:#}); --conv names its conversation, which is faster"
                    )),
                }
            }
            stored
        }
        Wanted::LastOf(user, last) => facts.last_of(*user, *last, conv).await?,
        Wanted::Last(last) => {
            answers = processes.ask(&Question { last: *last, ..Question::default() }).await?;
            answers = newest(answers, *last, conv);
            facts.at(&places(&answers).collect::<Vec<_>>()).await?
        }
    };
    // ... then everything about it.
    let mut keys: Vec<Key> = stored.iter().map(|message| Key::of(message.user, &message.id)).collect();
    keys.extend(answers.iter().flat_map(|answer| &answer.row).map(|row| row.key));
    keys.extend(answers.iter().flat_map(|answer| &answer.accepted).map(|accepted| accepted.key));
    if let Wanted::One(user, id) = wanted {
        keys.push(Key::of(*user, id));
    }
    keys.sort_unstable_by_key(|key| key.0);
    keys.dedup();
    let places = stored.iter().map(Message::place).collect();
    let mut details = Vec::new();
    for message in &stored {
        details.push(facts.details(message).await?);
    }
    let mut users: Vec<UserId> = details.iter().flat_map(|detail| detail.users()).collect();
    users.sort_unstable();
    users.dedup();
    let answers = processes.ask(&Question { last: 0, keys, users, places }).await?;
    let lanes = facts.lanes().await?;
    let mut roads =
        road::merge(&answers, stored.into_iter().zip(details).collect(), &lanes, config.nats.lanes);
    if let Wanted::One(user, id) = wanted {
        roads.retain(|road| road.user == *user);
        if roads.is_empty() {
            roads.push(Road::unknown(*user, id, &answers));
        }
        roads.iter_mut().for_each(|road| {
            road.id.get_or_insert_with(|| id.clone());
        });
    }
    if let Some(road) = roads.first_mut() {
        road.remarks.append(&mut remarks);
    }
    Ok(roads)
}

/// Where the workers say that something is stored.
fn places(answers: &[Answer]) -> impl Iterator<Item = Place> {
    let rows = answers.iter().flat_map(|answer| &answer.row);
    rows.filter_map(|row| Some(Place { conv: row.conv?, seq: row.seq? }))
}

/// Of the newest rows of each worker the newest of all.
fn newest(mut answers: Vec<Answer>, last: u32, conv: Option<Conversation>) -> Vec<Answer> {
    let mut all = Vec::new();
    for (number, answer) in answers.iter().enumerate() {
        for row in answer.row.iter().filter(|row| conv.is_none_or(|conv| row.conv == Some(conv))) {
            let chunk = answer.chunk.iter().find(|chunk| chunk.chunk == row.chunk);
            all.push((chunk.map_or(0, |chunk| chunk.pulled), number, *row));
        }
    }
    all.sort_by_key(|(at, ..)| *at);
    let wanted = all.split_off(all.len().saturating_sub(usize::try_from(last).unwrap_or(usize::MAX)));
    answers.iter_mut().for_each(|answer| answer.row.clear());
    for (_, number, row) in wanted {
        answers[number].row.push(row);
    }
    answers
}

fn wanted(what: Option<&str>, last: Option<u32>) -> Result<Wanted> {
    let user =
        |text: &str| text.parse::<UserId>().with_context(|| format!("expected a user id, found {text:?}"));
    match (what, last) {
        (None, Some(last)) => Ok(Wanted::Last(last)),
        (Some(what), Some(last)) => Ok(Wanted::LastOf(user(what)?, last)),
        (Some(what), None) => match what.split_once('/') {
            Some((sender, id)) if !id.is_empty() => Ok(Wanted::One(user(sender)?, id.to_owned())),
            _ => bail!("expected USER/ID, as 42/a_02, or --last N; found {what:?}"),
        },
        (None, None) => bail!("expected USER/ID, as 42/a_02, or --last N; found neither"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_read() {
        assert_eq!(wanted(Some("42/a/b"), None).unwrap(), Wanted::One(UserId(42), "a/b".into()));
        assert_eq!(wanted(Some("42"), Some(3)).unwrap(), Wanted::LastOf(UserId(42), 3));
        assert_eq!(wanted(None, Some(3)).unwrap(), Wanted::Last(3));
        for what in [None, Some("42"), Some("42/"), Some("x/y"), Some("/y")] {
            assert!(wanted(what, None).is_err(), "{what:?}");
        }
    }
}
