//! Why a record may be missing: every ring forgets, a process takes its rings along, and a trace can be off.

use shared::trace::{Answer, Kind};

use super::say::clock;

/// Why none of these processes has a record in this ring of something that happened at `at` (microseconds since 1970;
/// within `within` of it; `None`: at an unknown time).
pub fn why(answers: &[Answer], kind: Kind, shelf: &str, at: Option<i64>) -> Vec<String> {
    let of_kind: Vec<&Answer> = answers.iter().filter(|answer| answer.process.kind == kind).collect();
    let name = match kind {
        Kind::Edge => "edge",
        Kind::Worker => "worker",
    };
    if of_kind.is_empty() {
        return vec![format!("no {name} has answered: none runs, or none in time (--wait)")];
    }
    let mut reasons: Vec<String> = of_kind.iter().filter_map(|answer| one(answer, name, shelf, at)).collect();
    if reasons.is_empty() {
        reasons.push(format!(
            "every {name} that answers remembers that time and knows nothing of it: it was another's, which has ended \
             since and took its trace along, or it never came so far"
        ));
    }
    reasons
}

fn one(answer: &Answer, name: &str, shelf: &str, at: Option<i64>) -> Option<String> {
    let process = &answer.process;
    let who = format!("{name} {}", process.name);
    if process.keep == 0 {
        return Some(format!("{who} keeps no trace ([trace] keep = 0)"));
    }
    if at.is_none_or(|at| at < process.started) {
        let began = clock(process.started);
        return match at {
            Some(_) => {
                Some(format!("{who} began at {began}, after it: what ran before took its trace along"))
            }
            None => Some(format!("{who} remembers nothing from before {began}, when it began")),
        };
    }
    let ring = answer.shelf.iter().find(|ring| ring.what == shelf)?;
    // Records are of the time at which something was done, which is a little after it was accepted.
    if ring.overwritten > 0 && at.is_none_or(|at| at <= ring.oldest) {
        return Some(format!(
            "{who} has overwritten it: its ring \"{shelf}\" keeps {} records ([trace] keep), the oldest of {}",
            process.keep,
            clock(ring.oldest)
        ));
    }
    process.cut.then(|| format!("{who} had more to say than an answer holds"))
}

#[cfg(test)]
mod tests {
    use shared::trace::{Process, Shelved};

    use super::*;

    fn worker(name: &str, keep: usize, started: i64, overwritten: u64, oldest: i64) -> Answer {
        let name = name.to_owned();
        let mut answer = Answer::of(Process { kind: Kind::Worker, name, pid: 1, started, keep, cut: false });
        answer.shelf.push(Shelved { what: "row".into(), written: 100, overwritten, oldest });
        answer
    }

    #[test]
    fn every_process_says_its_own_reason() {
        let all = [
            worker("off", 0, 0, 0, 0),
            worker("young", 10, 500, 0, 600),
            worker("full", 10, 50, 90, 300),
            worker("fine", 10, 50, 90, 100),
        ];
        let said = why(&all, Kind::Worker, "row", Some(200));
        assert_eq!(said.len(), 3, "{said:?}");
        for (line, words) in said.iter().zip(["off keeps no trace", "young began", "full has overwritten"]) {
            assert!(line.contains(words), "{line}");
        }
        let said = why(&all[3..], Kind::Worker, "row", Some(200));
        assert!(said[0].contains("knows nothing of it"), "{said:?}");
        assert!(why(&all, Kind::Edge, "stop", Some(200))[0].contains("no edge has answered"));
    }
}
