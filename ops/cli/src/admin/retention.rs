//! `admin retention`: removes old messages, a batch at a time with a pause after each.

use std::{
    collections::BTreeMap,
    io::Write,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use shared::ids::{Conversation, Seq, UserId};
use workers::store::admin::retention::{self, Old, Only};

use super::desk::Desk;

/// Conversations looked at in one statement.
const PAGE: i32 = 500;
/// How often it says how far it is.
const SAY: Duration = Duration::from_secs(5);
const DAY: u64 = 86_400;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Messages older than this go: 90d, 12h, 30m or 45s.
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Duration,
    /// Rows removed in one statement.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    batch: i64,
    /// The pause after each, milliseconds.
    #[arg(long, default_value_t = 50, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pause_ms: u64,
    /// Count, and remove nothing.
    #[arg(long)]
    dry_run: bool,
    /// Even what devices may not have fetched yet: an age below [account] device_days.
    #[arg(long)]
    unseen_too: bool,
}

pub async fn run(desk: &Desk, options: &Options) -> Result<()> {
    let age = options.older_than.as_secs();
    let dry = if options.dry_run { ", dry run" } else { "" };
    let target = format!("older than {age} s{dry}");
    desk.audited("retention", &target, sweep(desk, options)).await
}

async fn sweep(desk: &Desk, options: &Options) -> Result<String> {
    let age = options.older_than.as_secs();
    let kept_for = u64::from(desk.config.account.device_days.unsigned_abs()) * DAY;
    ensure!(
        age >= kept_for || options.unseen_too || options.dry_run,
        "expected an age of at least [account] device_days ({} days): what is younger may wait for a device that comes \
         back (--unseen-too removes it all the same)",
        desk.config.account.device_days
    );
    let Some(_only) = Only::take(&desk.config.postgres).await? else { bail!("another retention runs") };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let before = i64::try_from(now.saturating_sub(age)).unwrap_or(i64::MAX);
    // Bodies older than that have ended by themselves.
    let bodies = !options.dry_run && age < desk.config.redis.offline_days * DAY;
    let mut sweep = Sweep { desk, options, before, bodies, done: Done::default(), said: Instant::now() };
    let mut last = String::new();
    loop {
        let page = retention::page(&desk.pool, &last, PAGE, before).await?;
        sweep.done.conversations += page.looked;
        sweep.of(page.old).await?;
        sweep.say(&last)?;
        match page.last {
            Some(next) => last = next,
            None => break,
        }
    }
    let done = sweep.done;
    let (what, missed) = (
        if options.dry_run { "would go" } else { "are gone" },
        if done.cached > 0 {
            format!("; cached bodies in {} conversations stay until they expire", done.cached)
        } else {
            String::new()
        },
    );
    Ok(format!(
        "{} messages of {} conversations {what}, {} receipts with them; {} conversations looked at{missed}",
        done.messages, done.touched, done.receipts, done.conversations
    ))
}

#[derive(Debug, Default)]
struct Done {
    conversations: usize,
    touched: usize,
    messages: u64,
    receipts: u64,
    /// Conversations whose cached bodies could not be removed.
    cached: usize,
}

struct Sweep<'a> {
    desk: &'a Desk,
    options: &'a Options,
    before: i64,
    bodies: bool,
    done: Done,
    said: Instant,
}

impl Sweep<'_> {
    /// Removes all that is old of these.
    async fn of(&mut self, old: Vec<Old>) -> Result<()> {
        self.done.touched += old.len();
        let mut waiting = old;
        while !waiting.is_empty() {
            // A batch's worth in all, the same window for each.
            let most = usize::try_from(self.options.batch).unwrap_or(usize::MAX);
            let now: Vec<Old> = waiting.drain(..waiting.len().min(most)).collect();
            let window = (self.options.batch / i64::try_from(now.len()).unwrap_or(1)).max(1);
            let pool = &self.desk.pool;
            let removed = retention::remove(pool, now, window, self.before, self.options.dry_run).await;
            let removed = removed.context("a batch; a smaller --batch takes less time")?;
            self.done.messages += removed.messages;
            self.done.receipts += removed.receipts;
            if self.bodies {
                self.forget(&removed.upto).await?;
            }
            if let Some(first) = removed.rest.first() {
                let conv = first.conv.clone();
                self.say(&conv)?;
            }
            waiting.extend(removed.rest);
            if removed.messages > 0 && !self.options.dry_run {
                tokio::time::sleep(Duration::from_millis(self.options.pause_ms)).await;
            }
        }
        Ok(())
    }

    /// Removes cached bodies up to there.
    async fn forget(&mut self, upto: &[(Conversation, Seq)]) -> Result<()> {
        let Some(redis) = self.desk.redis().await? else {
            self.done.cached += upto.len();
            return Ok(());
        };
        let mut users: BTreeMap<UserId, Vec<(Conversation, Seq)>> = BTreeMap::new();
        for (conversation, seq) in upto {
            let members = match conversation {
                Conversation::Direct(low, high) => vec![*low, *high],
                Conversation::Group(group) => {
                    // Larger ones have none cached.
                    let most = self.desk.config.group.cache_offline_below.max(1);
                    retention::members(&self.desk.pool, *group, most).await?
                }
            };
            for member in members {
                users.entry(member).or_default().push((*conversation, *seq));
            }
        }
        for (user, places) in users {
            if redis.offline_clear(user, &places).await.is_err() {
                self.done.cached += places.len();
            }
        }
        Ok(())
    }

    fn say(&mut self, at: &str) -> Result<()> {
        if self.said.elapsed() >= SAY {
            self.said = Instant::now();
            let Done { conversations, messages, .. } = self.done;
            writeln!(std::io::stderr(), "at {at}: {conversations} conversations, {messages} messages")?;
        }
        Ok(())
    }
}

/// `90d`, `12h`, `30m`, `45s`.
fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a number followed by d, h, m or s, found {text:?}");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let unit = match unit {
        "d" => DAY,
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|age| *age > 0).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        for (text, seconds) in [("90d", 90 * DAY), ("12h", 43_200), ("30m", 1800), ("45s", 45)] {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "d", "90", "0d", "-1d", "1w", "9d ", "1.5d", "ä", "99999999999999999999d"] {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
