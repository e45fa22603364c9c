//! An importer: sends what stands in a file, one JSON object a line, as fast as it is stored; a second run of the same file
//! stores nothing twice.
//!
//! ```sh
//! printf '{"id":"old-1","to":3,"text":"hello"}\n{"id":"old-2","group":9,"text":"all"}\n' |
//!     SIMPLE_IM_PHONE=13812652252 SIMPLE_IM_PASSWORD=… cargo run -p shared --example importer
//! ```
//!
//! `id` is the record's own, unique in its source. Exit code 0: everything is stored. 1: some lines were refused, and stand on
//! stderr; the others are stored.

use std::{
    collections::VecDeque,
    env,
    error::Error,
    io::{BufRead, stdin},
    process::ExitCode,
};

use serde::Deserialize;
use shared::{
    client::{Client, InFlight, Options, SendError, Stored, http::Api},
    ids::{Device, GroupId, MessageId, UserId},
    message::{Target, WantedAck},
};

/// Messages on their way at a time.
const FLIGHT: usize = 200;

/// One line.
#[derive(Deserialize)]
struct Record {
    id: MessageId,
    to: Option<UserId>,
    group: Option<GroupId>,
    text: String,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let server = env::var("SIMPLE_IM_SERVER").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned());
    let (phone, password) = (env::var("SIMPLE_IM_PHONE")?, env::var("SIMPLE_IM_PASSWORD")?);
    let api = Api::any(server.split(','));
    // Ids mean something to one device: every run is the same one.
    let login = api.login(&phone, &password, Some("importer")).await?;
    let options = Options::of_login(&api, &login, Device::new("importer")?);
    let (client, events) = Client::connect(options).await?;
    drop(events);

    let mut flight: VecDeque<(usize, InFlight<Stored>)> = VecDeque::new();
    let mut tally = Tally::default();
    for (at, line) in stdin().lock().lines().enumerate() {
        let number = at + 1;
        match begin(&client, &line?).await {
            Ok(answer) => flight.push_back((number, answer)),
            Err(error) => tally.refused(number, &error.to_string()),
        }
        if flight.len() >= FLIGHT
            && let Some((number, answer)) = flight.pop_front()
        {
            tally.answered(number, answer.await)?;
        }
    }
    for (number, answer) in flight {
        tally.answered(number, answer.await)?;
    }
    client.close().await;
    eprintln!("{} stored, {} refused", tally.stored, tally.refused);
    Ok(if tally.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn begin(client: &Client, line: &str) -> Result<InFlight<Stored>, Box<dyn Error>> {
    let record: Record = serde_json::from_str(line)?;
    let to = match (record.to, record.group) {
        (Some(user), None) => Target::User(user),
        (None, Some(group)) => Target::Group(group),
        _ => return Err("expected either \"to\" or \"group\"".into()),
    };
    Ok(client.begin_with(record.id, to, &record.text, WantedAck::Stored).await?)
}

#[derive(Default)]
struct Tally {
    stored: u64,
    refused: u64,
}

impl Tally {
    fn answered(&mut self, line: usize, answer: Result<Stored, SendError>) -> Result<(), SendError> {
        match answer {
            Ok(_) => self.stored += 1,
            Err(SendError::Refused(refused)) => self.refused(line, &refused.to_string()),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn refused(&mut self, line: usize, reason: &str) {
        self.refused += 1;
        eprintln!("line {line}: {reason}");
    }
}
