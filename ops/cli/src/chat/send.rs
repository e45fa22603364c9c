//! `simple-im send`: messages from an argument or from stdin, one a line, each waited for until it is stored.

use std::{
    io::{BufRead, Read, Write, stdin, stdout},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use futures::{StreamExt, stream::FuturesOrdered};
use serde_json::json;
use shared::{
    client::{Client, SendError, Stored},
    ids::MessageId,
    message::{Target, WantedAck},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Done,
    account::Account,
    failure::{EXIT_CODES, Failure},
    say,
    target::To,
};

/// Messages on their way at a time; further lines stay in the pipe.
const FLIGHT: usize = 128;
/// The longest line, bytes: no server takes a longer text.
const LINE: u64 = 64 << 10;

/// What `simple-im send` takes.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Options {
    #[command(flatten)]
    account: Account,
    /// A phone number, id:USER or group:GROUP. Looking numbers up is limited to 60 a minute.
    to: To,
    /// The message; without it each line of stdin is one, and empty lines are passed over.
    text: Option<String>,
    /// The message's own id; with lines, ID-1, ID-2 and so on, by line. The same id, text and addressee sent again from this
    /// device is stored once, and answered as it was.
    #[arg(long, value_name = "ID", value_parser = MessageId::new)]
    id: Option<MessageId>,
    /// Give up when nothing was answered for so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// One JSON object a message on stdout: id, and seq, ts and conversation, or refused (a code) and reason.
    #[arg(long)]
    json: bool,
}

/// A line of input.
enum Line {
    Text(String),
    /// Not to be sent, and why.
    Bad(String),
}

/// Sends, and waits until everything has its answer.
///
/// # Errors
/// [`Failure`]; of several lines one that is refused does not stop the others.
pub async fn run(options: Options) -> Done {
    let patience = Duration::from_secs(options.timeout);
    let mut entered = options.account.enter("send", patience).await?;
    let (client, events) =
        options.account.connect(&mut entered, |tuned| tuned.first_login = patience).await?;
    // What waits for this device is not for anybody here: it is neither shown nor acknowledged.
    drop(events);
    let to = options.to.find(&entered.api, entered.token()).await?;
    let mut sender =
        Sender { client: &client, to, options: &options, flight: FuturesOrdered::new(), refused: 0 };
    let sent = sender.all(patience).await;
    let refused = sender.refused;
    client.close().await;
    sent?;
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

type Answer = (MessageId, Result<Stored, SendError>);

struct Sender<'a> {
    client: &'a Client,
    to: Target,
    options: &'a Options,
    flight: FuturesOrdered<std::pin::Pin<Box<dyn Future<Output = Answer> + Send>>>,
    refused: u64,
}

impl Sender<'_> {
    async fn all(&mut self, patience: Duration) -> Result<(), Failure> {
        let mut lines = lines(self.options.text.clone());
        let (mut more, mut number, mut progress) = (true, 0, Instant::now());
        while more || !self.flight.is_empty() {
            tokio::select! {
                line = lines.recv(), if more && self.flight.len() < FLIGHT => match line {
                    Some(line) => {
                        number += 1;
                        if self.flight.is_empty() {
                            progress = Instant::now();
                        }
                        self.line(number, line?).await?;
                    }
                    None => more = false,
                },
                Some((id, answer)) = self.flight.next(), if !self.flight.is_empty() => {
                    progress = Instant::now();
                    self.answered(&id, answer)?;
                }
                () = sleep_until(progress + patience), if !self.flight.is_empty() => {
                    let count = self.flight.len();
                    return Err(Failure::Unreachable(format!("{count} without an answer after {patience:?}")));
                }
            }
        }
        Ok(())
    }

    async fn line(&mut self, number: u64, line: Line) -> Result<(), Failure> {
        let text = match line {
            Line::Text(text) if text.is_empty() && self.options.text.is_none() => return Ok(()),
            Line::Text(text) => text,
            Line::Bad(reason) => {
                self.refused += 1;
                say(&format!("line {number}: {reason}"));
                return Ok(());
            }
        };
        let id = match &self.options.id {
            None => self.client.new_id(),
            Some(id) if self.options.text.is_some() => id.clone(),
            Some(id) => MessageId::new(&format!("{id}-{number}"))
                .map_err(|error| Failure::Usage(error.to_string()))?,
        };
        match self.client.begin_with(id.clone(), self.to, &text, WantedAck::Stored).await {
            Ok(answer) => self.flight.push_back(Box::pin(async move { (id, answer.await) })),
            Err(error) => self.answered(&id, Err(error))?,
        }
        Ok(())
    }

    fn answered(&mut self, id: &MessageId, answer: Result<Stored, SendError>) -> Result<(), Failure> {
        let told = match &answer {
            Ok(stored) => {
                let conversation = self.to.conversation(self.client.user()).to_string();
                json!({ "id": id.as_str(), "conversation": conversation, "seq": stored.seq.0, "ts": stored.ts })
            }
            Err(SendError::Refused(refused)) => {
                self.refused += 1;
                say(&format!("{id}: {refused}"));
                let code = refused.code.map_or("", |code| code.as_str());
                json!({ "id": id.as_str(), "refused": code, "reason": refused.reason })
            }
            Err(_) => return answer.map(drop).map_err(Failure::from),
        };
        if self.options.json {
            let mut out = stdout();
            writeln!(out, "{told}").and_then(|()| out.flush())?;
        }
        Ok(())
    }
}

/// The argument, or stdin's lines, read by a thread of their own no faster than they are taken.
fn lines(argument: Option<String>) -> mpsc::Receiver<Result<Line, anyhow::Error>> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        if let Some(text) = argument {
            drop(sender.blocking_send(Ok(Line::Text(text))));
            return;
        }
        let mut input = stdin().lock();
        while let Some(line) = next(&mut input).transpose() {
            let over = line.is_err();
            if sender.blocking_send(line).is_err() || over {
                return;
            }
        }
    });
    lines
}

/// The next line without its end; `None` at the end of the input.
fn next(input: &mut impl BufRead) -> anyhow::Result<Option<Line>> {
    let mut bytes = Vec::new();
    if input.by_ref().take(LINE).read_until(b'\n', &mut bytes).context("reading stdin")? == 0 {
        return Ok(None);
    }
    if bytes.len() as u64 == LINE && !bytes.ends_with(b"\n") {
        input.skip_until(b'\n').context("reading stdin")?;
        return Ok(Some(Line::Bad(format!("expected at most {LINE} bytes, found more"))));
    }
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    Ok(Some(match std::str::from_utf8(text) {
        Ok(text) => Line::Text(text.to_owned()),
        Err(error) => Line::Bad(format!("expected UTF-8, found other bytes after {}", error.valid_up_to())),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Vec<Result<String, String>> {
        let mut input = input;
        std::iter::from_fn(|| next(&mut input).unwrap())
            .map(|line| match line {
                Line::Text(text) => Ok(text),
                Line::Bad(reason) => Err(reason),
            })
            .collect()
    }

    #[test]
    fn lines_are_cut() {
        assert_eq!(read(b"one\r\n\ntwo \nend"), ["one", "", "two ", "end"].map(|text| Ok(text.to_owned())));
        assert!(read(b"").is_empty());
        let found = read(b"\xff\xfe\nok\n");
        assert!(found[0].is_err() && found[1] == Ok("ok".to_owned()), "{found:?}");
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let mut input = vec![b'x'; 1 << 20];
        input.extend_from_slice(b"\nnext\n");
        let found = read(&input);
        assert_eq!((found.len(), found[0].is_err(), found[1].as_deref()), (2, true, Ok("next")));
    }
}
