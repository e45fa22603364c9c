//! `wide`: a user with thousands of conversations, a few of them with news, logs in.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use shared::seeded::Random;
use tokio_postgres::Client;

use super::{
    Options,
    bare::{
        Engine, Got, Play,
        write::{self, DEVICE, Letter, Place as Whose},
    },
    blocking,
    door::{self, Manner, Nobody},
    line,
    meter::say,
    people::{self, Person},
    place::{Edge, Place},
};

/// What `simple-im load wide` takes beside what every load does.
#[derive(Clone, Debug, clap::Args)]
pub struct Wide {
    /// The user's conversations, each with a message that it has acknowledged.
    #[arg(long, default_value_t = 5_000)]
    pub conversations: usize,
    /// In so many of them there is a new one.
    #[arg(long, default_value_t = 3)]
    pub news: usize,
    /// How often it logs in, each time with news in other conversations.
    #[arg(long, default_value_t = 20)]
    pub rounds: usize,
}

/// How long news may take, microseconds.
const PATIENCE: u64 = 15_000_000;
/// From the end of one session to the next round, so that its cursors have moved.
const PAUSE: u64 = 800_000;

const OWNERS: &str = "INSERT INTO participants (user_id, conv, from_seq)
SELECT u, 'dm:' || least($1, p) || ':' || greatest($1, p), 1
FROM unnest($2::bigint[]) p, unnest(ARRAY[$1::bigint, p]) u";
const MESSAGES: &str = "INSERT INTO messages (conv, seq, sender, ts, kind, want, device, id, content, digest)
SELECT conv, 1, p, extract(epoch FROM now())::bigint, 0, 0, $3, 'old', 'an old one', decode(md5(conv), 'hex')
FROM (SELECT p, 'dm:' || least($1, p) || ':' || greatest($1, p) AS conv FROM unnest($2::bigint[]) p) c";
const CURSORS: &str = "INSERT INTO cursors (user_id, device, conv, seq)
SELECT $1, $3, 'dm:' || least($1, p) || ':' || greatest($1, p), 1 FROM unnest($2::bigint[]) p";

/// Runs it; its line.
pub async fn drive(options: &Options, wide: &Wide, place: &Place) -> Result<String> {
    let needed = wide.news * wide.rounds;
    ensure!(needed > 0, "expected news, and rounds");
    ensure!(
        needed <= wide.conversations,
        "expected at least {needed} conversations, so that each has news once; found {}",
        wide.conversations
    );
    let (edges, database) = (place.edges()?, place.database().await?);
    let mut people = people::make(&database, 1 + wide.conversations, &edges).await?;
    let mut peers = people.split_off(1);
    let owner = people.remove(0);
    make(&database, &owner, &peers).await?;
    Random::new(options.seed).shuffle(&mut peers);
    peers.truncate(needed);
    let mut line = line("wide", options, place).await?;
    let (news, text) = (wide.news, "x".repeat(options.body));
    let rounds = blocking(move || {
        let mut engine = Engine::new()?;
        door::enter(&mut engine, &peers, &edges, Manner::Calm, &mut Nobody)?;
        let mut rounds = Rounds { first: 0, text, known: BTreeSet::new(), done: Vec::new(), repeated: 0 };
        for (nth, some) in peers.chunks_exact(news).enumerate() {
            rounds.first = nth * news;
            rounds.once(&mut engine, &owner, some, &edges)?;
        }
        Ok(rounds)
    })
    .await?;
    line.put("conversations", wide.conversations);
    line.put("news", wide.news);
    line.put("rounds", wide.rounds);
    let figures = [
        ("login", Round::login as fn(&Round) -> f64),
        ("first_news", Round::first),
        ("last_news", Round::last),
    ];
    for (name, of) in figures {
        let mut values: Vec<f64> = rounds.done.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        line.figure(&format!("{name}_ms"), values[values.len() / 2]);
        line.figure(&format!("{name}_max_ms"), values[values.len() - 1]);
    }
    line.put("each_first_news_ms", json!(rounds.done.iter().map(Round::first).collect::<Vec<f64>>()));
    let sum = |of: fn(&Round) -> u64| rounds.done.iter().map(of).sum::<u64>();
    line.put("delivered", sum(|round| round.came));
    line.put("lost", sum(|round| round.lost));
    line.put("doubled", sum(|round| round.doubled));
    line.put("reordered", sum(|round| round.misplaced));
    line.put("repeated", rounds.repeated);
    Ok(line.finish())
}

/// Straight into PostgreSQL.
async fn make(database: &Client, owner: &Person, peers: &[Person]) -> Result<()> {
    let ids: Vec<i64> = peers.iter().map(|peer| peer.user.cast_signed()).collect();
    let owner = owner.user.cast_signed();
    database.execute(OWNERS, &[&owner, &ids]).await.context("making conversations")?;
    database.execute(MESSAGES, &[&owner, &ids, &DEVICE]).await.context("making old messages")?;
    database.execute(CURSORS, &[&owner, &ids, &DEVICE]).await.context("making cursors")?;
    database.batch_execute("ANALYZE participants, messages, cursors").await?;
    Ok(())
}

struct Rounds {
    /// The line of the round's first sender.
    first: usize,
    text: String,
    /// Whose news came already.
    known: BTreeSet<u64>,
    done: Vec<Round>,
    repeated: u64,
}

impl Rounds {
    fn once(&mut self, engine: &mut Engine, owner: &Person, peers: &[Person], edges: &[Edge]) -> Result<()> {
        let letter = Letter::new(Whose::User(owner.user), &self.text);
        let senders = self.first..self.first + peers.len();
        senders.clone().for_each(|line| engine.send(line, |out| letter.write(1, out)));
        let mut round = Round {
            owner: usize::MAX,
            began: 0,
            answered: None,
            stored: 0,
            news: peers.iter().map(|peer| (peer.user, None)).collect(),
            older: Vec::new(),
            came: 0,
            lost: 0,
            doubled: 0,
            misplaced: 0,
            failed: None,
        };
        round.until(engine, |round| round.stored == peers.len())?;
        round.began = engine.now();
        let login = write::login(owner.user, &owner.token);
        round.owner = engine.open(edges[owner.edge].tcp, owner.from, login)?;
        round.until(engine, |round| round.answered.is_some() && round.news.values().all(Option::is_some))?;
        // Whatever should not come has a moment to.
        let later = engine.now() + PAUSE / 8;
        while engine.now() < later {
            engine.turn(&mut round, later)?;
        }
        engine.close(round.owner);
        let later = engine.now() + PAUSE;
        while engine.now() < later {
            engine.turn(&mut Nobody, later)?;
        }
        round.lost = round.news.values().filter(|came| came.is_none()).count() as u64;
        for from in std::mem::take(&mut round.older) {
            if self.known.contains(&from) { self.repeated += 1 } else { round.misplaced += 1 }
        }
        self.known.extend(round.news.keys());
        say(&format!(
            "login {:.2} ms, first news {:.2} ms, last {:.2} ms",
            round.login(),
            round.first(),
            round.last()
        ));
        self.done.push(round);
        Ok(())
    }
}

/// One login with news.
struct Round {
    owner: usize,
    began: u64,
    answered: Option<u64>,
    stored: usize,
    /// From whom, and when it came.
    news: BTreeMap<u64, Option<u64>>,
    /// From whom else something came.
    older: Vec<u64>,
    came: u64,
    lost: u64,
    doubled: u64,
    misplaced: u64,
    failed: Option<String>,
}

impl Round {
    /// Until that is so, or for too long.
    fn until(&mut self, engine: &mut Engine, done: impl Fn(&Self) -> bool) -> Result<()> {
        let late = engine.now() + PATIENCE;
        while !done(self) && engine.now() < late {
            engine.turn(self, late)?;
            if let Some(why) = &self.failed {
                bail!("{why}");
            }
        }
        Ok(())
    }

    fn since(&self, at: u64) -> f64 {
        at.saturating_sub(self.began) as f64 / 1_000.0
    }

    fn login(&self) -> f64 {
        self.since(self.answered.unwrap_or(self.began + PATIENCE))
    }

    fn first(&self) -> f64 {
        self.since(self.news.values().flatten().min().copied().unwrap_or(self.began + PATIENCE))
    }

    fn last(&self) -> f64 {
        let times = self.news.values().map(|came| came.unwrap_or(self.began + PATIENCE));
        self.since(times.max().unwrap_or_default())
    }
}

impl Play for Round {
    fn got(&mut self, line: usize, got: Got<'_>, at: u64, out: &mut Vec<u8>) {
        match got {
            Got::Stored { seq, .. } => {
                self.stored += 1;
                self.misplaced += u64::from(seq != 2);
            }
            Got::Done if line == self.owner => self.answered = Some(at),
            Got::Delivery { from, seq, .. } if line == self.owner => {
                write::acks(Whose::User(from), seq..=seq, out);
                match self.news.get_mut(&from) {
                    Some(Some(_)) => self.doubled += 1,
                    Some(came) => {
                        *came = Some(at);
                        self.came += 1;
                        self.misplaced += u64::from(seq != 2);
                    }
                    None => self.older.push(from),
                }
            }
            Got::Refused { entry, .. } => self.failed = Some(String::from_utf8_lossy(entry).into_owned()),
            Got::Done | Got::Delivery { .. } | Got::Other { .. } => {}
        }
    }

    fn ended(&mut self, _: usize, why: &io::Error) {
        self.failed = Some(format!("a connection ended: {why}"));
    }
}
