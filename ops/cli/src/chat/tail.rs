//! `simple-im tail`: every message as it comes, one a line, acknowledged once it is written.

use std::{
    collections::HashMap,
    io::{ErrorKind, Write, stdout},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use shared::{
    client::{Client, Delivery, Event, Events, http::Api},
    ids::UserId,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::block_in_place,
    time::{Instant, sleep_until},
};

use super::{
    Done,
    account::Account,
    clock::Clock,
    failure::{EXIT_CODES, Failure},
    line, say,
};

/// Names remembered; beyond it all are asked for again.
const NAMES: usize = 10_000;

/// What `simple-im tail` takes.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Options {
    #[command(flatten)]
    account: Account,
    /// One JSON object a line: kind, conversation, seq, id, from, device, own, to or group, ts, text or request.
    #[arg(long)]
    json: bool,
    /// End after so many.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End when nothing has come for so many seconds.
    #[arg(long, value_name = "SECONDS")]
    idle: Option<u64>,
}

/// Prints until a signal, a closed pipe, or what the options say. What could not be written is not acknowledged, and comes
/// again in the next run.
///
/// # Errors
/// [`Failure`].
pub async fn run(options: Options) -> Done {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut entered = options.account.enter("tail", Duration::ZERO).await?;
    let (client, mut events) = options.account.connect(&mut entered, |tuned| tuned.auto_ack = false).await?;
    let names = Names { api: entered.api.clone(), token: entered.token().to_owned(), known: HashMap::new() };
    let mut tail = Tail { client: &client, options: &options, names, clock: Clock::here(), written: 0 };
    let ended = tokio::select! {
        ended = tail.all(&mut events) => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    client.close().await;
    ended.map(|()| ExitCode::SUCCESS)
}

struct Tail<'a> {
    client: &'a Client,
    options: &'a Options,
    names: Names,
    clock: Clock,
    written: u64,
}

impl Tail<'_> {
    async fn all(&mut self, events: &mut Events) -> Result<(), Failure> {
        // Silence counts only while there is a connection that something could come by.
        let mut quiet = None;
        while self.options.count.is_none_or(|count| self.written < count) {
            let idle = self.options.idle.map(Duration::from_secs);
            let until = quiet.zip(idle).map(|(since, idle): (Instant, _)| since + idle);
            let event = tokio::select! {
                event = events.next() => event,
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => return Ok(()),
            };
            match event {
                Some(Event::Delivery(delivery)) => {
                    if !self.write(&delivery).await? {
                        return Ok(());
                    }
                    quiet = Some(Instant::now());
                }
                Some(Event::Connected { server, away }) => {
                    quiet = Some(Instant::now());
                    if !away.is_zero() {
                        say(&format!("connected again to {server} after {away:.1?}"));
                    }
                }
                Some(Event::Disconnected { reason }) => {
                    quiet = None;
                    say(&format!("disconnected: {reason}; trying again"));
                }
                Some(Event::Replaced) => {
                    return Err(Failure::LoggedOut("this device has logged in elsewhere".into()));
                }
                Some(Event::LoginRefused(refused)) => return Err(Failure::LoggedOut(refused.to_string())),
                Some(Event::Refusal(refused)) => say(&refused.to_string()),
                Some(Event::Receipt(_) | Event::Moved { .. } | Event::Unknown(_)) => {}
                None => return Err(Failure::Unreachable("the session has ended".into())),
            }
        }
        Ok(())
    }

    /// False: nobody reads any more.
    async fn write(&mut self, delivery: &Delivery) -> Result<bool, Failure> {
        let me = self.client.user();
        let line = if self.options.json {
            line::json(delivery, me)
        } else {
            line::plain(delivery, me, &self.names.of(delivery.from).await, &self.clock)
        };
        // A reader that is slow holds this thread up, and only this one: heartbeats go on.
        let written = block_in_place(|| {
            let mut out = stdout().lock();
            writeln!(out, "{line}").and_then(|()| out.flush())
        });
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        self.client.ack(delivery).await?;
        self.written += 1;
        Ok(true)
    }
}

/// Who is called what.
struct Names {
    api: Api,
    token: String,
    known: HashMap<UserId, String>,
}

impl Names {
    async fn of(&mut self, user: UserId) -> String {
        if let Some(name) = self.known.get(&user) {
            return name.clone();
        }
        // Without an answer the number has to do; the next message asks again.
        let Ok(Some(found)) = self.api.user_by_id(&self.token, user).await else {
            return format!("user {user}");
        };
        if self.known.len() >= NAMES {
            self.known.clear();
        }
        self.known.insert(user, found.name.clone());
        found.name
    }
}
