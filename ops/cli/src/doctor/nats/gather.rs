//! Asking NATS: its greeting, JetStream's own account of the streams, who is heard, and `/varz` where it is known.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_nats::Client;
use futures::StreamExt;
use serde_json::Value;
use shared::{
    nats::Door,
    rpc::{self, Heartbeat},
    subject::Subjects,
};
use tokio::time::timeout;
use workers::{config, lane::source::METADATA_LANES};

use super::{Heard, Monitor, Nats, Stream, Told};
use crate::doctor::clock::Clock;
use crate::doctor::place::{PATIENCE, is_remote, now_us};

/// How long heartbeats are listened for. Edges beat twice a second unless told otherwise.
const LISTEN: Duration = Duration::from_millis(1500);
/// The most of either kind that is listened for: a system this large has other means.
const MOST: usize = 10_000;

/// Where to ask.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The way to the server, with credentials, and the first part of every subject.
    pub nats: &'a config::Nats,
    /// The monitoring port, `http://host:8222`.
    pub monitor: Option<&'a str>,
}

/// Asks everything.
///
/// # Errors
/// When the server does not answer, or its JetStream does not.
pub async fn gather(asked: Asked<'_>) -> Result<Told> {
    let url = asked.nats.way.url.expose();
    let door = Door::new(&asked.nats.way)?;
    let connecting = timeout(PATIENCE, door.connect("simple-im doctor", PATIENCE));
    let client = connecting.await.context("connecting took too long")?.context("connecting")?;
    let subjects = Subjects::new(&asked.nats.prefix);
    let (stream_name, dead_name) = (subjects.stream(), subjects.dead_stream());
    let before = now_us();
    let stream = info(&client, &stream_name).await?;
    let after = now_us();
    let dead = info(&client, &dead_name).await?;
    let greeting = client.server_info();
    let mut clock = stream
        .as_ref()
        .and_then(|info| info["ts"].as_str().and_then(unix_us))
        .map(|theirs| Clock::read("nats", theirs, (before, after)));
    let monitor = match asked.monitor {
        Some(url) => {
            let (monitor, seen) = varz(url).await.with_context(|| format!("--nats-monitor {url}"))?;
            clock = clock.or(seen);
            Some(monitor)
        }
        None => None,
    };
    let nats = Nats {
        version: greeting.version.clone(),
        auth: greeting.auth_required,
        tls: greeting.tls_required,
        remote: is_remote(url),
        max_payload: i64::try_from(greeting.max_payload).unwrap_or(i64::MAX),
        servers: greeting.connect_urls.len().max(1),
        dead: dead.map(|info| info["state"]["messages"].as_i64().unwrap_or_default()),
        stream: stream.map(|info| described(stream_name, &info)),
        monitor,
    };
    let heard = heard(&client, &subjects).await?;
    Ok(Told { nats, heard, clock })
}

/// JetStream's description of a stream; none if there is none of this name.
async fn info(client: &Client, stream: &str) -> Result<Option<Value>> {
    let asked = client.request(format!("$JS.API.STREAM.INFO.{stream}"), Default::default());
    let answer = timeout(PATIENCE, asked).await.context("JetStream does not answer")?;
    let value: Value = serde_json::from_slice(&answer.context("asking JetStream")?.payload)?;
    match value["error"]["code"].as_i64() {
        None => Ok(Some(value)),
        Some(404) => Ok(None),
        Some(code) => bail!("JetStream says {code} of {stream}: {}", value["error"]["description"]),
    }
}

fn described(name: String, info: &Value) -> Stream {
    let config = &info["config"];
    let text = |key: &str| config[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str, otherwise: i64| config[key].as_i64().unwrap_or(otherwise);
    let others = info["cluster"]["replicas"].as_array().map_or(&[][..], Vec::as_slice);
    let behind = |it: &&Value| it["offline"] == true || it["current"] == false;
    Stream {
        name,
        storage: text("storage"),
        retention: text("retention"),
        discard: text("discard"),
        replicas: number("num_replicas", 1),
        behind: others.iter().filter(behind).count(),
        max_bytes: number("max_bytes", -1),
        max_messages: number("max_msgs", -1),
        max_age: Duration::from_nanos(config["max_age"].as_u64().unwrap_or_default()),
        bytes: info["state"]["bytes"].as_i64().unwrap_or_default(),
        lanes: config["metadata"][METADATA_LANES].as_str().and_then(|lanes| lanes.parse().ok()),
    }
}

/// Listens for a while.
async fn heard(client: &Client, subjects: &Subjects) -> Result<Heard> {
    let mut beats = client.subscribe(subjects.heartbeats()).await?;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await?;
    client.publish_with_reply(subjects.who(), inbox, Default::default()).await?;
    let mut heard = Heard::default();
    let listening = async {
        while heard.nodes.len() + heard.workers.len() < MOST {
            tokio::select! {
                Some(beat) = beats.next() => {
                    if let Ok(told) = rpc::from_slice::<Heartbeat>(&beat.payload)
                        && subjects.is_beat_of(beat.subject.as_str(), &told.node, &told.speaks)
                    {
                        heard.nodes.insert(told.node.as_str().to_owned());
                    }
                }
                // Nobody at all is told by a status, which has no payload.
                Some(answer) = answers.next() => if !answer.payload.is_empty() {
                    heard.workers.insert(String::from_utf8_lossy(&answer.payload).into_owned());
                },
                else => return,
            }
        }
    };
    // Until the time is over: silence is what says that there is nobody else.
    drop(timeout(LISTEN, listening).await);
    Ok(heard)
}

async fn varz(url: &str) -> Result<(Monitor, Option<Clock>)> {
    let url = format!("{}/varz", url.trim_end_matches('/'));
    let before = now_us();
    let client = shared::client::http::builder(None).timeout(PATIENCE).build()?;
    let text = client.get(url).send().await?.error_for_status()?.text().await?;
    let clock = |value: &Value| {
        value["now"].as_str().and_then(unix_us).map(|theirs| Clock::read("nats", theirs, (before, now_us())))
    };
    let value: Value = serde_json::from_str(&text)?;
    let config = &value["jetstream"]["config"];
    let monitor = Monitor {
        sync_always: config["sync_always"] == true,
        sync_interval: Duration::from_nanos(config["sync_interval"].as_u64().unwrap_or_default()),
        max_store: config["max_storage"].as_i64().unwrap_or_default(),
    };
    Ok((monitor, clock(&value)))
}

/// Microseconds since 1970 of a time as NATS writes it: `2026-01-02T03:04:05.678901234Z`.
fn unix_us(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut clock = clock.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let micros: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    // Days since 1970 of a Gregorian date, counting years from March so that a leap day is a year's last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_read_as_nats_writes_them() {
        assert_eq!(unix_us("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(unix_us("2024-02-29T12:34:56.7891234Z"), Some(1_709_210_096_789_123));
        assert_eq!(unix_us("2026-12-31T23:59:59.5Z"), Some(1_798_761_599_500_000));
        assert_eq!(unix_us("yesterday"), None);
    }

    #[test]
    fn a_stream_is_read_as_jetstream_describes_it() {
        let info = json!({
            "config": {
                "retention": "workqueue", "discard": "new", "storage": "file", "num_replicas": 3,
                "max_bytes": 1024, "max_msgs": -1, "max_age": 0, "metadata": {"im-lanes": "8"}
            },
            "state": {"bytes": 512},
            "cluster": {"replicas": [{"current": true}, {"current": false}, {"current": true, "offline": true}]}
        });
        let stream = described("IM_IN".to_owned(), &info);
        assert_eq!((stream.replicas, stream.behind, stream.bytes, stream.lanes), (3, 2, 512, Some(8)));
        assert_eq!((stream.retention.as_str(), stream.max_messages), ("workqueue", -1));
    }
}
