//! The question to every process, and their answers.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use async_nats::StatusCode;
use futures::StreamExt;
use shared::{
    nats::Door,
    rpc,
    subject::Subjects,
    trace::{Answer, Process, Question},
};
use tokio::time::{Instant, timeout_at};
use workers::config::WorkerConfig;

/// Everything that answers on the broker.
pub struct Processes {
    client: async_nats::Client,
    subjects: Subjects,
    wait: Duration,
    /// Those that have answered, by kind, name and pid.
    known: BTreeMap<(String, u32), Process>,
    /// How many there are, once that is known.
    expected: Option<usize>,
}

impl Processes {
    /// Connects to the broker.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn open(config: &WorkerConfig, wait: Duration, expected: Option<usize>) -> Result<Self> {
        let door = Door::new(&config.nats.way).context("[nats]")?;
        let connecting = door.connect("simple-im trace", Duration::from_secs(5));
        let client = connecting.await.with_context(|| format!("connecting to {}", config.nats.way.url))?;
        let subjects = Subjects::new(&config.nats.prefix);
        Ok(Self { client, subjects, wait, known: BTreeMap::new(), expected })
    }

    /// Those that have answered so far.
    pub fn known(&self) -> impl Iterator<Item = &Process> {
        self.known.values()
    }

    /// Asks all, and gathers until the time is over, or all that answered before have answered.
    ///
    /// # Errors
    /// When the broker is lost.
    pub async fn ask(&mut self, question: &Question) -> Result<Vec<Answer>> {
        let inbox = self.client.new_inbox();
        let mut replies = self.client.subscribe(inbox.clone()).await?;
        self.client.publish_with_reply(self.subjects.trace(), inbox, rpc::to_vec(question).into()).await?;
        let until = Instant::now() + self.wait;
        let mut answers: Vec<Answer> = Vec::new();
        while self.expected.is_none_or(|expected| answers.len() < expected) {
            let Ok(Some(reply)) = timeout_at(until, replies.next()).await else { break };
            if reply.status == Some(StatusCode::NO_RESPONDERS) {
                break;
            }
            let answer: Answer = rpc::from_slice(&reply.payload).context("an answer that cannot be read")?;
            let process = &answer.process;
            self.known.insert((process.name.clone(), process.pid), process.clone());
            answers.push(answer);
        }
        self.expected = Some(self.known.len());
        answers.sort_by(|one, other| {
            let name = |answer: &Answer| (answer.process.kind, answer.process.name.clone());
            name(one).cmp(&name(other))
        });
        Ok(answers)
    }
}
