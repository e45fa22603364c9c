//! The users of a run, with their tokens: written straight into PostgreSQL, so that ten thousand take a second.

use std::{
    io::Read,
    net::{IpAddr, Ipv4Addr},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use shared::ids::TokenDigest;
use tokio_postgres::Client;

use super::{bare::write::DEVICE, place::Edge};

/// The most users of one statement.
const AT_ONCE: usize = 5_000;
/// Characters of a token, each half a byte.
const TOKEN: usize = 32;
/// Connections from one source address, of the 28,000 ports that it has to one destination: those that have ended keep
/// theirs for a minute.
const A_SOURCE: usize = 4_000;

const USERS: &str = "INSERT INTO users (phone, name, password)
SELECT $1 || lpad(n::text, 8, '0'), 'load', 'none' FROM generate_series($2::bigint, $3::bigint) n RETURNING id";
const SESSIONS: &str = "INSERT INTO sessions (digest, user_id, device)
SELECT digest, user_id, $3 FROM unnest($1::text[], $2::bigint[]) u(digest, user_id)";
const DEVICES: &str = "INSERT INTO devices (user_id, device) SELECT id, $2 FROM unnest($1::bigint[]) id";

/// A user with a token, and where it connects.
#[derive(Clone, Debug)]
pub struct Person {
    /// Who.
    pub user: u64,
    /// What it logs in with.
    pub token: String,
    /// The edge's number in the stack.
    pub edge: usize,
    /// The address it comes from.
    pub from: Option<IpAddr>,
}

/// Makes so many, new ones each time: their conversations are empty. They go to the edges in turn, the two of a pair to
/// different ones where there are two.
///
/// # Errors
/// When PostgreSQL does not take them.
pub async fn make(database: &Client, count: usize, edges: &[Edge]) -> Result<Vec<Person>> {
    let run = run()?;
    let mut ids: Vec<i64> = Vec::with_capacity(count);
    while ids.len() < count {
        let (first, last) = (ids.len() as i64 + 1, (ids.len() + AT_ONCE).min(count) as i64);
        let rows = database.query(USERS, &[&run, &first, &last]).await.context("making users")?;
        let made: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        // As if each had been there before.
        database.execute(DEVICES, &[&made, &DEVICE]).await.context("giving them devices")?;
        ids.extend(made);
    }
    with_tokens(database, ids, edges).await
}

/// A beginning for phones that no other run has.
pub fn run() -> Result<String> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros().to_string())
}

/// Gives users that there are tokens, and places at the edges.
///
/// # Errors
/// When PostgreSQL does not take them.
pub async fn with_tokens(database: &Client, users: Vec<i64>, edges: &[Edge]) -> Result<Vec<Person>> {
    let mut people = Vec::with_capacity(users.len());
    let others = SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_micros().to_be_bytes()[3];
    for some in users.chunks(AT_ONCE) {
        let tokens = tokens(some.len())?;
        let digests: Vec<TokenDigest> = tokens.iter().map(|token| TokenDigest::of(token)).collect();
        let digests: Vec<&str> = digests.iter().map(TokenDigest::as_str).collect();
        database.execute(SESSIONS, &[&digests, &some, &DEVICE]).await.context("giving users tokens")?;
        for (user, token) in some.iter().zip(tokens) {
            let number = people.len();
            let edge = (number / 2 + number % 2) % edges.len();
            let from = loopback(edges[edge].tcp.ip()).then(|| source(number, others));
            people.push(Person { user: user.cast_unsigned(), token, edge, from });
        }
    }
    // What was written in one go is looked up one by one: without this the planner may read it all.
    database.batch_execute("ANALYZE users, sessions, devices").await.context("analyzing")?;
    Ok(people)
}

fn loopback(ip: IpAddr) -> bool {
    ip.is_ipv4() && ip.is_loopback()
}

/// Loopback addresses besides the servers' own, each for so many connections, and others for another run.
fn source(number: usize, run: u8) -> IpAddr {
    let last = u8::try_from(number / A_SOURCE % 250 + 1).unwrap_or(1);
    IpAddr::V4(Ipv4Addr::new(127, 7, run, last))
}

fn tokens(count: usize) -> Result<Vec<String>> {
    let mut random = vec![0; count * TOKEN / 2];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random).context("reading /dev/urandom")?;
    let token = |bytes: &[u8]| {
        bytes.iter().fold(String::with_capacity(TOKEN), |token, byte| token + &format!("{byte:02x}"))
    };
    Ok(random.chunks(TOKEN / 2).map(token).collect())
}
