//! `grow`: fills the database with users and messages, and says what logging in and `GET /offline` take then. Other modes
//! run on what it leaves.
//!
//! Every user has a token and a device, and talks with its two neighbours, about twenty messages each; what was sent is
//! acknowledged, but for the last few in one conversation of ten.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, stream};
use shared::{client::http::Api, seeded::Random};
use tokio_postgres::Client;

use super::{
    Options,
    bare::{Engine, write::DEVICE},
    blocking,
    door::{self, Manner, Nobody},
    histogram::Histogram,
    line,
    meter::say,
    people::{self, Person},
    place::{Edge, Place},
};

/// What `simple-im load grow` takes beside what every load does.
#[derive(Clone, Debug, clap::Args)]
pub struct Grow {
    /// Users to add.
    #[arg(long, default_value_t = 1_000_000)]
    pub users: i64,
    /// Messages to add.
    #[arg(long, default_value_t = 20_000_000)]
    pub messages: i64,
    /// Of the users added so many log in and ask what they are owed.
    #[arg(long, default_value_t = 2_000)]
    pub sample: usize,
}

/// Users, and conversations, of one statement.
const A_STEP: i64 = 20_000;
/// Messages of a conversation, at least.
const EACH: i64 = 20;
/// Those that are not acknowledged yet in one of ten.
const OWED: i64 = 5;
/// Logins, and calls, under way at a time: what they take is to be seen, not how long they queue.
const AT_ONCE: usize = 4;

const USERS: &str = "WITH made AS (INSERT INTO users (phone, name, password)
    SELECT $1 || lpad(n::text, 9, '0'), 'load', 'none' FROM generate_series($2::bigint, $3::bigint) n RETURNING id),
  tokens AS (INSERT INTO sessions (digest, user_id, device) SELECT md5($1 || id), id, $4 FROM made),
  devices AS (INSERT INTO devices (user_id, device) SELECT id, $4 FROM made)
SELECT min(id), max(id) FROM made";

/// Conversation `k` is between the users `k` and `k + 1`, the last user's with the first.
const TALKS: &str = "WITH talks AS MATERIALIZED (
    SELECT k, a, b, 'dm:' || least(a, b) || ':' || greatest(a, b) AS conv
    FROM (SELECT k, $1::bigint + k AS a, $1::bigint + (k + 1) % $2::bigint AS b
          FROM generate_series($3::bigint, $4::bigint) k) n),
  messages AS (INSERT INTO messages (conv, seq, sender, ts, kind, want, device, id, content, digest)
    SELECT conv, seq, CASE WHEN seq % 2 = 1 THEN a ELSE b END, extract(epoch FROM now())::bigint, 0, 0, $6,
           seq::text, $7, decode(md5(conv || ' ' || seq), 'hex')
    FROM talks, generate_series(1, $5::bigint) seq),
  participants AS (INSERT INTO participants (user_id, conv, from_seq)
    SELECT u, conv, 1 FROM talks, unnest(ARRAY[a, b]) u)
INSERT INTO cursors (user_id, device, conv, seq)
SELECT u, $6, conv, CASE WHEN u = b AND k % 10 = 0 THEN $5 - $8::bigint ELSE $5 END
FROM talks, unnest(ARRAY[a, b]) u";

const OWED_TO: &str = "SELECT count(*) FROM participants p
JOIN cursors c ON c.user_id = p.user_id AND c.conv = p.conv AND c.device = $2
JOIN messages m ON m.conv = p.conv AND m.seq > c.seq AND m.sender <> p.user_id
WHERE p.user_id = ANY($1)";

/// Runs it; its line.
pub async fn drive(options: &Options, grow: &Grow, place: &Place) -> Result<String> {
    ensure!(grow.users >= 10 && grow.messages >= 0, "expected at least 10 users to add");
    ensure!(grow.sample > 0 && grow.sample as i64 <= grow.users, "expected a sample of the users added");
    let (edges, database) = (place.edges()?, place.database().await?);
    let mut line = line("grow", options, place).await?;
    let began = Instant::now();
    let first = add_users(&database, grow.users).await?;
    let messages = add_messages(&database, options, grow, first).await?;
    let checkpointed = settle(&database).await?;
    line.put("users", grow.users);
    line.put("messages", messages);
    line.figure("filled_s", began.elapsed().as_secs_f64());
    line.put("checkpointed", checkpointed);
    let bytes: i64 = database.query_one("SELECT pg_database_size(current_database())", &[]).await?.get(0);
    line.put("database_bytes", bytes);

    let people = sample(&database, options, grow, first, &edges).await?;
    let ids: Vec<i64> = people.iter().map(|person| person.user.cast_signed()).collect();
    let owed: i64 = database.query_one(OWED_TO, &[&ids, &DEVICE]).await?.get(0);
    say(&format!("{} users ask what they are owed", people.len()));
    let (asked, shown) = ask(&people, &edges).await?;
    say("and log in");
    let entered = blocking(move || {
        let mut engine = Engine::new()?;
        door::enter(&mut engine, &people, &edges, Manner::Storm(AT_ONCE), &mut Nobody)
    })
    .await?;
    line.put("sample", grow.sample);
    line.latencies("offline_", &asked);
    line.latencies("login_", &entered.took);
    line.put("logins_per_s", entered.per_second().round());
    line.put("login_retries", entered.retries);
    let owed = owed.cast_unsigned();
    line.put("delivered", shown);
    line.put("lost", owed.saturating_sub(shown));
    line.put("doubled", shown.saturating_sub(owed));
    Ok(line.finish())
}

/// The first one's id; the others' follow.
async fn add_users(database: &Client, users: i64) -> Result<i64> {
    let run = people::run()?;
    let (mut first, mut done) = (0, 0);
    while done < users {
        let (from, to) = (done + 1, (done + A_STEP).min(users));
        let row = database.query_one(USERS, &[&run, &from, &to, &DEVICE]).await.context("adding users")?;
        let (least, most): (i64, i64) = (row.get(0), row.get(1));
        if done == 0 {
            first = least;
        }
        ensure!(most - first + 1 == to, "expected to be alone here; other users were made meanwhile");
        done = to;
        say(&format!("{done} of {users} users"));
    }
    Ok(first)
}

/// How many there were.
async fn add_messages(database: &Client, options: &Options, grow: &Grow, first: i64) -> Result<i64> {
    let each = EACH.max((grow.messages + grow.users - 1) / grow.users);
    let (talks, text) = (grow.messages / each, "x".repeat(options.body));
    let mut done = 0;
    while done < talks {
        let last = (done + A_STEP).min(talks) - 1;
        database
            .execute(TALKS, &[&first, &grow.users, &done, &last, &each, &DEVICE, &text, &OWED])
            .await
            .context("adding messages")?;
        done = last + 1;
        say(&format!("{} of {} messages", done * each, talks * each));
    }
    Ok(talks * each)
}

/// As it would be had it grown over time: statistics made, pages seen. Whether a checkpoint is behind it, too, for which
/// the role may lack the right.
async fn settle(database: &Client) -> Result<bool> {
    for table in ["users", "sessions", "devices", "messages", "participants", "cursors"] {
        say(&format!("vacuum and analyze {table}"));
        database.batch_execute(&format!("VACUUM (ANALYZE) {table}")).await?;
    }
    let checkpointed = database.batch_execute("CHECKPOINT").await;
    if let Err(error) = &checkpointed {
        say(&format!(
            "no checkpoint ({error}): the next one comes by itself, or with a restart of the stack"
        ));
    }
    Ok(checkpointed.is_ok())
}

/// Some of the users, with tokens that are known here.
async fn sample(
    database: &Client,
    options: &Options,
    grow: &Grow,
    first: i64,
    edges: &[Edge],
) -> Result<Vec<Person>> {
    let mut random = Random::new(options.seed);
    let many = usize::try_from(grow.users)?;
    let mut chosen = std::collections::BTreeSet::new();
    while chosen.len() < grow.sample {
        chosen.insert(first + i64::try_from(random.below(many))?);
    }
    let mut users: Vec<i64> = chosen.into_iter().collect();
    random.shuffle(&mut users);
    people::with_tokens(database, users, edges).await
}

/// `GET /offline` of each. How long it took, and how many messages were shown.
async fn ask(people: &[Person], edges: &[Edge]) -> Result<(Histogram, u64)> {
    let apis: Vec<Api> = edges.iter().map(|edge| Api::new(format!("http://{}", edge.http))).collect();
    let answers = stream::iter(people).map(async |person| {
        let began = Instant::now();
        let answer = apis[person.edge].offline(&person.token).await;
        (began.elapsed(), answer)
    });
    let answers: Vec<_> = answers.buffer_unordered(AT_ONCE).collect().await;
    let (mut took, mut shown) = (Histogram::default(), 0);
    for (time, answer) in answers {
        took.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        shown += answer.context("GET /offline")?.deliveries.len() as u64;
    }
    Ok((took, shown))
}
