//! Clients that write frames for as long as their socket takes them, and what became of the frames.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    task::JoinHandle,
};

use crate::{
    harness::{SOON, System},
    people::User,
    wire::Wire,
};

/// Somebody who writes frames for as long as the socket takes them, and reads every answer.
pub struct Flood {
    who: User,
    to: User,
    /// Frames whose bytes were taken, whole.
    written: Arc<AtomicI64>,
    writing: JoinHandle<OwnedWriteHalf>,
    reading: JoinHandle<String>,
}

/// How a flood is told to end.
pub type Stop = Arc<AtomicBool>;

impl Flood {
    /// A connection with little room in its buffers, logged in.
    pub async fn narrow(system: &System, who: &User, edge: usize) -> Wire {
        let token = system.token(who, "phone").await;
        system.log_in(Wire::connect_narrow(system.tcp(edge)).await, who, "phone", &token).await
    }

    /// Begins it; the answers are read until the flood has stopped and its last frame has one.
    pub fn begin(wire: Wire, who: &User, to: &User, text: usize, stop: &Stop) -> Self {
        let text = "x".repeat(text);
        let frame = {
            let to = to.id;
            move |n: i64| {
                let toml = format!("[[m]]\nid = \"f{n}\"\nc = \"{text}\"\nto = {to}\n");
                format!("#{}\n{toml}", toml.len()).into_bytes()
            }
        };
        let (input, mut output) = wire.into_stream().into_split();
        let written = Arc::new(AtomicI64::new(0));
        let (count, stopped) = (written.clone(), stop.clone());
        let writing = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let n = count.load(Ordering::Relaxed) + 1;
                output.write_all(&frame(n)).await.expect("the server reads");
                count.store(n, Ordering::Relaxed);
            }
            output
        });
        let reading = tokio::spawn(answers(input, written.clone(), stop.clone()));
        Self { who: who.clone(), to: to.clone(), written, writing, reading }
    }

    /// Until no further frame was taken for a second; how many were.
    pub async fn blocked(&self) -> i64 {
        let end = Instant::now() + 2 * SOON;
        let (mut last, mut since) = (-1, Instant::now());
        while since.elapsed() < Duration::from_secs(1) {
            let written = self.written.load(Ordering::Relaxed);
            if written != last {
                (last, since) = (written, Instant::now());
            }
            assert!(Instant::now() < end, "{} still writes after {written} frames", self.who.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        last
    }

    /// With the flood stopped and everything healed: each frame was acked once, in order, and stands in its place.
    pub async fn acked(self, system: &System) -> i64 {
        let output = self.writing.await.expect("the flood does not panic");
        let answers = tokio::time::timeout(3 * SOON, self.reading)
            .await
            .expect("every frame is answered")
            .expect("reading the answers does not panic");
        drop(output);
        let written = self.written.load(Ordering::Relaxed);
        let seqs: Vec<i64> =
            answers.lines().filter_map(|line| line.strip_prefix("seq = ")?.parse().ok()).collect();
        let strange = seqs.iter().zip(1..).find(|(found, expected)| *found != expected);
        assert_eq!((seqs.len() as i64, strange), (written, None), "every frame is acked once, in order");
        assert!(!answers.contains("[[rr]]"), "and none is refused");
        let (low, high) = (self.who.id.min(self.to.id), self.who.id.max(self.to.id));
        let query = "SELECT count(*) FROM messages WHERE conv = $1 AND id = 'f' || seq";
        let rows = system.stores.number(query, &[&format!("dm:{low}:{high}")]).await;
        assert_eq!(rows, written, "each is stored once, in the place in which it was written");
        written
    }
}

/// What came, until the flood has stopped and its last frame is answered.
async fn answers(mut input: OwnedReadHalf, written: Arc<AtomicI64>, stop: Stop) -> String {
    let (mut text, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let last = format!("seq = {}\n", written.load(Ordering::Relaxed));
        if stop.load(Ordering::Relaxed) && text.ends_with(last.as_bytes()) {
            return String::from_utf8(text).expect("the server writes UTF-8");
        }
        // Not for ever: the last frame may have been answered before the stop was seen.
        let Ok(read) = tokio::time::timeout(Duration::from_millis(100), input.read(&mut chunk)).await else {
            continue;
        };
        let n = read.expect("the connection stands");
        assert!(n > 0, "closed after {} bytes of answers", text.len());
        text.extend_from_slice(&chunk[..n]);
    }
}
