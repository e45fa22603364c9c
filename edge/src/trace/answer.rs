//! What this node has to say to a question about its trace.

use std::collections::HashSet;

use shared::{
    ids::{Conversation, SessionNo},
    trace::{Answer, Kind, Process, Question, Ring, Shelved, Standing, What},
};

use super::Trace;
use crate::context::Context;

impl Trace {
    /// Everything that the question asks for, up to what an answer holds.
    pub async fn answer(&self, question: &Question, context: &Context) -> Answer {
        let (started, keep) = self.0.as_ref().map_or((0, 0), |shelves| (shelves.started, shelves.keep));
        let (pid, name) = (std::process::id(), context.node.to_string());
        let mut answer = Answer::of(Process { kind: Kind::Edge, name, pid, started, keep, cut: false });
        let mut cut = false;
        sessions(question, context, &mut answer, &mut cut);
        let Some(shelves) = &self.0 else { return answer };

        answer.shelf.push(shelved("accepted", &shelves.accepted.ring(), |record| record.at));
        answer.shelf.push(shelved("queued", &shelves.queued.ring(), |record| record.at));
        answer.shelf.push(shelved("stop", &shelves.stops.ring(), |record| record.at));
        if !question.keys.is_empty() {
            let look = shelves.accepted.look(|record| {
                !question.keys.contains(&record.key) || Answer::add(&mut answer.accepted, *record, &mut cut)
            });
            look.await;
        }
        if !question.places.is_empty() {
            let is_at =
                |conv, seq| question.places.iter().any(|place| place.conv == conv && place.seq == seq);
            let look = shelves.queued.look(|record| {
                !is_at(record.conv, record.seq) || Answer::add(&mut answer.queued, *record, &mut cut)
            });
            look.await;
            // Of a session's acknowledgements in a conversation the first that covers a place is the one.
            let mut covered = HashSet::<(SessionNo, Conversation, usize)>::new();
            let look = shelves.stops.look(|record| {
                let wanted = if record.what == What::Acknowledged {
                    let covers = question
                        .places
                        .iter()
                        .enumerate()
                        .filter(|(_, place)| place.conv == record.conv && place.seq <= record.seq);
                    covers.fold(false, |new, (number, _)| {
                        new | covered.insert((record.session, record.conv, number))
                    })
                } else {
                    is_at(record.conv, record.seq)
                };
                !wanted || Answer::add(&mut answer.stop, *record, &mut cut)
            });
            look.await;
        }
        answer.process.cut = cut;
        answer
    }
}

/// Sessions of the users asked for that are here now.
fn sessions(question: &Question, context: &Context, answer: &mut Answer, cut: &mut bool) {
    for user in &question.users {
        context.registry.of_user(*user, |session| {
            let who = &session.who;
            let standing = Standing { user: who.user, device: who.device.clone(), session: who.session };
            Answer::add(&mut answer.session, standing, cut);
        });
    }
}

fn shelved<T: Copy>(what: &str, ring: &Ring<T>, at: impl Fn(&T) -> i64) -> Shelved {
    let (overwritten, written) = (ring.first(), ring.written());
    let oldest = ring.get(overwritten).map_or(0, at);
    Shelved { what: what.to_owned(), written, overwritten, oldest }
}
