//! `session.numbers`, then `session.connect`: logins that gather while the last call is under way go out as one. Calls
//! rest: when thousands reconnect at once, half of the time is for those who are there and talk (ADR 0013).
//!
//! The numbers fence logins off. A worker may hang and carry a login out long after it was given up here, when the client
//! has logged in again: with the lower number it is then refused.

use std::time::Duration;

use shared::{
    command::Code,
    contract::Speaks,
    ids::NodeId,
    rpc::{Connect, ConnectBatch, ConnectReply, ConnectResult, Numbers, NumbersDrawn},
};
use tokio::sync::{mpsc, oneshot};

use super::{CallError, Calls, turns::Turns};
use crate::vital::Vital;

/// The most logins of one call: what costs PostgreSQL a few milliseconds, for the others' sake.
const BATCH: usize = 250;
/// Calls under way at a time, where the last ones take long.
const CALLS: usize = 4;
/// Logins that wait for a call. When full, a connection waits with its login; its socket is not read meanwhile.
const QUEUE: usize = 4096;

const DRAW: &str = "session.numbers";
const CALL: &str = "session.connect";

/// Hands logins to the workers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Logins {
    queue: mpsc::Sender<Waiting>,
    timeout: Duration,
}

#[derive(Debug)]
struct Waiting {
    login: Connect,
    answer: oneshot::Sender<Result<ConnectResult, CallError>>,
}

impl Logins {
    /// Starts the task that gathers them; it ends when the last handle is gone.
    pub fn start(calls: Calls, node: NodeId, server: String, port: u16, vital: &Vital) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let timeout = calls.timeout();
        let empty = ConnectBatch {
            node,
            server,
            port,
            numbers: Vec::new(),
            speaks: Speaks::this(),
            logins: Vec::new(),
        };
        tokio::spawn(vital.clone().task("logins", gather(calls, waiting, empty)));
        Self { queue, timeout }
    }

    /// One login.
    ///
    /// # Errors
    /// [`CallError`]: with `Refused` the login itself was turned down, all else means try again.
    pub async fn connect(&self, login: Connect) -> Result<ConnectResult, CallError> {
        let gone = |_| CallError::Broken { call: CALL, reason: "this node is shutting down".into() };
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.queue.send(Waiting { login, answer }).await.map_err(|_| gone(()))?;
            answered.await.map_err(|_| gone(()))?
        };
        // The two calls have deadlines of their own; this one bounds the wait for them as well.
        let result = tokio::time::timeout(self.timeout * 2, asked)
            .await
            .map_err(|_| CallError::TimedOut { call: CALL, after: self.timeout * 2 })??;
        match result.code {
            Some(code) => {
                Err(CallError::Refused { call: CALL, code, reason: result.reason.unwrap_or_default() })
            }
            None => Ok(result),
        }
    }
}

async fn gather(calls: Calls, mut waiting: mpsc::Receiver<Waiting>, empty: ConnectBatch) {
    let mut turns = Turns::resting(CALLS, BATCH);
    while let Some((mut logins, turn)) = turns.next(&mut waiting).await {
        // Whoever has stopped waiting must not get a session that replaces the one it has now.
        logins.retain(|login| !login.answer.is_closed());
        let (calls, batch) = (calls.clone(), empty.clone());
        tokio::spawn(async move {
            connect(&calls, batch, logins).await;
            turn.over().await;
        });
    }
}

async fn connect(calls: &Calls, mut batch: ConnectBatch, mut logins: Vec<Waiting>) {
    if logins.is_empty() {
        return;
    }
    let drawn = draw(calls, logins.len()).await;
    // While workers were away for long, some have left and may have logged in elsewhere with a number drawn before these.
    let stays: Vec<bool> = logins.iter().map(|login| !login.answer.is_closed()).collect();
    let mut stay = stays.iter();
    logins.retain(|_| stay.next().is_some_and(|stays| *stays));
    let (asked, answers): (Vec<_>, Vec<_>) = logins.into_iter().map(|one| (one.login, one.answer)).unzip();
    batch.logins = asked;
    let results = match drawn {
        Ok(drawn) => carry_out(calls, batch, drawn, &stays).await,
        Err(error) => Err(error),
    };
    let results: Vec<_> = match results {
        Ok(results) => results.into_iter().map(Ok).collect(),
        Err(error) => {
            tracing::warn!(%error, logins = answers.len(), "logins have no answer");
            vec![Err(error); answers.len()]
        }
    };
    for (answer, result) in answers.into_iter().zip(results) {
        // A connection that has gone meanwhile does not want its answer; its number is simply never used.
        answer.send(result).ok();
    }
}

/// The numbers are drawn here, after the clients' frames have come: that is what makes them a fence.
async fn draw(calls: &Calls, wanted: usize) -> Result<NumbersDrawn, CallError> {
    let draw = Numbers { count: u32::try_from(wanted).unwrap_or(u32::MAX) };
    let mut drawn: NumbersDrawn = calls.call(DRAW, &draw, calls.timeout()).await?;
    drawn.numbers = fitting(DRAW, drawn.numbers, wanted)?;
    Ok(drawn)
}

/// One result a login.
async fn carry_out(
    calls: &Calls,
    mut batch: ConnectBatch,
    drawn: NumbersDrawn,
    stays: &[bool],
) -> Result<Vec<ConnectResult>, CallError> {
    batch.numbers =
        drawn.numbers.into_iter().zip(stays).filter(|(_, stays)| **stays).map(|(no, _)| no).collect();
    let wanted = batch.logins.len();
    if wanted == 0 {
        return Ok(Vec::new());
    }
    let reply: ConnectReply = calls.call_at(&drawn.worker, CALL, &batch, calls.timeout()).await?;
    fitting(CALL, reply.results, wanted)
}

fn fitting<T>(call: &'static str, found: Vec<T>, wanted: usize) -> Result<Vec<T>, CallError> {
    if found.len() == wanted {
        return Ok(found);
    }
    let reason = format!("expected {wanted} of what was asked for, found {}", found.len());
    tracing::error!(call, reason, "a worker's reply does not fit its call");
    Err(CallError::Broken { call, reason })
}

impl CallError {
    /// What a client is told of a login that failed: the worker's own words, or that it should try again.
    pub fn for_login(&self) -> (Code, &str) {
        match self {
            Self::Refused { code, reason, .. } => (Code::parse(code).unwrap_or(Code::Unavailable), reason),
            _ => (
                Code::Unavailable,
                "expected a worker to check the login, found none that answers; try again",
            ),
        }
    }
}
