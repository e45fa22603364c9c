//! Asking a process on its metrics port: `/readyz`, `/config` and one figure of `/metrics`.

use anyhow::{Context, Result, ensure};
use reqwest::{Client, StatusCode};
use shared::telemetry::{About, Metric};

use super::{Part, Process};
use crate::doctor::clock::Clock;
use crate::doctor::place::{PATIENCE, now_us};

/// The longest answer that is read, bytes.
const ANSWER_BYTES: usize = 1 << 20;

/// What one process has answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The process.
    pub process: Process,
    /// Its clock, where it says what it shows.
    pub clock: Option<Clock>,
}

/// Asks the process at this address; `name` is what it is called until it says so itself.
///
/// # Errors
/// When it does not answer.
pub async fn gather(name: &str, address: &str) -> Result<Answer> {
    let base = match address.contains("://") {
        true => address.trim_end_matches('/').to_owned(),
        false => format!("http://{address}"),
    };
    let client = shared::client::http::builder(None).timeout(PATIENCE).build()?;
    let (status, reason) = get(&client, &format!("{base}/readyz")).await?;
    let unready = (status != StatusCode::OK).then(|| reason.trim().replace('\n', "; "));
    // Asked again over the same connection, so that the time is that of one round trip.
    let before = now_us();
    let (status, text) = get(&client, &format!("{base}/config")).await?;
    let after = now_us();
    let about = match status {
        StatusCode::OK => {
            let about: About = toml::from_str(&text).with_context(|| format!("reading {base}/config"))?;
            Some(about).filter(|about| !about.settings.is_empty())
        }
        _ => None,
    };
    let (_, figures) = get(&client, &format!("{base}/metrics")).await?;
    let queued_acks = figure(&figures, Metric::EdgePublishQueuedAcks.name());
    let mut process = Process { name: name.to_owned(), part: None, unready, about, queued_acks };
    for (key, part) in [("edge.name", Part::Edge), ("worker.name", Part::Worker)] {
        if let Some(name) = process.text(key).map(str::to_owned) {
            (process.name, process.part) = (name, Some(part));
        }
    }
    let clock = process.about.as_ref().map(|about| Clock::read(&process.name, about.now_us, (before, after)));
    Ok(Answer { process, clock })
}

/// The value of a counter without labels; 0 where there is none of this name.
fn figure(figures: &str, name: &str) -> u64 {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    figures.lines().find_map(value).unwrap_or_default()
}

async fn get(client: &Client, url: &str) -> Result<(StatusCode, String)> {
    let mut answer = client.get(url).send().await?;
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await? {
        ensure!(body.len() + part.len() <= ANSWER_BYTES, "expected at most {ANSWER_BYTES} bytes from {url}");
        body.extend_from_slice(&part);
    }
    Ok((answer.status(), String::from_utf8_lossy(&body).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_read_by_its_whole_name() {
        let figures = "# TYPE im_a_total counter\nim_a_total_more 7\nim_a_total 42\n";
        assert_eq!((figure(figures, "im_a_total"), figure(figures, "im_b_total")), (42, 0));
    }
}
