//! What this process has to say to a question about its trace.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::PoisonError,
};

use shared::trace::{Answer, Kind, Process, Question, Ring, Row, Shelved, wire::MOST, wire::ToNode};

use super::{Shelves, Trace};

impl Trace {
    /// Everything that the question asks for, up to what an answer holds. `name`: this worker's.
    pub async fn answer(&self, question: &Question, name: &str) -> Answer {
        let (started, keep) = self.0.as_ref().map_or((0, 0), |shelves| (shelves.started, shelves.keep));
        let name = self.0.as_ref().map_or_else(|| name.to_owned(), |shelves| shelves.name.clone());
        let pid = std::process::id();
        let mut answer = Answer::of(Process { kind: Kind::Worker, name, pid, started, keep, cut: false });
        if let Some(shelves) = &self.0 {
            shelves.answer(question, &mut answer).await;
        }
        answer
    }
}

impl Shelves {
    async fn answer(&self, question: &Question, answer: &mut Answer) {
        let mut cut = false;
        answer.row = self.rows(question, &mut cut).await;
        let chunks: BTreeSet<u64> = answer.row.iter().map(|row| row.chunk).collect();
        {
            let ring = self.chunks.ring();
            answer.chunk = chunks.iter().filter_map(|chunk| ring.get(*chunk).copied()).collect();
            answer.shelf.push(shelved("chunk", &ring, |record| record.pulled));
        }
        if !chunks.is_empty() {
            let look = self.sent.look(|record| {
                !chunks.contains(&record.chunk) || {
                    let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
                    let node = usize::try_from(record.node).ok().and_then(|at| nodes.get(at));
                    let node = node.map_or_else(|| "?".to_owned(), ToString::to_string);
                    let one = ToNode { chunk: record.chunk, node, how: record.how, at: record.at };
                    Answer::add(&mut answer.node, one, &mut cut)
                }
            });
            look.await;
        }
        answer.shelf.push(shelved("node", &self.sent.ring(), |record| record.at));
        // A row has no time of its own: its chunk's.
        let mut rows = shelved("row", &self.rows.ring(), |_| 0);
        let first = self.rows.ring();
        let oldest = first.get(first.first()).map(|row| row.chunk);
        drop(first);
        rows.oldest =
            oldest.and_then(|chunk| self.chunks.ring().get(chunk).map(|chunk| chunk.pulled)).unwrap_or(0);
        answer.shelf.push(rows);
        answer.process.cut |= cut;
    }

    async fn rows(&self, question: &Question, cut: &mut bool) -> Vec<Row> {
        let mut wanted = Vec::new();
        if question.last > 0 {
            let last = usize::try_from(question.last).unwrap_or(MOST).min(MOST);
            let mut newest = VecDeque::with_capacity(last);
            let look = self.rows.look(|row| {
                if newest.len() == last {
                    newest.pop_front();
                }
                newest.push_back(*row);
                true
            });
            look.await;
            wanted.extend(newest);
        }
        if !question.keys.is_empty() || !question.places.is_empty() {
            let is_at = |row: &Row| {
                question.places.iter().any(|place| row.conv == Some(place.conv) && row.seq == Some(place.seq))
            };
            let look = self.rows.look(|row| {
                !(question.keys.contains(&row.key) || is_at(row)) || Answer::add(&mut wanted, *row, cut)
            });
            look.await;
        }
        wanted
    }
}

fn shelved<T: Copy>(what: &str, ring: &Ring<T>, at: impl Fn(&T) -> i64) -> Shelved {
    let (overwritten, written) = (ring.first(), ring.written());
    let oldest = ring.get(overwritten).map_or(0, at);
    Shelved { what: what.to_owned(), written, overwritten, oldest }
}
